#include "conf/values.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace segue::conf {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return result;
}

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return port;
}

bool is_ip_literal(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(family, text.c_str(), bytes.data()) == 1;
}

/// Letters, digits, '-' and '_' in labels of 1 to 63, at most 253 in all (RFC 1123 §2.1; '_' is
/// seen in the wild).
bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  size_t label = 0;
  for (const char c : text) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (is_letter(c) || is_digit(c) || c == '-' || c == '_') {
      if (++label > 63) return false;
    } else {
      return false;
    }
  }
  return label > 0;
}

/// "host", "1.2.3.4", "[::1]", each with an optional ":port". False for anything else.
bool split_authority(std::string_view text, Server& server) {
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return false;
    server.host = std::string(text.substr(1, close - 1));
    if (!is_ip_literal(AF_INET6, server.host)) return false;
    port = text.substr(close + 1);
    if (!port.empty() && !port.starts_with(':')) return false;
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    server.host = lower(text.substr(0, colon));
    if (!is_host_name(server.host)) return false;
    port = text.substr(colon);
  }
  if (port.empty()) return true;
  const auto number = parse_port(port.substr(1));
  if (!number || *number == 0) return false;
  server.port = *number;
  return true;
}

/// A base path must already be in its one form: no escapes to decode, no dot segments, no query.
bool is_base_path(std::string_view path) {
  const auto plain = [](char c) {
    return is_letter(c) || is_digit(c) || std::string_view("/-._~!$&'()*+,;=:@").contains(c);
  };
  return std::ranges::all_of(path, plain) && !path.contains("//") && !path.contains("/./") &&
         !path.contains("/../") && !path.ends_with("/.") && !path.ends_with("/..");
}

template <class T, size_t N>
std::optional<T> choose(std::string_view text,
                        const std::array<std::pair<std::string_view, T>, N>& choices) {
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Address> parse_address(std::string_view text) {
  Address address{.text = std::string(text), .unix_path = {}, .ip = {}};
  if (text.starts_with("unix:")) {
    address.unix_path = text.substr(5);
    const bool fits = address.unix_path.size() < sizeof(sockaddr_un::sun_path);
    if (address.unix_path.empty() || !fits) return std::nullopt;
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return std::nullopt;
  std::string_view ip = text.substr(0, colon);
  if (ip.starts_with('[') && ip.ends_with(']')) {
    ip = ip.substr(1, ip.size() - 2);
    address.is_ipv6 = true;
  }
  address.ip = ip;
  address.port = *port;
  if (!is_ip_literal(address.is_ipv6 ? AF_INET6 : AF_INET, address.ip)) return std::nullopt;
  return address;
}

std::optional<Server> parse_server(std::string_view text) {
  Server server;
  server.text = text;
  if (text.starts_with("dir:")) {
    server.scheme = Server::Scheme::Directory;
    const auto path = parse_path(text.substr(4));
    if (!path) return std::nullopt;
    server.directory = *path;
    return server;
  }
  std::string_view rest;
  if (text.starts_with("http://")) {
    rest = text.substr(7);
    server.port = 80;
  } else if (text.starts_with("https://")) {
    rest = text.substr(8);
    server.scheme = Server::Scheme::Https;
    server.port = 443;
  } else {
    return std::nullopt;
  }
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view path = rest.substr(slash);
  if (path.ends_with('/')) path.remove_suffix(1);
  if (!split_authority(rest.substr(0, slash), server) || !is_base_path(path)) return std::nullopt;
  server.base_path = path;
  return server;
}

std::optional<NatsServer> parse_nats_server(std::string_view text) {
  NatsServer server;
  server.tls = text.starts_with("tls://");
  if (!server.tls && !text.starts_with("nats://")) return std::nullopt;
  const std::string_view rest = text.substr(server.tls ? 6 : 7);
  Server authority;
  authority.port = 4222;
  if (!split_authority(rest, authority)) return std::nullopt;
  const bool ipv6 = authority.host.contains(':');
  server.text = std::string(server.tls ? "tls://" : "nats://") + (ipv6 ? "[" : "") +
                authority.host + (ipv6 ? "]" : "") + ":" + std::to_string(authority.port);
  return server;
}

/// Tokens between dots; "*" stands for one of them, ">" as the last for all that follow.
std::optional<std::string> parse_nats_subject(std::string_view text) {
  if (text.empty() || text.size() > 255) return std::nullopt;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('.', at), text.size());
    const std::string_view token = text.substr(at, end - at);
    const auto plain = [](char c) { return c > ' ' && c < 0x7F && c != '*' && c != '>'; };
    const bool wild = token == "*" || (token == ">" && end == text.size());
    if (token.empty() || (!wild && !std::ranges::all_of(token, plain))) return std::nullopt;
    at = end + 1;
  }
  return text.starts_with('$') ? std::nullopt : std::optional(std::string(text));
}

std::optional<std::string> parse_nats_name(std::string_view text) {
  const auto plain = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; };
  if (text.empty() || text.size() > 64 || !std::ranges::all_of(text, plain)) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_text(std::string_view text) {
  const auto printable = [](char c) { return c >= ' ' && c < 0x7F; };
  if (text.empty() || text.size() > 128 || !std::ranges::all_of(text, printable))
    return std::nullopt;
  return std::string(text);
}

std::optional<uint32_t> parse_threads(std::string_view text) {
  uint32_t threads = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return threads;
}

std::optional<IoBackend> parse_io(std::string_view text) {
  return choose<IoBackend, 3>(
      text,
      {{{"auto", IoBackend::Auto}, {"uring", IoBackend::Uring}, {"threads", IoBackend::Threads}}});
}

std::optional<CachePolicy> parse_policy(std::string_view text) {
  return choose<CachePolicy, 2>(text,
                                {{{"lru", CachePolicy::Lru}, {"s3fifo", CachePolicy::S3Fifo}}});
}

std::optional<PrefetchMode> parse_prefetch_mode(std::string_view text) {
  return choose<PrefetchMode, 3>(
      text,
      {{{"off", PrefetchMode::Off}, {"observe", PrefetchMode::Observe}, {"on", PrefetchMode::On}}});
}

std::optional<ValidatorRule> parse_validator(std::string_view text) {
  return choose<ValidatorRule, 3>(text, {{{"etag", ValidatorRule::Etag},
                                          {"mtime", ValidatorRule::Mtime},
                                          {"length", ValidatorRule::Length}}});
}

std::optional<LogLevel> parse_level(std::string_view text) {
  return choose<LogLevel, 4>(text, {{{"debug", LogLevel::Debug},
                                     {"info", LogLevel::Info},
                                     {"warning", LogLevel::Warning},
                                     {"error", LogLevel::Error}}});
}

std::optional<std::string> parse_node_name(std::string_view text) {
  const auto allowed = [](char c) {
    return is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
  };
  // An RFC 9651 token starts with a letter; Cache-Status carries the name as one (RFC 9211 §2).
  if (text.empty() || text.size() > 64 || !is_letter(text[0])) return std::nullopt;
  if (!std::ranges::all_of(text, allowed)) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_site_name(std::string_view text) {
  const auto allowed = [](char c) {
    return is_lower(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
  };
  if (text.empty() || text.size() > 64 || !std::ranges::all_of(text, allowed)) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_host(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) {
    const std::string ip(text.substr(1, text.size() - 2));
    if (!is_ip_literal(AF_INET6, ip)) return std::nullopt;
    return lower(text);
  }
  if (!is_host_name(text)) return std::nullopt;
  return lower(text);
}

std::optional<std::string> parse_site_host(std::string_view text) {
  if (text == "*") return std::string(text);
  return parse_host(text);
}

std::optional<std::string> parse_path(std::string_view text) {
  if (text.empty() || text.size() > 4095 || text.contains('\0')) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_query_name(std::string_view text) {
  const auto allowed = [](char c) {
    return is_letter(c) || is_digit(c) || std::string_view("-._~!$'()*+,;:@/?%").contains(c);
  };
  if (text.empty() || text.size() > 64 || !std::ranges::all_of(text, allowed)) return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_field_name(std::string_view text) {
  // What Segue makes itself, what belongs to one connection (RFC 9110 §7.6.1), and what would make
  // one client's answer another's.
  constexpr std::array<std::string_view, 24> kOurs{"accept-encoding",
                                                   "cdn-loop",
                                                   "connection",
                                                   "content-length",
                                                   "content-type",
                                                   "cookie",
                                                   "expect",
                                                   "host",
                                                   "if-match",
                                                   "if-modified-since",
                                                   "if-none-match",
                                                   "if-range",
                                                   "if-unmodified-since",
                                                   "keep-alive",
                                                   "max-forwards",
                                                   "proxy-authorization",
                                                   "proxy-connection",
                                                   "range",
                                                   "te",
                                                   "trailer",
                                                   "transfer-encoding",
                                                   "upgrade",
                                                   "user-agent",
                                                   "via"};
  const auto token = [](char c) {
    return is_letter(c) || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~").contains(c);
  };
  if (text.empty() || text.size() > 64 || !std::ranges::all_of(text, token)) return std::nullopt;
  std::string name = lower(text);
  if (std::ranges::find(kOurs, name) != kOurs.end()) return std::nullopt;
  return name;
}

std::optional<std::string> parse_tag_field(std::string_view text) {
  if (text == "*") return std::nullopt;
  return parse_field_name(text);
}

std::optional<std::string> parse_method(std::string_view text) {
  // Served here, or never passed on: a tunnel and an echo of our own request to the origin.
  constexpr std::array<std::string_view, 5> kNeverRelayed{"GET", "HEAD", "OPTIONS", "CONNECT",
                                                          "TRACE"};
  const auto token = [](char c) {
    return is_letter(c) || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~").contains(c);
  };
  if (text.empty() || text.size() > 32 || !std::ranges::all_of(text, token)) return std::nullopt;
  if (std::ranges::find(kNeverRelayed, text) != kNeverRelayed.end()) return std::nullopt;
  return std::string(text);  // methods are case-sensitive (RFC 9110 §9.1)
}

std::optional<TokenForm> parse_token_form(std::string_view text) {
  return choose<TokenForm, 4>(text, {{{"segue", TokenForm::Segue},
                                      {"edgeauth", TokenForm::EdgeAuth},
                                      {"expires", TokenForm::Expires},
                                      {"jwt", TokenForm::Jwt}}});
}

std::optional<std::string> parse_token_name(std::string_view text) {
  // Fields that mean something of their own; "cookie" would hide all cookies.
  constexpr std::array<std::string_view, 12> kTaken{
      "authorization", "cookie", "origin",   "referer", "user-agent", "accept",
      "cache-control", "pragma", "priority", "date",    "cmcd",       "content-type"};
  const auto allowed = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; };
  if (text.empty() || text.size() > 64 || !std::ranges::all_of(text, allowed)) return std::nullopt;
  // Ours to make, or read: not a token's either.
  if (!parse_field_name(text) || std::ranges::find(kTaken, lower(text)) != kTaken.end())
    return std::nullopt;
  return std::string(text);
}

std::optional<std::string> parse_key_id(std::string_view text) {
  const auto allowed = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; };
  if (text.empty() || text.size() > 32 || !std::ranges::all_of(text, allowed)) return std::nullopt;
  return std::string(text);
}

std::optional<LimitBy> parse_limit_by(std::string_view text) {
  return choose<LimitBy, 2>(text, {{{"client", LimitBy::Client}, {"token", LimitBy::Token}}});
}

std::optional<bool> parse_tls12(std::string_view text) {
  return choose<bool, 2>(text, {{{"1.2", true}, {"1.3", false}}});
}

std::optional<bool> parse_refuse(std::string_view text) {
  return choose<bool, 2>(text, {{{"default", false}, {"refuse", true}}});
}

std::optional<std::string> parse_cors(std::string_view text) {
  if (text == "off") return std::string{};
  if (text == "*") return std::string(text);
  const auto origin = parse_server(text);  // an origin is scheme, host and port: RFC 6454 §6.2
  if (!origin || origin->scheme == Server::Scheme::Directory) return std::nullopt;
  if (!origin->base_path.empty() || text.ends_with('/')) return std::nullopt;
  return std::string(text);
}

}  // namespace segue::conf
