#include "base/loop/task.h"

namespace segue {

void Signal::raise() noexcept {
  if (waiter_ == nullptr) {
    raised_ = true;
    return;
  }
  Awaiter* awaiter = std::exchange(waiter_, nullptr);
  Loop* loop = awaiter->loop_;
  SEGUE_ASSERT(Loop::current() == loop);  // from another loop: post() to the waiter's loop instead
  loop->disarm(awaiter->timer_);
  awaiter->wake_ = Wake::Raised;
  loop->make_ready(*awaiter->waiter_);
}

void Signal::Awaiter::start(ReadyNode& waiter) {
  SEGUE_ASSERT(signal_.waiter_ == nullptr);  // one waiter: whoever needs more has its own signal
  waiter_ = &waiter;
  loop_ = Loop::current();
  signal_.waiter_ = this;
  loop_->arm(timer_, deadline_);
}

void Signal::Awaiter::expired(Timer& timer) {
  Awaiter* awaiter = static_cast<OwnedTimer&>(timer).owner;
  awaiter->signal_.waiter_ = nullptr;
  awaiter->wake_ = Wake::Deadline;
  awaiter->loop_->make_ready(*awaiter->waiter_);
}

void Sleep::start(ReadyNode& waiter) {
  timer_.waiter = &waiter;
  Loop& loop = *Loop::current();
  loop.arm(timer_, loop.now() + duration_);
}

void Sleep::expired(Timer& timer) {
  Loop::current()->make_ready(*static_cast<OwnedTimer&>(timer).waiter);
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
  if (--group.running_ == 0 && group.drain_waiter_ != nullptr) {
    group.loop_.make_ready(group.emptied_);
  }
}

void TaskGroup::Emptied::look(ReadyNode& node) {
  TaskGroup& group = static_cast<Emptied&>(node).group;
  if (group.running_ > 0) return;
  detail::PromiseBase* waiter = std::exchange(group.drain_waiter_, nullptr);
  detail::PromiseBase::resume(*waiter);  // may destroy the group
}

}  // namespace segue
