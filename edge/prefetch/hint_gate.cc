#include "edge/prefetch/hint_gate.h"

#include "base/hash.h"

namespace segue::edge {

HintGate::Verdict HintGate::admit(const Hint& hint, MonoTime now) noexcept {
  const uint64_t mark = mix(hint.session ^ mix(hint.part));
  Seen& seen = seen_[mark % kRemembered];
  if (seen.mark == mark && now < seen.until) return Verdict::Repeated;
  const auto bytes = static_cast<double>(hint.bytes);
  const auto rate = static_cast<double>(bytes_per_second_);
  TokenBucket& share = listeners_[mix(hint.listener) % kListeners];
  share.refill(rate / kListenerShareOf, now);
  budget_.refill(rate, now);
  if (!share.affords(bytes) || !budget_.affords(bytes)) return Verdict::OverBudget;
  share.spend(bytes);
  budget_.spend(bytes);
  seen = {mark, now + kRepeats};
  return Verdict::Take;
}

}  // namespace segue::edge
