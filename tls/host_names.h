// tls/host_names.h - host names as SNI, certificates and requests write them, and what covers what
// (RFC 6125 §6.4, RFC 6066 §3).
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace segue::tls {

/// Lower case, no trailing dot; nullopt for what is no host name (empty, over 253 bytes, odd
/// bytes). A bracketed IPv6 literal loses its brackets.
[[nodiscard]] std::optional<std::string> normal_host(std::string_view host);

/// The wildcard that would cover `host`: "*.b.example" for "a.b.example"; empty where none can (one
/// label, or an IP literal). A wildcard stands for exactly one label (RFC 6125 §6.4.3).
[[nodiscard]] std::string wildcard_of(std::string_view host);

/// Whether text is an IPv4 or IPv6 literal without brackets.
[[nodiscard]] bool is_ip_literal(std::string_view host) noexcept;

}  // namespace segue::tls
