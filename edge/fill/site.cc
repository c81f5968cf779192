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

std::vector<std::string> Site::hidden_fields() const {
  std::vector<std::string> names = tag_fields;
  if (cors.empty()) return names;
  for (const char* hidden :
       {"access-control-allow-origin", "access-control-allow-credentials",
        "access-control-allow-headers", "access-control-allow-methods",
        "access-control-allow-private-network", "access-control-expose-headers",
        "access-control-max-age", "timing-allow-origin"})
    names.emplace_back(hidden);
  return names;
}

bool Site::relays(std::string_view method) const noexcept {
  constexpr std::array<std::string_view, 5> kNever{"GET", "HEAD", "OPTIONS", "CONNECT", "TRACE"};
  if (relay_methods.empty() || std::ranges::find(kNever, method) != kNever.end()) return false;
  return std::ranges::any_of(
      relay_methods, [&](const std::string& listed) { return listed == "*" || listed == method; });
}

}  // namespace segue::edge
