// base/strong_id.h - numbers that cannot be mistaken for one another: evict(SlotId{7}), never
// evict(7).
#pragma once
#include <compare>
#include <cstdint>
#include <functional>

namespace segue {

template <class Tag, class Number>
struct StrongId {
  Number value{};
  constexpr StrongId() = default;
  constexpr explicit StrongId(Number number) : value(number) {}
  constexpr auto operator<=>(const StrongId&) const = default;
};

}  // namespace segue

template <class Tag, class Number>
struct std::hash<segue::StrongId<Tag, Number>> {
  size_t operator()(segue::StrongId<Tag, Number> id) const noexcept {
    return std::hash<Number>{}(id.value);
  }
};
