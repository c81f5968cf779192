// cache/wait_list.h - how a task on one loop waits for something a task on another loop lands.
//
// A waiter locks the shard, re-checks, enqueues its node and unlocks; the owner publishes, takes
// the list under the lock and posts each node to its loop (ARCHITECTURE.md, threads and loops).
// Nodes live in a slab of the waiter's loop, never in a frame: another loop may be about to post
// one when the waiter gives up (rule R6).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/loop/loop.h"
#include "base/loop/task.h"

namespace segue::cache {

class WaitSlab;

/// Where one call is good for one waiter only (free buffers), a call that came to nothing must go
/// on to the next, or it is a lost wake-up. Outlives every ticket enqueued with it.
class WaitQueue {
 public:
  /// A waiter that was called is done, or had given up before its call came. Any loop; no lock
  /// held.
  virtual void pass_on() noexcept = 0;

 protected:
  ~WaitQueue() = default;
};

/// One waiter's node. From the slab until enqueued; then the list's until posted; then its loop's
/// again.
class WaitNode final : public PostNode {
 private:
  friend class WaitSlab;
  friend class WaitTicket;
  friend class WaitList;
  WaitNode() : PostNode(&WaitNode::arrive) {}
  static void arrive(PostNode& node);

  WaitSlab* slab_ = nullptr;
  Signal* signal_ = nullptr;  // loop-owned; null once the waiter has given up
  class WaitTicket* ticket_ = nullptr;
  WaitQueue* queue_ = nullptr;
  WaitNode* next_ = nullptr;  // guarded by the list's mutex
  uint32_t beyond_ = 0;       // constant while enqueued
  bool called_ = false;       // picked by take_one(); under the mutex, then its loop's
  // So that take_one() on another loop does not spend its one call on a waiter that is gone. A
  // waiter that gives up later than that is caught on arrival.
  std::atomic<bool> given_up_{false};
};

/// The nodes of one loop. Bounded by kWaitersPerLoopMax.
class WaitSlab {
 public:
  explicit WaitSlab(Loop& loop, uint32_t nodes_max = kWaitersPerLoopMax);
  ~WaitSlab();
  WaitSlab(const WaitSlab&) = delete;
  WaitSlab& operator=(const WaitSlab&) = delete;
  [[nodiscard]] Loop& loop() noexcept { return loop_; }
  [[nodiscard]] uint32_t in_use() const noexcept { return in_use_; }

 private:
  friend class WaitList;
  friend class WaitNode;
  [[nodiscard]] WaitNode* take() noexcept;  // null when full
  void give_back(WaitNode& node) noexcept;
  struct Block;
  Loop& loop_;
  const uint32_t nodes_max_;
  uint32_t in_use_ = 0;
  WaitNode* free_ = nullptr;
  std::unique_ptr<Block> blocks_;
};

/// A waiter's hold on its place in some list; a local of the waiting coroutine. Dropping it gives
/// up the place: the signal is not raised any more, and the node goes home when its message comes.
class [[nodiscard]] WaitTicket {
 public:
  /// `signal` outlives the ticket and is of the slab's loop.
  WaitTicket(WaitSlab& slab, Signal& signal) noexcept : slab_(slab), signal_(signal) {}
  ~WaitTicket();
  WaitTicket(const WaitTicket&) = delete;
  WaitTicket& operator=(const WaitTicket&) = delete;
  /// Enqueued and not yet called.
  [[nodiscard]] bool waiting() const noexcept { return node_ != nullptr; }

 private:
  friend class WaitNode;
  friend class WaitList;
  static void let_go(WaitNode& node) noexcept;
  void end_call() noexcept;
  WaitSlab& slab_;
  Signal& signal_;
  WaitNode* node_ = nullptr;
  WaitNode* called_node_ = nullptr;  // arrived by a call that is to be passed on
};

/// The waiters of one thing. Every call under the mutex that guards the thing, but wake(), which is
/// called on what take() returned, after unlocking.
class WaitList {
 public:
  WaitList() = default;
  WaitList(WaitList&& other) noexcept;
  WaitList& operator=(WaitList&& other) noexcept;
  ~WaitList();  // asserts empty: whoever drops waiters loses a wake-up

  /// False if the waiter's slab is full or its ticket is waiting already. `beyond`: see
  /// take_beyond(). `queue` is told when a call by take_one() has been used or was for nothing.
  [[nodiscard]] bool try_enqueue(WaitTicket& ticket, uint32_t beyond = 0,
                                 WaitQueue* queue = nullptr) noexcept;
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  /// Whether one of them has not given up. O(length).
  [[nodiscard]] bool has_anybody() const noexcept;
  /// All of them, oldest first, leaving this list empty.
  [[nodiscard]] WaitList take() noexcept;
  /// The oldest one that has not given up, and those before it that have (their nodes go home).
  [[nodiscard]] WaitList take_one() noexcept;
  /// Of a list that take_one() returned: whether it calls somebody, or only sends nodes home.
  [[nodiscard]] bool calls() const noexcept { return tail_ != nullptr && tail_->called_; }
  /// Those enqueued with a `beyond` below `landed`, oldest first; the others keep their order.
  [[nodiscard]] WaitList take_beyond(uint32_t landed) noexcept;
  /// For checks of invariants: O(length).
  [[nodiscard]] uint32_t length() const noexcept;
  /// Posts every node to its loop and empties the list. Any thread; never waits.
  void wake() noexcept;

 private:
  void append(WaitNode& node) noexcept;
  WaitNode* head_ = nullptr;
  WaitNode* tail_ = nullptr;
};

}  // namespace segue::cache
