// edge/prefetch/prefetch_job.h - one order being fetched. Only the files of this folder include it.
#pragma once
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
  uint32_t counted_to = 0;  // slices below this were counted: head and tail may meet in one

  void cancel() noexcept {
    cancelled = true;
    signal.raise();
  }
};

}  // namespace segue::edge
