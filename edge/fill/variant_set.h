// edge/fill/variant_set.h - which variants of one key may be stored: the first kVariantsMax that
// ask. A field that differs with every request (a Vary on User-Agent) must not fill the cache with
// one track.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "base/limits.h"

namespace segue::edge {

/// Shared by all loops; no lock, no allocation.
class VariantSet {
 public:
  /// True if the variant is in the set, or there was room for it. `hash` is of its key.
  [[nodiscard]] bool admit(uint64_t hash) noexcept {
    hash |= 1;  // 0 is a free place
    for (std::atomic<uint64_t>& place : places_) {
      uint64_t there = place.load(std::memory_order_relaxed);
      if (there == 0 && place.compare_exchange_strong(there, hash, std::memory_order_relaxed))
        return true;
      if (there == hash) return true;
    }
    return false;
  }

 private:
  std::array<std::atomic<uint64_t>, kVariantsMax> places_{};
};

}  // namespace segue::edge
