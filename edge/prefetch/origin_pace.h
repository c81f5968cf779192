// edge/prefetch/origin_pace.h - whether an origin answers later than it is used to.
//
// A plain class: no clock (the time is passed in). One per origin: what is usual of one is slow of
// another. An origin that answers some requests from memory and others from a disk has no one usual
// time, so the mean of its last heads is held against the mean of many, never one head.
#pragma once
#include <cstdint>

#include "base/loop/clock.h"

namespace segue::edge {

class OriginPace {
 public:
  /// All heads this origin ever sent and the time it took for them, in nanoseconds.
  void see(uint64_t heads, uint64_t head_ns, MonoTime now) noexcept;
  /// Its last heads came twice as late as usual or worse, and that was not long ago: nobody may
  /// have asked it since.
  [[nodiscard]] bool is_slow(MonoTime now) const noexcept { return now < slow_until_; }

 private:
  uint64_t heads_seen_ = 0;
  uint64_t head_ns_seen_ = 0;
  double recent_ns_ = 0;  // mean of some eight
  double usual_ns_ = 0;   // of some sixty
  MonoTime slow_until_{};
};

}  // namespace segue::edge
