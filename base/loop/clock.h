// base/loop/clock.h - the seam behind which time stands. Freshness, timeouts and logs all take it
// from here.
#pragma once
#include <atomic>
#include <chrono>

namespace segue {

/// Monotonic time; its epoch is the clock's own. Never jumps. Durations and deadlines only.
struct MonoClock {
  using rep = int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<MonoClock>;
  static constexpr bool is_steady = true;
};
using MonoTime = MonoClock::time_point;
/// Wall time, UTC; may jump. For Date, Age of stored responses and logs.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

inline constexpr MonoTime kNever = MonoTime::max();

class Clock {
 public:
  virtual ~Clock() = default;
  /// Any thread; cannot wait.
  [[nodiscard]] virtual MonoTime mono() const noexcept = 0;
  [[nodiscard]] virtual WallTime wall() const noexcept = 0;
};

/// CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] MonoTime mono() const noexcept override;
  [[nodiscard]] WallTime wall() const noexcept override;
};

/// Time that moves only when told to: the simulation and `segue replay`.
class VirtualClock final : public Clock {
 public:
  explicit VirtualClock(WallTime start = WallTime{std::chrono::seconds{1'700'000'000}})
      : wall_start_(start) {}
  [[nodiscard]] MonoTime mono() const noexcept override {
    return MonoTime{std::chrono::nanoseconds{elapsed_.load(std::memory_order_relaxed)}};
  }
  [[nodiscard]] WallTime wall() const noexcept override {
    return wall_start_ +
           std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::nanoseconds{elapsed_.load(std::memory_order_relaxed)}) +
           std::chrono::milliseconds{wall_jump_.load(std::memory_order_relaxed)};
  }
  /// Never backwards.
  void advance_to(MonoTime time) noexcept {
    if (time > mono()) elapsed_.store(time.time_since_epoch().count(), std::memory_order_relaxed);
  }
  void advance(std::chrono::nanoseconds by) noexcept { advance_to(mono() + by); }
  /// A step of the wall clock (NTP, an operator); monotonic time does not notice.
  void jump_wall(std::chrono::milliseconds by) noexcept {
    wall_jump_.store(wall_jump_.load(std::memory_order_relaxed) + by.count(),
                     std::memory_order_relaxed);
  }

 private:
  WallTime wall_start_;
  std::atomic<int64_t> elapsed_{1'000'000'000};
  std::atomic<int64_t> wall_jump_{0};
};

}  // namespace segue
