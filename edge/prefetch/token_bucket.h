// edge/prefetch/token_bucket.h - a budget that grows with time: of bytes, or of lines.
#pragma once
#include <algorithm>
#include <chrono>
#include <optional>

#include "base/loop/clock.h"

namespace segue::edge {

/// Holds at most `burst` of its rate, and begins full: a burst after a pause, not the pause's whole
/// budget. What is larger than that goes when it is full, and is paid for afterwards. Without a
/// rate nothing is afforded. The time is passed in; owned by one loop.
class TokenBucket {
 public:
  explicit constexpr TokenBucket(std::chrono::seconds burst) noexcept : burst_(burst) {}

  void refill(double per_second, MonoTime now) noexcept {
    const std::chrono::duration<double> passed = now - filled_at_;
    const double grown =
        filled_at_ == MonoTime{} ? capacity(per_second) : left_ + per_second * passed.count();
    per_second_ = per_second;
    left_ = std::min(grown, capacity(per_second));
    filled_at_ = now;
  }
  /// As of the last refill().
  [[nodiscard]] bool affords(double cost) const noexcept {
    return per_second_ > 0 && missing(cost) <= 0;
  }
  /// How long after the last refill() it affords that; nothing if it does already, or never will.
  [[nodiscard]] std::optional<std::chrono::milliseconds> wait_for(double cost) const noexcept {
    if (per_second_ <= 0 || missing(cost) <= 0) return std::nullopt;
    const std::chrono::duration<double> wait(missing(cost) / per_second_);
    return std::chrono::floor<std::chrono::milliseconds>(wait) + std::chrono::milliseconds{1};
  }
  /// Less than nothing: gives back.
  void spend(double cost) noexcept { left_ -= cost; }

 private:
  [[nodiscard]] double capacity(double per_second) const noexcept {
    return per_second * static_cast<double>(burst_.count());
  }
  [[nodiscard]] double missing(double cost) const noexcept {
    return std::min(cost, capacity(per_second_)) - left_;
  }

  const std::chrono::seconds burst_;
  double per_second_ = 0;
  double left_ = 0;
  MonoTime filled_at_{};
};

}  // namespace segue::edge
