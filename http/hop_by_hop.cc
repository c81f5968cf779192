#include "http/hop_by_hop.h"

#include <algorithm>
#include <array>

namespace segue::http {
namespace {

constexpr std::array<std::string_view, 8> kHopByHop{
    "Connection",        "Keep-Alive",     "TE",   "Trailer", "Upgrade",
    "Transfer-Encoding", "HTTP2-Settings", "Close"};

/// Written by us for each response, or never to be given to somebody else.
constexpr std::array<std::string_view, 11> kNotStored{
    "Content-Length", "Content-Range", "Accept-Ranges", "Age",         "Cache-Status",       "Via",
    "Alt-Svc",        "Server-Timing", "Set-Cookie",    "Set-Cookie2", "Authentication-Info"};

template <size_t N>
bool is_listed(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::any_of(
      names, [name](std::string_view other) { return equals_ignore_case(name, other); });
}

}  // namespace

bool is_hop_by_hop(std::string_view name) noexcept {
  constexpr std::string_view kProxy = "Proxy-";
  if (name.size() >= kProxy.size() && equals_ignore_case(name.substr(0, kProxy.size()), kProxy)) {
    return true;
  }
  return is_listed(kHopByHop, name);
}

bool is_hop_by_hop(std::string_view name, FieldsView message) noexcept {
  return is_hop_by_hop(name) || message.list_contains("Connection", name);
}

bool is_stored_field(std::string_view name, FieldsView response) noexcept {
  return !is_listed(kNotStored, name) && !is_hop_by_hop(name, response);
}

bool is_passed_field(std::string_view name, FieldsView response) noexcept {
  if (is_stored_field(name, response)) return true;
  return equals_ignore_case(name, "Set-Cookie") && !is_hop_by_hop(name, response);
}

void copy_stored_fields(FieldsView response, OwnedFields& out) {
  for (const Field& field : response) {
    if (is_stored_field(field.name, response)) out.add(field.name, field.value);
  }
}

}  // namespace segue::http
