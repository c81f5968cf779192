// edge/prefetch/prefetch_job.h - one order being fetched. Only the files of this folder include it.
#pragma once
#include <algorithm>
#include <vector>

#include "base/ref.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

// 256 kbit/s: what is not said is rather large.
inline constexpr double kBytesPerSecondUnknown = 32'000;
inline constexpr uint32_t kTailBytes = 64 * KiB;  // holds the last page of any Ogg stream
inline constexpr uint64_t kHeadBytesMin = 64 * KiB;

/// Outlives the task that fetches it; owns all that its `asked` views.
struct Prefetcher::Job final : public RefCounted {
  Planner::Order order;
  Asked asked;
  Signal signal;
  bool cancelled = false;
  // Slices of `seen` that are counted already, or were here before the origin was asked.
  std::vector<uint32_t> settled;
  Ref<const cache::Generation> seen;

  [[nodiscard]] bool is_settled(uint32_t slice) const noexcept {
    return std::ranges::find(settled, slice) != settled.end();
  }

  void cancel() noexcept {
    cancelled = true;
    signal.raise();
  }
};

}  // namespace segue::edge
