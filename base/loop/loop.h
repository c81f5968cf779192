// base/loop/loop.h - the core of an event loop: what is ready, what is due, what other loops
// posted.
//
// One loop per thread in the daemon (EventLoop, event_loop.h: libevent and io_uring); K loops on
// one thread in the simulation, where the seed picks the next step. Nothing here touches a file
// descriptor. Everything is loop-owned but post() and wake().
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/loop/clock.h"
#include "base/loop/frame_pool.h"

namespace segue {

class Loop;

/// Something that runs on its loop once it is ready: a suspended coroutine, an expired timer's
/// owner, a socket's connection. Intrusive, so making ready never allocates. It must outlive its
/// run; make_ready() while queued does nothing.
class ReadyNode {
 public:
  using Run = void (*)(ReadyNode&);
  explicit ReadyNode(Run run) : run_(run) {}
  ReadyNode(const ReadyNode&) = delete;
  ReadyNode& operator=(const ReadyNode&) = delete;
  ~ReadyNode() { SEGUE_ASSERT(!queued_); }  // the list would keep a dangling pointer
  [[nodiscard]] bool queued() const noexcept { return queued_; }

 private:
  friend class Loop;
  Run run_;
  ReadyNode* next_ = nullptr;
  bool queued_ = false;
};

/// A message from any thread to a loop. Intrusive; lives in a slab or a long-lived object, never in
/// a coroutine frame (rule R6): it belongs to the receiving loop from post() until run() is called
/// there.
class PostNode {
 public:
  using Run = void (*)(PostNode&);
  explicit PostNode(Run run) : run_(run) {}
  PostNode(const PostNode&) = delete;
  PostNode& operator=(const PostNode&) = delete;

 private:
  friend class Loop;
  Run run_;
  PostNode* next_ = nullptr;
};

/// One deadline. Re-arming and cancelling are O(log n); a cancelled timer never runs.
class Timer {
 public:
  using Run = void (*)(Timer&);
  explicit Timer(Run run) : run_(run) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { SEGUE_ASSERT(!armed()); }  // the heap would keep a dangling pointer
  [[nodiscard]] bool armed() const noexcept { return heap_index_ != kNotArmed; }
  [[nodiscard]] MonoTime deadline() const noexcept { return deadline_; }

 private:
  friend class Loop;
  static constexpr uint32_t kNotArmed = UINT32_MAX;
  Run run_;
  MonoTime deadline_ = kNever;
  uint32_t heap_index_ = kNotArmed;
};

class Loop {
 public:
  /// `index` numbers the loops of one node from 0; `clock` outlives the loop.
  Loop(uint32_t index, const Clock& clock, uint64_t frame_bytes_max = kFramePoolBytesMax);
  virtual ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// The loop whose work this thread is running now; null outside of a turn. Frames and awaiters
  /// find their loop by it.
  [[nodiscard]] static Loop* current() noexcept;

  [[nodiscard]] uint32_t index() const noexcept { return index_; }
  [[nodiscard]] const Clock& clock() const noexcept { return clock_; }
  /// The time at which this step of the turn began: one clock read serves all it runs. Loop-owned.
  [[nodiscard]] MonoTime now() const noexcept { return now_; }
  [[nodiscard]] WallTime wall_now() const noexcept { return wall_now_; }
  [[nodiscard]] FramePool& frames() noexcept { return frames_; }

  /// Queues `node` behind what is ready already. Loop-owned; cannot wait, cannot allocate.
  void make_ready(ReadyNode& node) noexcept;
  /// Takes a queued node out again (its owner is going away). O(ready nodes): for rare paths.
  void cancel_ready(ReadyNode& node) noexcept;
  /// Arms or re-arms `timer`; kNever disarms it. A deadline in the past fires in the next step that
  /// runs timers, never in the one that arms it. Loop-owned. Allocates only when more timers are
  /// armed than ever before.
  void arm(Timer& timer, MonoTime deadline);
  void disarm(Timer& timer) noexcept;
  /// Hands `node` to this loop. Any thread; never waits; wakes the loop when it may be asleep.
  /// Messages of one sender keep their order.
  void post(PostNode& node) noexcept;

  // --- what a driver calls (EventLoop, the simulation) ---
  /// Makes current() this loop and reads the clock; the destructor restores the former loop.
  class Turn {
   public:
    explicit Turn(Loop& loop) noexcept;
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Loop* former_;
  };
  void read_clock() noexcept;
  /// Runs one ready node; false if there was none.
  bool run_one() noexcept;
  /// Fires the timers that are due at now().
  void run_due_timers() noexcept;
  /// Runs what other loops posted so far.
  void run_posts() noexcept;
  [[nodiscard]] bool has_ready() const noexcept { return ready_head_ != nullptr; }
  [[nodiscard]] bool has_posts() const noexcept {
    return posts_.load(std::memory_order_acquire) != nullptr;
  }
  /// kNever if no timer is armed.
  [[nodiscard]] MonoTime next_deadline() const noexcept;

 protected:
  /// Wakes a sleeping driver. Any thread; called once per batch of posts.
  virtual void wake() noexcept = 0;

 private:
  void sift_up(uint32_t index) noexcept;
  void sift_down(uint32_t index) noexcept;
  void place(uint32_t index, Timer* timer) noexcept;

  // constant after construction
  const uint32_t index_;
  const Clock& clock_;
  // loop-owned
  MonoTime now_{};
  WallTime wall_now_{};
  ReadyNode* ready_head_ = nullptr;
  ReadyNode* ready_tail_ = nullptr;
  bool in_timers_ = false;
  std::vector<Timer*> timers_;  // 4-ary min-heap by deadline: shallower than a binary one for
                                // thousands of idle timeouts
  FramePool frames_;
  // atomic, any thread
  std::atomic<PostNode*> posts_{nullptr};
};

}  // namespace segue
