// cache/write_budget.h - how much may be written to a drive: a token bucket of bytes, so that its
// endurance lasts and reads find it free.
#pragma once
#include <cstdint>
#include <mutex>

#include "base/loop/clock.h"

namespace segue::cache {

/// Any thread.
class WriteBudget {
 public:
  /// The bucket holds this much of the rate: a burst after a quiet time, not a quiet day's worth.
  static constexpr std::chrono::seconds kBurst{60};

  /// `bytes_per_second` 0: no limit, and never anything to spare (admission then goes by use
  /// alone).
  WriteBudget(uint64_t bytes_per_second, MonoTime now) noexcept
      : rate_(bytes_per_second), level_(capacity()), filled_at_(now) {}

  /// Takes `bytes` out; false if they are not there.
  [[nodiscard]] bool try_take(uint64_t bytes, MonoTime now) noexcept {
    if (rate_ == 0) return true;
    const std::lock_guard lock(mutex_);
    fill(now);
    if (level_ < bytes) return false;
    level_ -= bytes;
    return true;
  }
  /// Puts back what was taken for a write that did not happen.
  void give_back(uint64_t bytes) noexcept {
    if (rate_ == 0) return;
    const std::lock_guard lock(mutex_);
    level_ = level_ + bytes < capacity() ? level_ + bytes : capacity();
  }
  /// More than half full: the drive has been written less than it may be.
  [[nodiscard]] bool has_to_spare(MonoTime now) noexcept {
    if (rate_ == 0) return false;
    const std::lock_guard lock(mutex_);
    fill(now);
    return level_ > capacity() / 2;
  }

 private:
  [[nodiscard]] uint64_t capacity() const noexcept {
    return rate_ * static_cast<uint64_t>(kBurst.count());
  }
  void fill(MonoTime now) noexcept {
    // Whole milliseconds only: the remainder stays in filled_at_, so nothing is lost to rounding
    // but below 1000 bytes a second.
    const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - filled_at_);
    if (elapsed.count() <= 0) return;
    filled_at_ += elapsed;
    const auto burst_ms = kBurst.count() * 1000;
    if (elapsed.count() >= burst_ms) {
      level_ = capacity();
      return;
    }
    level_ += rate_ * static_cast<uint64_t>(elapsed.count()) / 1000;
    if (level_ > capacity()) level_ = capacity();
  }

  // constant after construction
  const uint64_t rate_;
  // under mutex_
  std::mutex mutex_;
  uint64_t level_;
  MonoTime filled_at_;
};

}  // namespace segue::cache
