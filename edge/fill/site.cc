#include "edge/fill/site.h"

#include <algorithm>
#include <array>

namespace segue::edge {

bool Site::relays(std::string_view method) const noexcept {
  constexpr std::array<std::string_view, 5> kNever{"GET", "HEAD", "OPTIONS", "CONNECT", "TRACE"};
  if (relay_methods.empty() || std::ranges::find(kNever, method) != kNever.end()) return false;
  return std::ranges::any_of(
      relay_methods, [&](const std::string& name) { return name == "*" || name == method; });
}

}  // namespace segue::edge
