// edge/prefetch/hint_gate.h - which hints are worth planning: what a player says of itself is not
// checked, so hints have a budget of their own and are taken once, and one listener has no more
// than a share of it.
//
// A plain class without I/O and clock. Loop-owned; memory is constant: listeners that fall into one
// place of a table have one share between them.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "base/counter.h"
#include "base/loop/clock.h"
#include "base/units.h"
#include "edge/prefetch/target.h"
#include "edge/prefetch/token_bucket.h"

namespace segue::edge {

// Of what is hinted at without an end: what players ask for at once, and a segment of ten seconds
// of 400 kbit/s.
inline constexpr uint64_t kHintBytes = 512 * KiB;

struct HintCounters {
  Counter taken, already_here, repeated, over_budget, unknown_site;
};

class HintGate {
 public:
  static constexpr uint32_t kRemembered = 4096;
  static constexpr std::chrono::seconds kRepeats{30};  // a hint is the same one within this
  static constexpr uint32_t kListeners = 1024;
  /// Of the budget, one listener's: one part in so many of its rate, and as much at once as this
  /// rate brings in so many seconds, which is a list of next objects, or a playlist's beginning.
  static constexpr uint32_t kListenerShareOf = 4;
  static constexpr std::chrono::seconds kListenerBurst{4};

  /// 0: none is let in.
  void configure(uint64_t bytes_per_second) noexcept { bytes_per_second_ = bytes_per_second; }

  enum class Verdict : uint8_t { Take, Repeated, OverBudget };
  struct Hint {
    uint64_t listener = 0;  // a hash
    uint64_t session = 0;
    TrackId part = 0;    // of a track
    uint64_t bytes = 0;  // that are to be fetched of it
  };
  [[nodiscard]] Verdict admit(const Hint& hint, MonoTime now) noexcept;

 private:
  struct Seen {
    uint64_t mark = 0;
    MonoTime until{};
  };
  uint64_t bytes_per_second_ = 0;
  TokenBucket budget_{std::chrono::seconds{2}};  // of bytes
  std::vector<TokenBucket> listeners_{kListeners, TokenBucket{kListenerBurst}};
  std::array<Seen, kRemembered> seen_{};
};

}  // namespace segue::edge
