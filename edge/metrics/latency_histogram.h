// edge/metrics/latency_histogram.h - how long things took: a log-linear histogram of fixed size,
// one writer (the owning loop), any reader (the scrape).
#pragma once
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <span>

#include "base/counter.h"

namespace segue::edge {

/// The layout shared by the writer and its snapshots: 256 ns units, 8 buckets per power of two, so
/// a bucket is at most 12.5 % wide; from 0 to 2^42 ns (73 minutes), what is longer counts in the
/// last bucket.
struct LatencyBuckets {
  static constexpr uint32_t kCount = 256;
  static constexpr uint32_t kUnitBits = 8;
  static constexpr uint32_t kSubBucketBits = 3;

  [[nodiscard]] static constexpr uint32_t index_of(uint64_t nanoseconds) noexcept {
    const uint64_t units = nanoseconds >> kUnitBits;
    constexpr uint64_t kLinear = uint64_t{1} << kSubBucketBits;
    if (units < kLinear) return static_cast<uint32_t>(units);
    const auto shift = static_cast<uint32_t>(std::bit_width(units)) - 1 - kSubBucketBits;
    const uint64_t index = (uint64_t{shift} << kSubBucketBits) + (units >> shift);
    return index < kCount ? static_cast<uint32_t>(index) : kCount - 1;
  }
  /// The first nanosecond that belongs to the bucket.
  [[nodiscard]] static constexpr uint64_t first_nanosecond(uint32_t index) noexcept {
    constexpr uint32_t kLinear = 1U << kSubBucketBits;
    if (index < kLinear) return uint64_t{index} << kUnitBits;
    const uint32_t shift = (index >> kSubBucketBits) - 1;
    const uint64_t units = uint64_t{kLinear + (index & (kLinear - 1))} << shift;
    return units << kUnitBits;
  }
};

/// Counts at one moment, of one loop or of several merged. For the scrape: not for the hot path.
class LatencySnapshot {
 public:
  /// Adds what another loop counted. Any thread; a record made meanwhile may be missing, none is
  /// counted twice.
  void merge(const class LatencyHistogram& histogram) noexcept;

  [[nodiscard]] uint64_t count() const noexcept;
  [[nodiscard]] std::chrono::nanoseconds sum() const noexcept {
    return std::chrono::nanoseconds{sum_ns_};
  }
  /// The value that the share `quantile` (0..1) of all does not exceed, within the width of its
  /// bucket (never below the true value, at most 12.5 % above it). 0 when nothing was recorded.
  [[nodiscard]] std::chrono::nanoseconds quantile(double quantile) const noexcept;
  /// How many took less than `bound`; exact where `bound` is the border of a bucket, such as any
  /// power of two of nanoseconds from 2^8 on.
  [[nodiscard]] uint64_t count_below(std::chrono::nanoseconds bound) const noexcept;

 private:
  std::array<uint64_t, LatencyBuckets::kCount> counts_{};
  int64_t sum_ns_ = 0;
};

/// One writer. About a dozen instructions per record, no lock prefix (base/counter.h).
class LatencyHistogram {
 public:
  /// Negative durations (a clock's fault) count as zero.
  void record(std::chrono::nanoseconds took) noexcept {
    const uint64_t nanoseconds = took.count() > 0 ? static_cast<uint64_t>(took.count()) : 0;
    counts_[LatencyBuckets::index_of(nanoseconds)].add();
    sum_ns_.add(nanoseconds);
  }

 private:
  friend class LatencySnapshot;
  std::array<Counter, LatencyBuckets::kCount> counts_;
  Counter sum_ns_;
};
static_assert(sizeof(LatencyHistogram) <= 2560);

/// The bounds under which histograms are exported to Prometheus: powers of two of nanoseconds,
/// 2^14 (16 us) to 2^35 (34 s), so that the exported counts are exact.
[[nodiscard]] std::span<const std::chrono::nanoseconds> exported_latency_bounds() noexcept;

}  // namespace segue::edge
