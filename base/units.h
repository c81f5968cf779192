// base/units.h - byte units as constants, so that limits read as they are spoken.
#pragma once
#include <cstddef>
#include <cstdint>

namespace segue {

inline constexpr uint64_t KiB = 1024;
inline constexpr uint64_t MiB = 1024 * KiB;
inline constexpr uint64_t GiB = 1024 * MiB;
inline constexpr uint64_t TiB = 1024 * GiB;

/// Rounds `value` up or down to a multiple of `unit` (a power of two or not). Cannot overflow below
/// 2^63.
constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value / unit * unit; }

}  // namespace segue
