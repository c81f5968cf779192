#include "origin/options.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "http/header_fields.h"

namespace segue::origin {
namespace {

constexpr uint16_t kHttpPort = 80;
constexpr uint16_t kHttpsPort = 443;

[[nodiscard]] bool is_host_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

[[nodiscard]] bool is_ipv4(const std::string& host) noexcept {
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

[[nodiscard]] bool is_ipv6(const std::string& host) noexcept {
  in6_addr address{};
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

[[nodiscard]] std::unexpected<Error> bad_server() {
  return fail(Side::Self, Kind::Malformed, "servers");
}

/// Splits "host:port" or "[v6]:port" into `address`.
[[nodiscard]] Result<Done> parse_authority(std::string_view text, ServerAddress& address) {
  std::string_view port_text;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return bad_server();
    address.host = text.substr(1, close - 1);
    address.ipv6_literal = is_ipv6(address.host);
    if (!address.ipv6_literal) return bad_server();
    text.remove_prefix(close + 1);
    if (!text.empty()) {
      if (!text.starts_with(':')) return bad_server();
      has_port = true;
      port_text = text.substr(1);
    }
  } else {
    const size_t colon = text.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port_text = text.substr(colon + 1);
    address.host = text.substr(0, colon);
    std::ranges::transform(address.host, address.host.begin(), http::to_lower);
    if (address.host.empty()) return bad_server();
    if (!std::ranges::all_of(address.host, is_host_char)) return bad_server();
  }
  address.ip_literal = address.ipv6_literal || is_ipv4(address.host);
  address.port = address.tls ? kHttpsPort : kHttpPort;
  if (has_port) {
    const auto port = http::parse_decimal(port_text);
    if (!port || *port == 0 || *port > UINT16_MAX) return bad_server();
    address.port = static_cast<uint16_t>(*port);
  }
  return Done{};
}

[[nodiscard]] Result<Done> parse_base_path(std::string_view text, ServerAddress& address) {
  while (text.ends_with('/')) text.remove_suffix(1);
  const bool clean = std::ranges::all_of(
      text, [](char c) { return c > ' ' && c < 0x7f && c != '?' && c != '#' && c != '\\'; });
  if (!clean) return bad_server();
  address.base_path = text;
  return Done{};
}

[[nodiscard]] Result<Done> validate_numbers(const OriginOptions& options) {
  using std::chrono::milliseconds;
  constexpr milliseconds kLongest{std::chrono::minutes{10}};
  for (const milliseconds time : {options.timeout.connect, options.timeout.first_byte,
                                  options.timeout.idle, options.timeout.total}) {
    if (time <= milliseconds{0} || time > kLongest) {
      return fail(Side::Self, Kind::Malformed, "timeout");
    }
  }
  if (options.breaker_failures == 0 || options.breaker_open_for <= milliseconds{0}) {
    return fail(Side::Self, Kind::Malformed, "breaker");
  }
  if (options.fetches_max == 0 || options.fetches_max > kOriginConnectionsPerLoopMax) {
    return fail(Side::Self, Kind::Malformed, "fetches_max");
  }
  if (options.idle_connections_max > kOriginConnectionsPerLoopMax) {
    return fail(Side::Self, Kind::Malformed, "idle_connections_max");
  }
  if (options.name_ttl_max < std::chrono::seconds{1}) {
    return fail(Side::Self, Kind::Malformed, "name_ttl_max");
  }
  return Done{};
}

}  // namespace

std::string ServerAddress::authority() const {
  std::string name = ipv6_literal ? fmt::format("[{}]", host) : host;
  if (port == (tls ? kHttpsPort : kHttpPort)) return name;
  return fmt::format("{}:{}", name, port);
}

std::string ServerAddress::url() const {
  return fmt::format("{}://{}", tls ? "https" : "http", authority());
}

Result<ServerAddress> parse_server(std::string_view url) {
  ServerAddress address;
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return bad_server();
  const std::string_view scheme = url.substr(0, colon);
  address.tls = http::equals_ignore_case(scheme, "https");
  if (!address.tls && !http::equals_ignore_case(scheme, "http")) {
    return fail(Side::Self, Kind::Unsupported, "servers");
  }
  url.remove_prefix(colon + 3);
  const size_t slash = url.find('/');
  if (auto parsed = parse_authority(url.substr(0, slash), address); !parsed) {
    return fail(parsed.error());
  }
  if (slash != std::string_view::npos) {
    if (auto parsed = parse_base_path(url.substr(slash), address); !parsed) {
      return fail(parsed.error());
    }
  }
  return address;
}

Result<ServerAddress> parse_host(std::string_view text, bool tls) {
  ServerAddress address;
  address.tls = tls;
  if (auto parsed = parse_authority(text, address); !parsed) return fail(parsed.error());
  return address;
}

bool OriginOptions::is_directory() const noexcept {
  return servers.size() == 1 && servers.front().starts_with(kDirectoryScheme);
}

Result<Done> OriginOptions::validate() const {
  if (servers.empty() || servers.size() > kServersMax) return bad_server();
  if (is_directory()) {
    if (servers.front().size() == kDirectoryScheme.size()) return bad_server();
  } else {
    for (const std::string& server : servers) {
      if (auto parsed = parse_server(server); !parsed) return fail(parsed.error());
    }
  }
  if (redirect_hosts.size() > kServersMax) {
    return fail(Side::Self, Kind::Malformed, "redirect_hosts");
  }
  for (const std::string& host : redirect_hosts) {
    if (!parse_host(host, true)) return fail(Side::Self, Kind::Malformed, "redirect_hosts");
  }
  if (!http::is_field_value(user_agent)) return fail(Side::Self, Kind::Malformed, "user_agent");
  if (!http::is_token(node_name)) return fail(Side::Self, Kind::Malformed, "node_name");
  return validate_numbers(*this);
}

}  // namespace segue::origin
