// loadtest/players/histogram.h - counts durations in log-linear buckets: 32 for each doubling, so
// that any quantile is right to 3 %, from 1 microsecond to 12 days, in 10 KiB.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace loadtest {

class Histogram {
 public:
  static constexpr uint32_t kSubBits = 5;
  static constexpr uint64_t kSub = uint64_t{1} << kSubBits;
  static constexpr uint64_t kValueMax = (uint64_t{1} << 40) - 1;  // larger ones count as this

  /// Values below kSub have a bucket each; above, the top kSubBits + 1 bits choose it.
  [[nodiscard]] static constexpr size_t bucket_of(uint64_t value) noexcept {
    value = std::min(value, kValueMax);
    if (value < kSub) return static_cast<size_t>(value);
    const auto shift = static_cast<uint32_t>(std::bit_width(value)) - 1 - kSubBits;
    return static_cast<size_t>((uint64_t{shift} << kSubBits) + (value >> shift));
  }
  /// The least value of a bucket.
  [[nodiscard]] static constexpr uint64_t lower_bound(size_t bucket) noexcept {
    if (bucket < 2 * kSub) return bucket;
    const uint64_t shift = (bucket >> kSubBits) - 1;
    return (kSub + (bucket & (kSub - 1))) << shift;
  }
  static constexpr size_t kBuckets = 36 * kSub;

  void record(uint64_t value) noexcept {
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
  }

  void add(const Histogram& other) noexcept {
    for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
  }

  [[nodiscard]] uint64_t count() const noexcept { return count_; }
  [[nodiscard]] uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] uint64_t max() const noexcept { return max_; }
  [[nodiscard]] double mean() const noexcept {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }

  /// The value that a share of `quantile` of the values does not exceed, as the middle of its
  /// bucket; 0 when empty.
  [[nodiscard]] uint64_t at(double quantile) const noexcept {
    if (count_ == 0) return 0;
    const double clamped = std::clamp(quantile, 0.0, 1.0);
    auto rank = static_cast<uint64_t>(std::llround(clamped * static_cast<double>(count_)));
    rank = std::clamp<uint64_t>(rank, 1, count_);
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += buckets_[i];
      if (seen < rank) continue;
      const uint64_t middle = (lower_bound(i) + lower_bound(i + 1) - 1) / 2;
      return std::clamp(middle, min_, max_);
    }
    return max_;
  }

  /// visit(lower bound, count) for every bucket that is not empty, ascending.
  template <class Visit>
  void for_each(Visit visit) const {
    for (size_t i = 0; i < kBuckets; ++i) {
      if (buckets_[i] > 0) visit(lower_bound(i), buckets_[i]);
    }
  }

 private:
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t min_ = std::numeric_limits<uint64_t>::max();
  uint64_t max_ = 0;
};

static_assert(Histogram::bucket_of(Histogram::kValueMax) < Histogram::kBuckets);

}  // namespace loadtest
