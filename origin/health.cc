#include "origin/health.h"

#include <algorithm>

#include "base/assert.h"

namespace segue::origin {
namespace {

/// 2 bits of state, 14 of consecutive failures, 48 of milliseconds (8,900 years).
struct Word {
  BreakerState state = BreakerState::Closed;
  uint32_t failures = 0;
  int64_t open_until_ms = 0;
};
constexpr uint32_t kFailuresMax = (1U << 14) - 1;
constexpr uint64_t kTimeMask = (uint64_t{1} << 48) - 1;

[[nodiscard]] constexpr Word unpack(uint64_t word) noexcept {
  return {.state = static_cast<BreakerState>(word >> 62),
          .failures = static_cast<uint32_t>(word >> 48) & kFailuresMax,
          .open_until_ms = static_cast<int64_t>(word & kTimeMask)};
}
[[nodiscard]] constexpr uint64_t pack(const Word& word) noexcept {
  return static_cast<uint64_t>(word.state) << 62 | static_cast<uint64_t>(word.failures) << 48 |
         (static_cast<uint64_t>(word.open_until_ms) & kTimeMask);
}
static_assert(unpack(pack({BreakerState::HalfOpen, kFailuresMax, 77})).open_until_ms == 77);

[[nodiscard]] int64_t milliseconds_of(MonoTime time) noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

void go(Word& word, BreakerEvent event) noexcept {
  const auto to = next(word.state, event);
  SEGUE_ASSERT(to.has_value());
  word.state = *to;
}

}  // namespace

Health::Health(uint32_t servers, uint32_t failures, std::chrono::milliseconds open_for)
    : servers_(servers),
      failures_(std::clamp(failures, 1U, kFailuresMax)),
      open_for_ms_(open_for.count()),
      table_(std::make_unique<Server[]>(servers)) {}

bool Health::may_ask(uint32_t server, MonoTime now) const noexcept {
  SEGUE_ASSERT(server < servers_);
  const Word word = unpack(table_[server].word.load(std::memory_order_relaxed));
  if (word.state == BreakerState::Closed) return true;
  return word.state == BreakerState::Open && milliseconds_of(now) >= word.open_until_ms;
}

Health::Permission Health::ask(uint32_t server, MonoTime now) noexcept {
  SEGUE_ASSERT(server < servers_);
  std::atomic<uint64_t>& shared = table_[server].word;
  uint64_t seen = shared.load(std::memory_order_relaxed);
  for (;;) {
    Word word = unpack(seen);
    if (word.state == BreakerState::Closed) return Permission::Normal;
    if (word.state == BreakerState::HalfOpen) return Permission::Denied;
    if (milliseconds_of(now) < word.open_until_ms) return Permission::Denied;
    go(word, BreakerEvent::ProbeTaken);
    if (shared.compare_exchange_weak(seen, pack(word), std::memory_order_relaxed)) {
      return Permission::Probe;
    }
  }
}

void Health::report_probe(Server& server, Outcome outcome, MonoTime now) noexcept {
  Word word = unpack(server.word.load(std::memory_order_relaxed));
  if (outcome == Outcome::Good) {
    go(word, BreakerEvent::ProbeGood);
    word.failures = 0;
  } else {
    // A dropped probe proved nothing: the next request may probe at once.
    const bool bad = outcome == Outcome::Bad;
    go(word, bad ? BreakerEvent::ProbeBad : BreakerEvent::ProbeDropped);
    word.open_until_ms = milliseconds_of(now) + (bad ? open_for_ms_ : 0);
  }
  // Nobody else writes while the breaker is half open: ask() denies and normal reports are ignored.
  server.word.store(pack(word), std::memory_order_relaxed);
}

void Health::report(uint32_t server, Permission permission, Outcome outcome,
                    MonoTime now) noexcept {
  SEGUE_ASSERT(server < servers_);
  SEGUE_ASSERT(permission != Permission::Denied);
  Server& reported = table_[server];
  if (permission == Permission::Probe) return report_probe(reported, outcome, now);
  if (outcome == Outcome::Dropped) return;
  uint64_t seen = reported.word.load(std::memory_order_relaxed);
  for (;;) {
    Word word = unpack(seen);
    if (word.state != BreakerState::Closed) return;
    if (outcome == Outcome::Good) {
      if (word.failures == 0) return;  // the common case writes nothing: no cache line is shared
      word.failures = 0;
    } else if (++word.failures >= failures_) {
      go(word, BreakerEvent::Tripped);
      word.open_until_ms = milliseconds_of(now) + open_for_ms_;
    }
    if (!reported.word.compare_exchange_weak(seen, pack(word), std::memory_order_relaxed)) continue;
    if (word.state == BreakerState::Open) reported.trips.fetch_add(1, std::memory_order_relaxed);
    return;
  }
}

BreakerState Health::state(uint32_t server) const noexcept {
  SEGUE_ASSERT(server < servers_);
  return unpack(table_[server].word.load(std::memory_order_relaxed)).state;
}

uint64_t Health::trips(uint32_t server) const noexcept {
  SEGUE_ASSERT(server < servers_);
  return table_[server].trips.load(std::memory_order_relaxed);
}

}  // namespace segue::origin
