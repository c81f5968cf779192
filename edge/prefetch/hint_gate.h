// edge/prefetch/hint_gate.h - which hints are worth planning: what a player says of itself is not
// checked, so hints have a budget of their own and are taken once.
//
// A plain class without I/O and clock. Loop-owned; memory is constant.
#pragma once
#include <array>
#include <cstdint>

#include "base/counter.h"
#include "base/loop/clock.h"
#include "base/units.h"
#include "edge/prefetch/target.h"
#include "edge/prefetch/token_bucket.h"

namespace segue::edge {

inline constexpr uint64_t kHintBytes = 512 * KiB;  // ten seconds of 400 kbit/s: a segment

struct HintCounters {
  Counter taken, already_here, repeated, over_budget, unknown_site;
};

class HintGate {
 public:
  static constexpr uint32_t kRemembered = 4096;
  static constexpr std::chrono::seconds kRepeats{30};  // a hint is the same one within this

  /// 0: none is let in.
  void configure(uint64_t bytes_per_second) noexcept { bytes_per_second_ = bytes_per_second; }

  enum class Verdict : uint8_t { Take, Repeated, OverBudget };
  /// `part` of a track, which `bytes` are to be fetched of, hinted at in `session`.
  [[nodiscard]] Verdict admit(uint64_t session, TrackId part, uint64_t bytes,
                              MonoTime now) noexcept;

 private:
  struct Seen {
    uint64_t mark = 0;
    MonoTime until{};
  };
  uint64_t bytes_per_second_ = 0;
  TokenBucket budget_{std::chrono::seconds{2}};  // of bytes
  std::array<Seen, kRemembered> seen_{};
};

}  // namespace segue::edge
