#include "edge/prefetch/hint_gate.h"

#include "base/hash.h"

namespace segue::edge {

HintGate::Verdict HintGate::admit(uint64_t session, TrackId part, uint64_t bytes,
                                  MonoTime now) noexcept {
  const uint64_t mark = mix(session ^ mix(part));
  Seen& seen = seen_[mark % kRemembered];
  if (seen.mark == mark && now < seen.until) return Verdict::Repeated;
  budget_.refill(static_cast<double>(bytes_per_second_), now);
  if (!budget_.affords(static_cast<double>(bytes))) return Verdict::OverBudget;
  budget_.spend(static_cast<double>(bytes));
  seen = {mark, now + kRepeats};
  return Verdict::Take;
}

}  // namespace segue::edge
