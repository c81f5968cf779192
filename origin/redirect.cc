#include "origin/redirect.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

#include "origin/request_fields.h"

namespace segue::origin {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};

[[nodiscard]] std::string part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copy(text);
  curl_free(text);
  return copy;
}

[[nodiscard]] bool is_allowed(const ServerAddress& to, std::span<const ServerAddress> servers,
                              const OriginOptions& options) {
  const auto same = [&to](const ServerAddress& server) { return server.same_origin(to); };
  if (std::ranges::any_of(servers, same)) return true;
  return std::ranges::any_of(options.redirect_hosts, [&](const std::string& host) {
    const auto listed = parse_host(host, to.tls);
    return listed && listed->same_origin(to);
  });
}

}  // namespace

bool is_redirect(int status) noexcept {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::expected<RedirectTarget, Fault> redirect_target(const ServerAddress& from,
                                                     std::string_view from_target,
                                                     const std::string& location,
                                                     std::span<const ServerAddress> servers,
                                                     const OriginOptions& options) {
  // libcurl would encode a space here and there; a URI has none.
  if (!std::ranges::all_of(location, [](char c) { return c > ' ' && c < 0x7f; })) {
    return std::unexpected(Fault::RedirectMalformed);
  }
  const std::unique_ptr<CURLU, FreeUrl> url(curl_url());
  if (url == nullptr) return std::unexpected(Fault::OutOfMemory);
  const std::string base = from.url() + std::string(from_target);
  if (curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) {
    return std::unexpected(Fault::RedirectMalformed);
  }
  if (!part_of(url.get(), CURLUPART_USER).empty()) return std::unexpected(Fault::RedirectRefused);
  const std::string scheme = part_of(url.get(), CURLUPART_SCHEME);
  const std::string host = part_of(url.get(), CURLUPART_HOST);
  const std::string port = part_of(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  const auto server = parse_server(scheme + "://" + host + ":" + port);
  if (!server || (from.tls && !server->tls) || !is_allowed(*server, servers, options)) {
    return std::unexpected(Fault::RedirectRefused);
  }
  std::string target = part_of(url.get(), CURLUPART_PATH);
  const std::string query = part_of(url.get(), CURLUPART_QUERY);
  if (!query.empty()) target += "?" + query;
  if (!is_sendable_target(target)) return std::unexpected(Fault::RedirectMalformed);
  return RedirectTarget{*server, target};
}

}  // namespace segue::origin
