#include "loadtest/players/play.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace loadtest {

namespace {

constexpr uint64_t kStartBytes = 64 * 1024;  // so much is here before a player begins, or goes on
constexpr uint32_t kPreloadSeconds = 30;

uint64_t us(Time from, Time to) {
  const auto count = std::chrono::duration_cast<std::chrono::microseconds>(to - from).count();
  return count < 0 ? 0 : static_cast<uint64_t>(count);
}

}  // namespace

void Intervals::add(uint64_t first, uint64_t end) {
  if (first >= end) return;
  auto next = ends_.upper_bound(first);
  if (next != ends_.begin() && std::prev(next)->second >= first) {
    --next;
    first = next->first;
    end = std::max(end, next->second);
  }
  while (next != ends_.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = ends_.erase(next);
  }
  ends_[first] = end;
}

uint64_t Intervals::end_from(uint64_t at) const {
  const auto next = ends_.upper_bound(at);
  return next == ends_.begin() ? at : std::max(at, std::prev(next)->second);
}

Play::Play(Plan with_plan, uint64_t stop_at, double acceleration, Tally& tally)
    : plan(std::move(with_plan)),
      leave_at(stop_at),
      preload_at(plan.bytes - std::min<uint64_t>(plan.bytes, kPreloadSeconds * plan.byte_rate)),
      bytes_per_second_(plan.byte_rate * acceleration),
      tally_(tally) {}

void Play::asked(Time now) {
  if (first_asked_) return;
  first_asked_ = true;
  asked_ = now;
}

void Play::start(Time now) {
  started_ = true;
  clock_ = now;
  playing_ = can_play();
}

void Play::move_to(uint64_t position, Time now) {
  position_ = origin_ = position;
  clock_ = now;
  playing_ = stalled_ = false;
  asked_ = now;
  first_64k_ = false;  // what a listener waits for after a seek is the same
  playing_ = can_play();
}

bool Play::can_play() const {
  return here_until() >= std::min(position_ + kStartBytes, plan.bytes);
}

bool Play::on_bytes(uint64_t first, uint64_t end, Time now) {
  have_.add(first, end);
  if (!first_64k_ && have_.end_from(origin_) >= std::min(origin_ + kStartBytes, plan.bytes)) {
    first_64k_ = true;
    tally_.first_64k_us.record(us(asked_, now));
  }
  if (!started_ || playing_ || !can_play()) return false;
  playing_ = true;
  clock_ = now;
  if (stalled_) tally_.stall_us.record(us(stalled_since_, now));
  stalled_ = false;
  return true;
}

void Play::advance(Time now) {
  if (!playing_) return;
  const double seconds = std::chrono::duration<double>(now - clock_).count();
  const uint64_t target = position_ + static_cast<uint64_t>(seconds * bytes_per_second_);
  const uint64_t here = here_until();
  if (target > position_) clock_ = now;  // else the time adds up
  if (target > here && here < std::min(leave_at, plan.bytes)) {
    position_ = here;
    playing_ = false;
    stalled_ = true;
    stalled_since_ = now;
    ++tally_.stalls;
    return;
  }
  position_ = std::min(target, plan.bytes);
}

std::optional<Time> Play::time_of(uint64_t byte) const {
  if (!playing_) return {};
  if (byte <= position_) return clock_;
  const double seconds = static_cast<double>(byte - position_ + 1) / bytes_per_second_;
  return clock_ +
         std::chrono::ceil<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

}  // namespace loadtest
