// cache/start_counts.h - how often each slice was asked for lately, about, in memory that is given
// once: a count-min sketch whose counts halve as time goes on (TinyLFU, Einziger et al. 2017).
//
// The owner holds its shard's mutex for every call.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace segue::cache {

class StartCounts {
 public:
  /// Tells apart about so many; 0: counts nothing. Start-up; the one allocation.
  explicit StartCounts(uint32_t slices)
      : counts_(slices == 0 ? 0 : std::bit_ceil(std::max(64U, slices * kCountersPerSlice))),
        period_(slices * kCountsPerSlice) {}

  /// `hash` is well mixed.
  void add(uint64_t hash) noexcept {
    if (counts_.empty()) return;
    uint8_t& one = counts_[first_of(hash)];
    uint8_t& other = counts_[second_of(hash)];
    const uint8_t least = std::min(one, other);
    if (least == UINT8_MAX) return;
    // Only what is least grows: others that share the greater one are not made more popular.
    if (one == least) ++one;
    if (other == least && &other != &one) ++other;
    if (++added_ < period_) return;
    added_ /= 2;
    for (uint8_t& count : counts_) count /= 2;
  }
  /// Never less than it was, but for halvings.
  [[nodiscard]] uint32_t of(uint64_t hash) const noexcept {
    return counts_.empty() ? 0 : std::min(counts_[first_of(hash)], counts_[second_of(hash)]);
  }

 private:
  static constexpr uint32_t kCountersPerSlice = 8;
  static constexpr uint32_t kCountsPerSlice = 10;
  [[nodiscard]] size_t first_of(uint64_t hash) const noexcept {
    return hash & (counts_.size() - 1);
  }
  [[nodiscard]] size_t second_of(uint64_t hash) const noexcept {
    return std::rotr(hash, 29) * 0x9e3779b97f4a7c15ULL >> 20 & (counts_.size() - 1);
  }
  std::vector<uint8_t> counts_;
  uint32_t period_;
  uint32_t added_ = 0;
};

}  // namespace segue::cache
