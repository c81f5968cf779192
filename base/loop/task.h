// base/loop/task.h - coroutines: Task (awaited by its parent), TaskGroup (owns tasks with a life of
// their own), Signal.
//
// Rules R1-R7 of the style guide in short: a task runs inline and suspends only if it did not
// finish; whoever waits is resumed from the loop's ready list, never from inside the callee, so the
// stack stays flat and nobody saws off its caller; frames live in the loop's FramePool; only a
// TaskGroup destroys the frame of a spawned task, on a later turn.
#pragma once
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/assert.h"
#include "base/loop/loop.h"
#include "base/result.h"

namespace segue {

template <class T>
class Task;

namespace detail {

template <class T>
inline constexpr bool kIsResult = false;
template <class T>
inline constexpr bool kIsResult<Result<T>> = true;

/// The part of a promise that waits in the ready list.
struct PromiseBase : ReadyNode {
  PromiseBase() : ReadyNode(&PromiseBase::resume) {}
  static void resume(ReadyNode& node) { static_cast<PromiseBase&>(node).self.resume(); }

  static void* operator new(size_t bytes) noexcept {
    Loop* loop = Loop::current();
    SEGUE_ASSERT(loop != nullptr);  // a task is created inside a turn
    return loop->frames().allocate(bytes);
  }
  static void operator delete(void* frame) noexcept { FramePool::deallocate(frame); }

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    [[nodiscard]] bool await_ready() noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> done) noexcept {
      // The parent may destroy this frame as soon as it runs, so it is queued, never resumed from
      // here.
      PromiseBase& promise = done.promise();
      if (promise.on_done != nullptr) Loop::current()->make_ready(*promise.on_done);
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept {
    std::terminate();
  }  // exceptions are for start-up only; a task throws none

  std::coroutine_handle<> self;
  ReadyNode* on_done = nullptr;
};

template <class T>
struct Promise final : PromiseBase {
  Task<T> get_return_object() noexcept;
  static Task<T> get_return_object_on_allocation_failure() noexcept;
  template <class U = T>
  void return_value(U&& value) {
    result.emplace(std::forward<U>(value));
  }
  std::optional<T> result;
};

template <>
struct Promise<void> final : PromiseBase {
  Task<void> get_return_object() noexcept;
  static Task<void> get_return_object_on_allocation_failure() noexcept;
  void return_void() noexcept {}
};

/// The ready node of the coroutine that awaits: promise types of this header only.
template <class P>
PromiseBase& node_of(std::coroutine_handle<P> handle) noexcept {
  return handle.promise();
}

}  // namespace detail

/// A coroutine that its parent awaits. Lazy: it starts when awaited (or spawned). Move-only. Await
/// it exactly once. If its frame cannot be allocated the await yields {Self, Overloaded}; a Task
/// whose T is no Result ends the process then, so spawn such tasks by TaskGroup::try_spawn, which
/// says no instead.
template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Value = T;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }
  /// False if the frame pool was full.
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(handle_); }

  struct Awaiter {
    Handle child;
    [[nodiscard]] bool await_ready() noexcept {
      if (!child) return true;
      child.resume();  // R1: inline; a child that needs not wait costs no trip through the loop
      return child.done();
    }
    template <class P>
    void await_suspend(std::coroutine_handle<P> parent) noexcept {
      child.promise().on_done = &detail::node_of(parent);
    }
    T await_resume() {
      if constexpr (detail::kIsResult<T>) {
        if (!child) return fail_retryable(Side::Self, Kind::Overloaded, "coroutine frames");
      }
      SEGUE_ASSERT(static_cast<bool>(child));
      if constexpr (!std::is_void_v<T>) {
        SEGUE_ASSERT(child.promise().result.has_value());
        return std::move(*child.promise().result);
      }
    }
  };
  Awaiter operator co_await() && noexcept { return Awaiter{handle_}; }

 private:
  friend class TaskGroup;
  Handle release() noexcept { return std::exchange(handle_, {}); }
  Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() noexcept {
  auto handle = std::coroutine_handle<Promise>::from_promise(*this);
  self = handle;
  return Task<T>(handle);
}
template <class T>
Task<T> detail::Promise<T>::get_return_object_on_allocation_failure() noexcept {
  return Task<T>({});
}
inline Task<void> detail::Promise<void>::get_return_object() noexcept {
  auto handle = std::coroutine_handle<Promise>::from_promise(*this);
  self = handle;
  return Task<void>(handle);
}
inline Task<void> detail::Promise<void>::get_return_object_on_allocation_failure() noexcept {
  return Task<void>({});
}

/// What ended a wait.
enum class Wake : uint8_t { Raised, Deadline };

/// An auto-reset event with at most one waiter, loop-owned: raise() wakes the waiter, or the next
/// wait returns at once. Raising twice before the wait counts once; the waiter looks at the state
/// it waits for, not at the signal.
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() { SEGUE_ASSERT(waiter_ == nullptr); }

  void raise() noexcept;
  [[nodiscard]] bool waiting() const noexcept { return waiter_ != nullptr; }

  class Awaiter {
   public:
    Awaiter(Signal& signal, MonoTime deadline) noexcept
        : signal_(signal), deadline_(deadline), timer_(&Awaiter::expired) {
      timer_.owner = this;
    }
    [[nodiscard]] bool await_ready() noexcept { return std::exchange(signal_.raised_, false); }
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiter) {
      start(detail::node_of(waiter));
    }
    Wake await_resume() noexcept { return wake_; }
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() { SEGUE_ASSERT(signal_.waiter_ != this); }  // a frame is never dropped mid-wait

   private:
    friend class Signal;
    struct OwnedTimer : Timer {
      using Timer::Timer;
      Awaiter* owner = nullptr;
    };
    void start(ReadyNode& waiter);
    static void expired(Timer& timer);
    Signal& signal_;
    MonoTime deadline_;
    OwnedTimer timer_;
    Loop* loop_ = nullptr;
    ReadyNode* waiter_ = nullptr;
    Wake wake_ = Wake::Raised;
  };
  /// Waits until raised or until `deadline` (kNever: only until raised).
  [[nodiscard]] Awaiter wait(MonoTime deadline) noexcept { return Awaiter{*this, deadline}; }

 private:
  Awaiter* waiter_ = nullptr;
  bool raised_ = false;
};

/// Suspends for at least `duration` of the loop's clock. No frame of its own, so it works when the
/// frame pool is full.
class [[nodiscard]] Sleep {
 public:
  explicit Sleep(std::chrono::nanoseconds duration) noexcept
      : timer_(&Sleep::expired), duration_(duration) {}
  Sleep(const Sleep&) = delete;
  Sleep& operator=(const Sleep&) = delete;
  [[nodiscard]] bool await_ready() noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> waiter) {
    start(detail::node_of(waiter));
  }
  void await_resume() noexcept {}

 private:
  struct OwnedTimer : Timer {
    using Timer::Timer;
    ReadyNode* waiter = nullptr;
  };
  void start(ReadyNode& waiter);
  static void expired(Timer& timer);
  OwnedTimer timer_;
  std::chrono::nanoseconds duration_;
};
[[nodiscard]] inline Sleep sleep_for(std::chrono::nanoseconds duration) noexcept {
  return Sleep{duration};
}

/// Gives others on this loop their turn: the caller runs again behind all that is ready now.
struct Yield {
  [[nodiscard]] bool await_ready() noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> handle) noexcept {
    Loop::current()->make_ready(detail::node_of(handle));
  }
  void await_resume() noexcept {}
};

/// Owns tasks that outlive whoever started them (fills, connections). Bounded; loop-owned.
class TaskGroup {
 public:
  TaskGroup(Loop& loop, uint32_t tasks_max) noexcept
      : loop_(loop), tasks_max_(tasks_max), emptied_(*this) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup() {  // co_await drain() first
    SEGUE_ASSERT(running_ == 0);
    SEGUE_ASSERT(drain_waiter_ == nullptr);
  }

  /// Starts `task` now, inside this call, up to its first wait. False (and the task is gone, never
  /// started) if the group or the frame pool is full.
  [[nodiscard]] bool try_spawn(Task<void> task);
  [[nodiscard]] uint32_t running() const noexcept { return running_; }
  [[nodiscard]] uint32_t tasks_max() const noexcept { return tasks_max_; }
  /// Waits until no task runs: `co_await group.drain()`, by one waiter at a time. It does not tell
  /// them to end: cancel what they wait for first. No frame of its own, so that a full frame pool
  /// cannot stop a shutdown.
  class [[nodiscard]] Drain {
   public:
    explicit Drain(TaskGroup& group) noexcept : group_(group) {}
    [[nodiscard]] bool await_ready() noexcept { return group_.running_ == 0; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiter) {
      SEGUE_ASSERT(group_.drain_waiter_ == nullptr);
      group_.drain_waiter_ = &detail::node_of(waiter);
    }
    void await_resume() noexcept {}

   private:
    TaskGroup& group_;
  };
  [[nodiscard]] Drain drain() noexcept { return Drain{*this}; }

 private:
  /// Lives in the frame pool; destroys the frame of a finished task on a later turn (R4).
  struct Entry : ReadyNode {
    Entry() : ReadyNode(&Entry::reap) {}
    static void reap(ReadyNode& node);
    TaskGroup* group = nullptr;
    std::coroutine_handle<> frame;
  };
  /// Looks once more, on a later turn, whether the group is still empty before the drain ends: the
  /// last task's frame is gone by then, and others may have spawned meanwhile.
  struct Emptied : ReadyNode {
    explicit Emptied(TaskGroup& owner) : ReadyNode(&Emptied::look), group(owner) {}
    static void look(ReadyNode& node);
    TaskGroup& group;
  };
  Loop& loop_;
  const uint32_t tasks_max_;
  uint32_t running_ = 0;
  detail::PromiseBase* drain_waiter_ = nullptr;
  Emptied emptied_;
};

}  // namespace segue
