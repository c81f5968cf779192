#include "base/loop/loop.h"

#include <utility>

namespace segue {
namespace {
thread_local Loop* t_current = nullptr;
constexpr uint32_t kHeapArity = 4;
constexpr size_t kTimersReserved = 1024;
}  // namespace

Loop::Loop(uint32_t index, const Clock& clock, uint64_t frame_bytes_max)
    : index_(index), clock_(clock), frames_(frame_bytes_max) {
  timers_.reserve(kTimersReserved);
  read_clock();
}

Loop::~Loop() {
  SEGUE_ASSERT(ready_head_ == nullptr);
  SEGUE_ASSERT(timers_.empty());
}

Loop* Loop::current() noexcept { return t_current; }

Loop::Turn::Turn(Loop& loop) noexcept : former_(std::exchange(t_current, &loop)) {
  loop.read_clock();
}
Loop::Turn::~Turn() { t_current = former_; }

void Loop::read_clock() noexcept {
  now_ = clock_.mono();
  wall_now_ = clock_.wall();
}

void Loop::make_ready(ReadyNode& node) noexcept {
  if (node.queued_) return;
  node.queued_ = true;
  node.next_ = nullptr;
  if (ready_tail_ == nullptr) {
    ready_head_ = &node;
  } else {
    ready_tail_->next_ = &node;
  }
  ready_tail_ = &node;
}

void Loop::cancel_ready(ReadyNode& node) noexcept {
  if (!node.queued_) return;
  ReadyNode* before = nullptr;
  ReadyNode* at = ready_head_;
  while (at != &node) {
    SEGUE_ASSERT(at != nullptr);
    before = at;
    at = at->next_;
  }
  (before == nullptr ? ready_head_ : before->next_) = node.next_;
  if (ready_tail_ == &node) ready_tail_ = before;
  node.queued_ = false;
}

bool Loop::run_one() noexcept {
  ReadyNode* node = ready_head_;
  if (node == nullptr) return false;
  ready_head_ = node->next_;
  if (ready_head_ == nullptr) ready_tail_ = nullptr;
  node->queued_ = false;
  node->run_(*node);  // may destroy the node
  return true;
}

void Loop::place(uint32_t index, Timer* timer) noexcept {
  timers_[index] = timer;
  timer->heap_index_ = index;
}

void Loop::sift_up(uint32_t index) noexcept {
  Timer* timer = timers_[index];
  while (index > 0) {
    uint32_t parent = (index - 1) / kHeapArity;
    if (timers_[parent]->deadline_ <= timer->deadline_) break;
    place(index, timers_[parent]);
    index = parent;
  }
  place(index, timer);
}

void Loop::sift_down(uint32_t index) noexcept {
  Timer* timer = timers_[index];
  const auto count = static_cast<uint32_t>(timers_.size());
  for (;;) {
    const uint32_t first_child = index * kHeapArity + 1;
    if (first_child >= count) break;
    uint32_t least = first_child;
    for (uint32_t child = first_child + 1; child < count && child < first_child + kHeapArity;
         ++child) {
      if (timers_[child]->deadline_ < timers_[least]->deadline_) least = child;
    }
    if (timers_[least]->deadline_ >= timer->deadline_) break;
    place(index, timers_[least]);
    index = least;
  }
  place(index, timer);
}

void Loop::arm(Timer& timer, MonoTime deadline) {
  if (deadline == kNever) return disarm(timer);
  // A timer that re-arms itself for "now" while due timers run would keep run_due_timers() for
  // ever.
  if (in_timers_ && deadline <= now_) deadline = now_ + std::chrono::nanoseconds{1};
  timer.deadline_ = deadline;
  if (!timer.armed()) {
    timer.heap_index_ = static_cast<uint32_t>(timers_.size());
    timers_.push_back(&timer);
  }
  sift_up(timer.heap_index_);
  sift_down(timer.heap_index_);
}

void Loop::disarm(Timer& timer) noexcept {
  if (!timer.armed()) return;
  const uint32_t index = timer.heap_index_;
  SEGUE_ASSERT(index < timers_.size());
  SEGUE_ASSERT(timers_[index] == &timer);
  Timer* last = timers_.back();
  timers_.pop_back();
  timer.heap_index_ = Timer::kNotArmed;
  if (last == &timer) return;
  place(index, last);
  sift_up(last->heap_index_);
  sift_down(last->heap_index_);
}

MonoTime Loop::next_deadline() const noexcept {
  return timers_.empty() ? kNever : timers_.front()->deadline_;
}

void Loop::run_due_timers() noexcept {
  in_timers_ = true;
  while (!timers_.empty() && timers_.front()->deadline_ <= now_) {
    Timer& timer = *timers_.front();
    disarm(timer);
    timer.run_(timer);
  }
  in_timers_ = false;
}

void Loop::post(PostNode& node) noexcept {
  PostNode* head = posts_.load(std::memory_order_relaxed);
  do {
    node.next_ = head;
  } while (!posts_.compare_exchange_weak(head, &node, std::memory_order_release,
                                         std::memory_order_relaxed));
  // Only the post that finds the list empty wakes: run_posts() takes the whole list, so the others
  // ride along.
  if (head == nullptr) wake();
}

void Loop::run_posts() noexcept {
  // Mostly there are none. A post that this misses has woken the loop.
  if (posts_.load(std::memory_order_relaxed) == nullptr) return;
  PostNode* newest = posts_.exchange(nullptr, std::memory_order_acquire);
  PostNode* oldest = nullptr;
  while (newest != nullptr) {  // the list is last-in first-out; turn it round
    PostNode* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    PostNode* next = oldest->next_;  // run() may free or re-post the node
    oldest->run_(*oldest);
    oldest = next;
  }
}

}  // namespace segue
