#include "tests/support/sim_loop.h"

#include <algorithm>

namespace segue::testing {

SimWorld::SimWorld(uint64_t seed, uint32_t loop_count) : seed_(seed), random_(seed) {
  for (uint32_t i = 0; i < loop_count; ++i) loops_.push_back(std::make_unique<SimLoop>(i, clock_));
}

void SimWorld::find_choices() {
  choices_.clear();
  const MonoTime now = clock_.mono();
  for (const auto& loop : loops_) {
    if (std::ranges::find(in_turn_, loop.get()) != in_turn_.end()) continue;
    if (loop->has_ready()) choices_.push_back({loop.get(), Act::RunReady});
    if (loop->has_posts()) choices_.push_back({loop.get(), Act::RunPosts});
    if (loop->next_deadline() <= now) choices_.push_back({loop.get(), Act::RunTimers});
  }
}

void SimWorld::carry_out(const Choice& choice) {
  const Loop::Turn turn(*choice.loop);
  in_turn_.push_back(choice.loop);
  switch (choice.act) {
    case Act::RunReady:
      (void)choice.loop->run_one();
      break;
    case Act::RunPosts:
      choice.loop->run_posts();
      break;
    case Act::RunTimers:
      choice.loop->run_due_timers();
      break;
  }
  in_turn_.pop_back();
}

MonoTime SimWorld::next_deadline() const noexcept {
  MonoTime earliest = kNever;
  for (const auto& loop : loops_) {
    if (std::ranges::find(in_turn_, loop.get()) != in_turn_.end()) continue;
    earliest = std::min(earliest, loop->next_deadline());
  }
  return earliest;
}

bool SimWorld::step(MonoTime until) {
  find_choices();
  if (choices_.empty()) {
    const MonoTime deadline = next_deadline();
    if (deadline == kNever || deadline > until) return false;
    clock_.advance_to(deadline);
  } else {
    if (clock_.mono() >= until && until != kNever) return false;
    carry_out(choices_[random_.below(choices_.size())]);
    // Work takes time: two steps at the same instant would hide an order that depends on it.
    clock_.advance(std::chrono::nanoseconds{random_.below(2000)});
  }
  ++steps_;
  if (hook_ != nullptr) hook_->after_step();
  return true;
}

void SimWorld::run_others(uint64_t steps) {
  constexpr std::chrono::milliseconds kOffTheProcessorMax{20};
  const MonoTime until = clock_.mono() + kOffTheProcessorMax;
  // A turn that the test itself opened is not known yet.
  in_turn_.push_back(Loop::current());
  for (; steps > 0; --steps) {
    find_choices();
    if (choices_.empty()) {
      const MonoTime deadline = next_deadline();
      if (deadline > until) break;
      clock_.advance_to(deadline);
      continue;
    }
    const Choice choice = choices_[random_.below(choices_.size())];
    carry_out(choice);
    clock_.advance(std::chrono::nanoseconds{random_.below(2000)});
    ++steps_;
    if (hook_ != nullptr) hook_->after_step();
  }
  in_turn_.pop_back();
}

bool SimWorld::run_until_idle(std::chrono::nanoseconds limit) {
  const MonoTime until = clock_.mono() + limit;
  const uint64_t steps_end = steps_ + kStepsMax;
  while (step(until)) SEGUE_ASSERT(steps_ < steps_end);
  find_choices();
  return choices_.empty() && next_deadline() == kNever;
}

void SimWorld::run_for(std::chrono::nanoseconds duration) {
  const MonoTime until = clock_.mono() + duration;
  const uint64_t steps_end = steps_ + kStepsMax;
  while (step(until)) SEGUE_ASSERT(steps_ < steps_end);
  clock_.advance_to(until);
}

}  // namespace segue::testing
