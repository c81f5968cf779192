#include "base/loop/clock.h"

#include <ctime>

namespace segue {
namespace {
std::chrono::nanoseconds read_clock(clockid_t id) noexcept {
  timespec now{};
  clock_gettime(id, &now);  // cannot fail for these two clocks
  return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}
}  // namespace

MonoTime SystemClock::mono() const noexcept { return MonoTime{read_clock(CLOCK_MONOTONIC)}; }
WallTime SystemClock::wall() const noexcept {
  return WallTime{
      std::chrono::duration_cast<std::chrono::milliseconds>(read_clock(CLOCK_REALTIME))};
}

}  // namespace segue
