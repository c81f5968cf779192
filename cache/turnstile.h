// cache/turnstile.h - a mutex that tasks of any loop wait for without blocking their thread. For
// the rare writes of a drive that must go one after the other (superblock, journal, table, a
// record), never on the way of a hit.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "base/loop/loop.h"
#include "base/loop/task.h"

namespace segue::cache {

/// First come, first served. Any loop.
class Turnstile {
 public:
  Turnstile() = default;
  ~Turnstile();  // asserts that nobody is inside or waits
  Turnstile(const Turnstile&) = delete;
  Turnstile& operator=(const Turnstile&) = delete;

  /// Being inside. Dropped on the loop that entered.
  class [[nodiscard]] Turn {
   public:
    explicit Turn(Turnstile& turnstile) noexcept : turnstile_(&turnstile) {}
    Turn(Turn&& other) noexcept : turnstile_(std::exchange(other.turnstile_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (turnstile_ != nullptr) turnstile_->leave();
    }

   private:
    Turnstile* turnstile_;
  };

  /// `const Turnstile::Turn turn = co_await turnstile.enter();` Waits until everybody who came
  /// before has left. No frame of its own, so it works when the frame pool is full.
  class [[nodiscard]] Enter {
   public:
    explicit Enter(Turnstile& turnstile) noexcept : turnstile_(turnstile) {}
    Enter(const Enter&) = delete;
    Enter& operator=(const Enter&) = delete;
    [[nodiscard]] bool await_ready() noexcept { return turnstile_.try_enter(); }
    template <class P>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<P> waiter) {
      return turnstile_.wait(detail::node_of(waiter));
    }
    [[nodiscard]] Turn await_resume() noexcept { return Turn(turnstile_); }

   private:
    Turnstile& turnstile_;
  };
  [[nodiscard]] Enter enter() noexcept { return Enter(*this); }

 private:
  /// One waiter. On the heap, not in its frame: the loop that leaves posts it (rule R6).
  struct Waiter final : PostNode {
    Waiter(Loop& of, ReadyNode& node) : PostNode(&Waiter::arrive), loop(of), ready(node) {}
    static void arrive(PostNode& node);
    Loop& loop;
    ReadyNode& ready;
    Waiter* next = nullptr;
  };

  [[nodiscard]] bool try_enter() noexcept;
  /// False if it was free after all, and is now the caller's.
  [[nodiscard]] bool wait(ReadyNode& waiter);
  void leave() noexcept;

  std::mutex mutex_;
  bool taken_ = false;
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

}  // namespace segue::cache
