#include "edge/fill/site.h"

#include <algorithm>
#include <array>

#include "http/header_fields.h"

namespace segue::edge {

bool Site::is_tag_field(std::string_view field_name) const noexcept {
  return std::ranges::any_of(tag_fields, [field_name](const std::string& tag_field) {
    return http::equals_ignore_case(tag_field, field_name);
  });
}

bool Site::relays(std::string_view method) const noexcept {
  constexpr std::array<std::string_view, 5> kNever{"GET", "HEAD", "OPTIONS", "CONNECT", "TRACE"};
  if (relay_methods.empty() || std::ranges::find(kNever, method) != kNever.end()) return false;
  return std::ranges::any_of(
      relay_methods, [&](const std::string& listed) { return listed == "*" || listed == method; });
}

}  // namespace segue::edge
