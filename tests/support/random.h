// tests/support/random.h - random numbers that are the same everywhere for one seed: a failing run
// is repeated by its seed. Never std::uniform_int_distribution, whose results differ by library.
#pragma once
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "base/hash.h"

namespace segue::testing {

/// splitmix64 (Steele et al. 2014).
class Random {
 public:
  explicit Random(uint64_t seed) noexcept : state_(seed) {}
  [[nodiscard]] uint64_t next() noexcept { return mix(state_ += 0x9e3779b97f4a7c15ULL); }
  /// 0 <= result < `end`; `end` > 0. The bias of the modulo is far below what a test could see.
  [[nodiscard]] uint64_t below(uint64_t end) noexcept {
    SEGUE_ASSERT(end > 0);
    return next() % end;
  }
  /// `first` <= result <= `last`.
  [[nodiscard]] uint64_t between(uint64_t first, uint64_t last) noexcept {
    SEGUE_ASSERT(first <= last);
    const uint64_t width = last - first + 1;
    return width == 0 ? next() : first + next() % width;
  }
  /// True once in `times` on average; never for 0.
  [[nodiscard]] bool one_in(uint64_t times) noexcept { return times != 0 && below(times) == 0; }
  /// A generator of its own, so that one part drawing more numbers does not shift the others'.
  [[nodiscard]] Random fork() noexcept { return Random(next()); }
  void fill(std::span<std::byte> bytes) noexcept {
    uint64_t word = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i % 8 == 0) word = next();
      bytes[i] = static_cast<std::byte>(word >> (8 * (i % 8)));
    }
  }

 private:
  uint64_t state_;
};

}  // namespace segue::testing
