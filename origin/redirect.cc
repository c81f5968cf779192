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

/// The pieces of a URL. One that libcurl has no memory to copy must not pass for one that is not
/// there: without its query the target would be another resource.
class Parts {
 public:
  explicit Parts(CURLU* url) noexcept : url_(url) {}

  /// Empty where there is none.
  [[nodiscard]] std::string get(CURLUPart part, unsigned flags = 0) {
    char* text = nullptr;
    const CURLUcode code = curl_url_get(url_, part, &text, flags);
    out_of_memory_ = out_of_memory_ || code == CURLUE_OUT_OF_MEMORY;
    if (code != CURLUE_OK) return {};
    std::string copy(text);
    curl_free(text);
    return copy;
  }
  [[nodiscard]] bool out_of_memory() const noexcept { return out_of_memory_; }

 private:
  CURLU* const url_;
  bool out_of_memory_ = false;
};

[[nodiscard]] Fault fault_of(CURLUcode code) noexcept {
  return code == CURLUE_OUT_OF_MEMORY ? Fault::OutOfMemory : Fault::RedirectMalformed;
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
  CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0);
  if (code == CURLUE_OK) code = curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0);
  if (code != CURLUE_OK) return std::unexpected(fault_of(code));
  Parts parts(url.get());
  const std::string user = parts.get(CURLUPART_USER);
  const std::string scheme = parts.get(CURLUPART_SCHEME);
  const std::string host = parts.get(CURLUPART_HOST);
  const std::string port = parts.get(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::string target = parts.get(CURLUPART_PATH);
  const std::string query = parts.get(CURLUPART_QUERY);
  if (parts.out_of_memory()) return std::unexpected(Fault::OutOfMemory);
  if (!user.empty()) return std::unexpected(Fault::RedirectRefused);
  const auto server = parse_server(scheme + "://" + host + ":" + port);
  if (!server || (from.tls && !server->tls) || !is_allowed(*server, servers, options)) {
    return std::unexpected(Fault::RedirectRefused);
  }
  if (!query.empty()) target += "?" + query;
  if (!is_sendable_target(target)) return std::unexpected(Fault::RedirectMalformed);
  return RedirectTarget{*server, target};
}

}  // namespace segue::origin
