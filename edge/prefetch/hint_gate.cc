#include "edge/prefetch/hint_gate.h"

#include <algorithm>
#include <chrono>

#include "base/hash.h"

namespace segue::edge {

HintGate::Verdict HintGate::admit(uint64_t session, TrackId part, uint64_t bytes,
                                  MonoTime now) noexcept {
  const uint64_t mark = mix(session ^ mix(part));
  Seen& seen = seen_[mark % kRemembered];
  if (seen.mark == mark && now < seen.until) return Verdict::Repeated;
  constexpr double kBurstSeconds = 2;
  const auto rate = static_cast<double>(bytes_per_second_);
  const double capacity = rate * kBurstSeconds;
  const std::chrono::duration<double> passed = now - filled_at_;
  left_ = filled_at_ == MonoTime{} ? capacity : std::min(capacity, left_ + rate * passed.count());
  filled_at_ = now;
  const auto cost = static_cast<double>(bytes);
  if (capacity <= 0 || left_ < std::min(cost, capacity)) return Verdict::OverBudget;
  left_ -= cost;  // what is larger than the bucket is paid for afterwards
  seen = {mark, now + kRepeats};
  return Verdict::Take;
}

}  // namespace segue::edge
