#include "edge/prefetch/origin_pace.h"

#include <algorithm>
#include <cmath>

namespace segue::edge {

namespace {
constexpr double kSlowFactor = 2;
constexpr double kSlowFloorNs = 20e6;
constexpr uint64_t kHeadsMin = 16;  // before that nothing is usual
constexpr double kRecent = 1.0 / 8;
constexpr double kUsual = 1.0 / 64;
// An origin that stays slow is what is usual after a hundred heads, not at once.
constexpr double kUsualWhileSlower = 1.0 / 256;
constexpr double kSlowerFactor = 1.5;
constexpr std::chrono::seconds kSlowLasts{1};
}  // namespace

void OriginPace::see(uint64_t heads, uint64_t head_ns, MonoTime now) noexcept {
  if (heads <= heads_seen_) return;
  const auto count = static_cast<double>(heads - heads_seen_);
  const double mean = static_cast<double>(head_ns - head_ns_seen_) / count;
  const auto moved = [&](double from, double gain) {
    return from + (1 - std::pow(1 - gain, count)) * (mean - from);
  };
  const bool first = heads_seen_ == 0;
  recent_ns_ = first ? mean : moved(recent_ns_, kRecent);
  const bool known = heads >= kHeadsMin;
  const bool slow = known && recent_ns_ > kSlowFactor * usual_ns_ + kSlowFloorNs;
  const bool slower = known && recent_ns_ > kSlowerFactor * usual_ns_ + kSlowFloorNs / 2;
  // The mean of all, as long as they are few.
  const double usual_gain = std::max(kUsual, 1 / static_cast<double>(heads));
  usual_ns_ = first ? mean : moved(usual_ns_, slower ? kUsualWhileSlower : usual_gain);
  slow_until_ = slow ? now + kSlowLasts : MonoTime{};
  heads_seen_ = heads;
  head_ns_seen_ = head_ns;
}

}  // namespace segue::edge
