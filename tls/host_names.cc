#include "tls/host_names.h"

#include <algorithm>

namespace segue::tls {
namespace {

constexpr size_t kHostBytesMax = 253;

bool is_host_byte(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
         c == '*' || c == ':';
}

}  // namespace

bool is_ip_literal(std::string_view host) noexcept {
  if (host.contains(':')) return true;
  return !host.empty() &&
         std::ranges::all_of(host, [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
}

std::optional<std::string> normal_host(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > kHostBytesMax) return std::nullopt;
  std::string name(host);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  if (!std::ranges::all_of(name, is_host_byte)) return std::nullopt;
  return name;
}

std::string wildcard_of(std::string_view host) {
  if (is_ip_literal(host)) return {};
  const size_t dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == host.size()) return {};
  return "*" + std::string(host.substr(dot));
}

}  // namespace segue::tls
