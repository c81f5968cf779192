// origin/options.h - the settings of one origin, and the address of one of its servers.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "origin/fetcher.h"

namespace segue::origin {

/// Where a server is: scheme://host[:port][/base-path].
struct ServerAddress {
  bool tls = false;
  std::string host;  // lower case; an IPv6 literal without brackets
  uint16_t port = 0;
  bool ip_literal = false;
  bool ipv6_literal = false;
  std::string base_path;  // "" or "/a/b": put before every target

  /// "host", "host:port" or "[v6]:port": the port only where it is not the scheme's own (the Host
  /// field, RFC 9110 §7.2).
  [[nodiscard]] std::string authority() const;
  /// "http://authority".
  [[nodiscard]] std::string url() const;
  [[nodiscard]] bool same_origin(const ServerAddress& other) const noexcept {
    return tls == other.tls && port == other.port && host == other.host;
  }
};

/// Errors: {Self, Unsupported} for another scheme, {Self, Malformed} for anything that is not
/// exactly an address (user info, query and fragment are refused).
[[nodiscard]] Result<ServerAddress> parse_server(std::string_view url);
/// "host[:port]" or "[v6][:port]" of that scheme. Errors: {Self, Malformed}.
[[nodiscard]] Result<ServerAddress> parse_host(std::string_view text, bool tls);

inline constexpr uint32_t kServersMax = 16;
inline constexpr uint32_t kRedirectsMax = 3;
inline constexpr std::string_view kDirectoryScheme = "dir:";

struct OriginOptions {
  /// One "dir:PATH", or up to kServersMax of "http://..." and "https://...", in order of
  /// preference.
  std::vector<std::string> servers;
  struct Timeouts {
    std::chrono::milliseconds connect{1000};     // TCP and TLS
    std::chrono::milliseconds first_byte{3000};  // from each attempt's start to its head
    std::chrono::milliseconds idle{5000};        // without a byte of a body that is being read
    std::chrono::milliseconds total{6000};       // to the head, over all attempts
  } timeout;
  uint32_t retries = 1;           // on a fresh connection to the same server, per fetch
  uint32_t resumes_max = 3;       // per fetch
  uint32_t breaker_failures = 5;  // consecutive failures that open a server's breaker
  std::chrono::milliseconds breaker_open_for{5000};
  std::string ca_file;  // PEM; empty: the system's
  /// PEM, both or none: what we show to an https server that asks who we are.
  std::string certificate_file;
  std::string key_file;
  Fetcher::ValidatorRule validator = Fetcher::ValidatorRule::Etag;
  /// "host" or "host:port" to which redirects are followed besides our own servers; never from
  /// https to http.
  std::vector<std::string> redirect_hosts;
  std::string user_agent = "Segue/" SEGUE_VERSION;
  std::string node_name = "segue";                      // Via, CDN-Loop
  bool http2 = true;                                    // offered by ALPN to https servers
  uint32_t fetches_max = kOriginConnectionsPerLoopMax;  // in flight, per loop
  uint32_t idle_connections_max = 64;                   // kept alive, per loop
  std::chrono::seconds idle_connection_for{60};
  std::chrono::seconds name_ttl_max{300};
  std::string name_servers;  // "ip[:port],..."; empty: the system's

  /// Errors: {Self, Malformed | Unsupported}; `where` names the setting.
  [[nodiscard]] Result<Done> validate() const;
  [[nodiscard]] bool is_directory() const noexcept;
};

}  // namespace segue::origin
