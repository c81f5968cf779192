#include "base/loop/task.h"

namespace segue {

void Signal::raise() noexcept {
  if (waiter_ == nullptr) {
    raised_ = true;
    return;
  }
  Awaiter* awaiter = std::exchange(waiter_, nullptr);
  Loop* loop = Loop::current();
  loop->disarm(awaiter->timer_);
  awaiter->wake_ = Wake::Raised;
  loop->make_ready(*awaiter->waiter_);
}

void Signal::Awaiter::start(ReadyNode& waiter) {
  SEGUE_ASSERT(signal_.waiter_ == nullptr);  // one waiter: whoever needs more has its own signal
  waiter_ = &waiter;
  signal_.waiter_ = this;
  Loop::current()->arm(timer_, deadline_);
}

void Signal::Awaiter::expired(Timer& timer) {
  Awaiter* awaiter = static_cast<OwnedTimer&>(timer).owner;
  awaiter->signal_.waiter_ = nullptr;
  awaiter->wake_ = Wake::Deadline;
  Loop::current()->make_ready(*awaiter->waiter_);
}

Task<void> sleep_for(std::chrono::nanoseconds duration) {
  Signal never_raised;
  co_await never_raised.wait(Loop::current()->now() + duration);
}

bool TaskGroup::try_spawn(Task<void> task) {
  if (running_ == tasks_max_ || !task.valid()) return false;
  SEGUE_ASSERT(Loop::current() == &loop_);
  // A node of its own in the frame pool: the promise's own node is busy with the task's own waits.
  void* memory = loop_.frames().allocate(sizeof(Entry));
  if (memory == nullptr) return false;
  auto* entry = new (memory) Entry;
  entry->group = this;
  auto handle = task.release();
  entry->frame = handle;
  handle.promise().on_done = entry;
  ++running_;
  handle.resume();
  return true;
}

void TaskGroup::Entry::reap(ReadyNode& node) {
  auto& entry = static_cast<Entry&>(node);
  TaskGroup& group = *entry.group;
  entry.frame.destroy();
  entry.~Entry();
  FramePool::deallocate(&entry);
  SEGUE_ASSERT(group.running_ > 0);
  if (--group.running_ == 0) group.empty_.raise();
}

Task<void> TaskGroup::drain() {
  while (running_ > 0) co_await empty_.wait(kNever);
}

}  // namespace segue
