// origin/health.h - which servers of one origin are worth asking: a breaker each, shared by all
// loops. A dead server costs `failures` failed requests once, then one probe per `open_for`, and
// nobody waits for it meanwhile.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/loop/clock.h"

namespace segue::origin {

// Closed ─Tripped─► Open ─ProbeTaken─► HalfOpen ─ProbeGood─► Closed
//                     ▲                    │ ProbeBad, ProbeDropped
//                     └────────────────────┘
enum class BreakerState : uint8_t { Closed, Open, HalfOpen };
enum class BreakerEvent : uint8_t { Tripped, ProbeTaken, ProbeGood, ProbeBad, ProbeDropped };
struct BreakerEdge {
  BreakerState from;
  BreakerEvent event;
  BreakerState to;
};
inline constexpr BreakerEdge kBreakerEdges[] = {
    {BreakerState::Closed, BreakerEvent::Tripped, BreakerState::Open},
    {BreakerState::Open, BreakerEvent::ProbeTaken, BreakerState::HalfOpen},
    {BreakerState::HalfOpen, BreakerEvent::ProbeGood, BreakerState::Closed},
    {BreakerState::HalfOpen, BreakerEvent::ProbeBad, BreakerState::Open},
    {BreakerState::HalfOpen, BreakerEvent::ProbeDropped, BreakerState::Open},
};
[[nodiscard]] constexpr std::optional<BreakerState> next(BreakerState from, BreakerEvent event) {
  for (const BreakerEdge& edge : kBreakerEdges) {
    if (edge.from == from && edge.event == event) return edge.to;
  }
  return std::nullopt;
}
static_assert(!next(BreakerState::Open, BreakerEvent::ProbeGood));  // only a probe that was taken

enum class Outcome : uint8_t { Good, Bad, Dropped };

/// All functions: any thread, lock-free, cannot wait. Times are of one MonoClock, the same on all
/// loops.
class Health {
 public:
  /// What a request that may go must carry back to report(): only a probe moves a breaker that is
  /// not closed, so that late answers of older requests prove nothing.
  enum class Permission : uint8_t { Denied, Normal, Probe };

  Health(uint32_t servers, uint32_t failures, std::chrono::milliseconds open_for);
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;

  /// Asks to use `server`. A Probe must be reported, whatever becomes of it.
  [[nodiscard]] Permission ask(uint32_t server, MonoTime now) noexcept;
  /// Whether ask() might say yes; takes nothing.
  [[nodiscard]] bool may_ask(uint32_t server, MonoTime now) const noexcept;
  void report(uint32_t server, Permission permission, Outcome outcome, MonoTime now) noexcept;

  [[nodiscard]] BreakerState state(uint32_t server) const noexcept;
  [[nodiscard]] uint32_t servers() const noexcept { return servers_; }
  /// Times the breaker of `server` opened (a probe that failed is not counted again).
  [[nodiscard]] uint64_t trips(uint32_t server) const noexcept;

 private:
  struct Server {
    std::atomic<uint64_t> word{0};  // state, failures, open-until; one word, so that every change
                                    // is one compare-exchange
    std::atomic<uint64_t> trips{0};
  };
  void report_probe(Server& server, Outcome outcome, MonoTime now) noexcept;

  const uint32_t servers_;
  const uint32_t failures_;
  const int64_t open_for_ms_;
  std::unique_ptr<Server[]> table_;
};

}  // namespace segue::origin
