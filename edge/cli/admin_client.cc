#include "edge/cli/admin_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <memory>

#include "base/units.h"

namespace segue::edge {
namespace {

constexpr size_t kAnswerBytesMax = 64 * MiB;
constexpr long kConnectTimeoutMs = 3'000;

/// libcurl's write callback: fewer bytes taken than given ends the transfer.
size_t take_body(const char* data, size_t size, size_t count, void* into) {
  auto& body = *static_cast<std::string*>(into);
  if (body.size() + size * count > kAnswerBytesMax) return 0;
  body.append(data, size * count);
  return size * count;
}

/// Everything but unreserved characters as %XX (RFC 3986 §2.3).
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || std::string_view("-._~").contains(c);
    if (is_plain) {
      result += c;
    } else {
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return result;
}

std::string shown(const AdminPlace& place) {
  if (!place.unix_path.empty()) return "unix:" + place.unix_path;
  const bool is_ipv6 = place.ip.contains(':');
  return is_ipv6 ? fmt::format("[{}]:{}", place.ip, place.port)
                 : fmt::format("{}:{}", place.ip, place.port);
}

void print(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  if (!text.empty() && !text.ends_with('\n')) std::fputc('\n', file);
}

}  // namespace

AdminCall drain_call() { return {AdminCall::Method::Post, "/drain"}; }

AdminCall stats_call() { return {AdminCall::Method::Get, "/stats.json"}; }

AdminCall listens_call(bool csv) {
  return {AdminCall::Method::Get, csv ? "/listens?format=csv" : "/listens"};
}

AdminCall explain_call(std::string_view url) {
  return {AdminCall::Method::Get, "/explain?url=" + escaped(url)};
}

AdminCall purge_call(std::string_view scope, std::string_view url, bool soft, bool cut) {
  return {AdminCall::Method::Post, fmt::format("/purge?{}={}{}{}", scope, escaped(url),
                                               soft ? "&soft=1" : "", cut ? "&cut=1" : "")};
}

std::expected<AdminAnswer, std::string> ask(const AdminPlace& place, const AdminCall& call) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  if (!curl) return std::unexpected("out of memory");
  AdminAnswer answer;
  std::array<char, CURL_ERROR_SIZE> reason{};
  // The admin listener answers known hosts only; over a unix socket the name is a formality.
  const std::string authority = place.unix_path.empty() ? shown(place) : "localhost";
  const std::string url = fmt::format("http://{}{}", authority, call.target);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http");
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // never by the environment's proxy
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(call.within.count()));
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, reason.data());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
  if (!place.unix_path.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, place.unix_path.c_str());
  }
  if (call.method == AdminCall::Method::Post) {
    curl_easy_setopt(curl.get(), CURLOPT_POST, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, "");
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) {
    return std::unexpected(
        fmt::format("no answer from the admin listener at {}: {}", shown(place),
                    reason[0] != '\0' ? reason.data() : curl_easy_strerror(code)));
  }
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

int ask_and_print(const AdminPlace& place, const AdminCall& call) {
  const auto answer = ask(place, call);
  if (!answer) {
    print(stderr, "segue: " + answer.error());
    return 1;
  }
  if (answer->status < 200 || answer->status > 299) {
    print(stderr, fmt::format("segue: the node answered {}: {}", answer->status, answer->body));
    return 1;
  }
  print(stdout, answer->body);
  return 0;
}

}  // namespace segue::edge
