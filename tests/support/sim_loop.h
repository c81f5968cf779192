// tests/support/sim_loop.h - several loops on one thread under a virtual clock; the seed picks
// every next step. One seed is one run: ready nodes, posts, timers and the passing of time happen
// in an order that depends on nothing else.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/loop/loop.h"
#include "base/loop/task.h"
#include "tests/support/random.h"

namespace segue::testing {

/// A loop without a driver of its own: SimWorld runs it.
class SimLoop final : public Loop {
 public:
  using Loop::Loop;

 protected:
  void wake() noexcept override {}  // SimWorld looks at has_posts()
};

/// Called after every step of the simulation, outside of any turn: the place of invariants.
class StepHook {
 public:
  virtual ~StepHook() = default;
  virtual void after_step() = 0;
};

class SimWorld {
 public:
  static constexpr uint64_t kStepsMax = 50'000'000;  // of one call: a run that never rests is a bug

  SimWorld(uint64_t seed, uint32_t loop_count);
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  [[nodiscard]] VirtualClock& clock() noexcept { return clock_; }
  [[nodiscard]] SimLoop& loop(uint32_t index) { return *loops_.at(index); }
  [[nodiscard]] uint32_t loop_count() const noexcept {
    return static_cast<uint32_t>(loops_.size());
  }
  [[nodiscard]] uint64_t seed() const noexcept { return seed_; }
  [[nodiscard]] uint64_t steps() const noexcept { return steps_; }
  /// Null: none. `hook` outlives its use here.
  void set_hook(StepHook* hook) noexcept { hook_ = hook; }

  /// Does one thing: runs one ready node, or the posts, or the due timers of a loop the seed picks;
  /// if no loop has any, moves the clock to the next deadline, but not beyond `until`. False if
  /// there was nothing left to do before `until`.
  bool step(MonoTime until = kNever);
  /// Up to `steps` steps of the loops that are in no turn now, in the middle of a turn: what other
  /// threads do while this one is in a system call, for at most 20 ms. The caller holds no lock.
  void run_others(uint64_t steps);
  /// Steps until nothing is ready, posted or armed. With periodic timers that never happens, so it
  /// ends after `limit` of virtual time at the latest. True if everything is at rest.
  bool run_until_idle(std::chrono::nanoseconds limit = std::chrono::minutes{10});
  /// Steps through `duration` of virtual time; the clock then stands at its end.
  void run_for(std::chrono::nanoseconds duration);
  /// Steps until `done()`; false if it was not within `budget` of virtual time.
  template <class Predicate>
  bool run_until(Predicate done, std::chrono::nanoseconds budget) {
    const MonoTime until = clock_.mono() + budget;
    const uint64_t steps_end = steps_ + kStepsMax;
    while (!done()) {
      if (!step(until)) return done();
      SEGUE_ASSERT(steps_ < steps_end);
    }
    return true;
  }

 private:
  enum class Act : uint8_t { RunReady, RunPosts, RunTimers };
  struct Choice {
    SimLoop* loop;
    Act act;
  };
  void find_choices();
  void carry_out(const Choice& choice);
  [[nodiscard]] MonoTime next_deadline() const noexcept;

  const uint64_t seed_;
  Random random_;
  VirtualClock clock_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::vector<Choice> choices_;
  std::vector<const Loop*> in_turn_;
  StepHook* hook_ = nullptr;
  uint64_t steps_ = 0;
};

}  // namespace segue::testing
