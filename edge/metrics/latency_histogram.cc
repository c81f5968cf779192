#include "edge/metrics/latency_histogram.h"

#include <algorithm>
#include <cmath>

namespace segue::edge {

void LatencySnapshot::merge(const LatencyHistogram& histogram) noexcept {
  for (uint32_t i = 0; i < LatencyBuckets::kCount; ++i) counts_[i] += histogram.counts_[i].get();
  sum_ns_ += static_cast<int64_t>(histogram.sum_ns_.get());
}

uint64_t LatencySnapshot::count() const noexcept {
  uint64_t all = 0;
  for (const uint64_t count : counts_) all += count;
  return all;
}

std::chrono::nanoseconds LatencySnapshot::quantile(double quantile) const noexcept {
  const uint64_t all = count();
  if (all == 0) return std::chrono::nanoseconds{0};
  const double share = std::clamp(quantile, 0.0, 1.0) * static_cast<double>(all);
  const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share)));
  uint64_t seen = 0;
  for (uint32_t i = 0; i < LatencyBuckets::kCount; ++i) {
    seen += counts_[i];
    if (seen < rank) continue;
    // The bucket's last nanosecond: whoever reads a p99 must not be told less than it was.
    return std::chrono::nanoseconds{LatencyBuckets::first_nanosecond(i + 1) - 1};
  }
  return std::chrono::nanoseconds{LatencyBuckets::first_nanosecond(LatencyBuckets::kCount)};
}

uint64_t LatencySnapshot::count_below(std::chrono::nanoseconds bound) const noexcept {
  if (bound.count() <= 0) return 0;
  uint64_t below = 0;
  for (uint32_t i = 0; i < LatencyBuckets::kCount; ++i) {
    if (LatencyBuckets::first_nanosecond(i + 1) > static_cast<uint64_t>(bound.count())) break;
    below += counts_[i];
  }
  return below;
}

namespace {

constexpr uint32_t kFirstPower = 14;
constexpr uint32_t kLastPower = 35;

constexpr auto make_exported_bounds() noexcept {
  std::array<std::chrono::nanoseconds, kLastPower - kFirstPower + 1> bounds{};
  for (uint32_t power = kFirstPower; power <= kLastPower; ++power) {
    bounds[power - kFirstPower] = std::chrono::nanoseconds{int64_t{1} << power};
  }
  return bounds;
}
constexpr auto kExportedBounds = make_exported_bounds();

}  // namespace

std::span<const std::chrono::nanoseconds> exported_latency_bounds() noexcept {
  return kExportedBounds;
}

}  // namespace segue::edge
