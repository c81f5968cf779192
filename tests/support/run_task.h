// tests/support/run_task.h - runs one task to its end on a real loop, for tests of what waits.
#pragma once
#include <optional>
#include <utility>

#include "base/loop/event_loop.h"

namespace segue::testing {

template <class T>
Task<void> keep_result(EventLoop& loop, Task<T> task, std::optional<T>& into) {
  into.emplace(co_await std::move(task));
  loop.stop();
}

inline Task<void> stop_after(EventLoop& loop, Task<void> task, bool& done) {
  co_await std::move(task);
  done = true;
  loop.stop();
}

/// Runs `make()`'s task on `loop` until it ends, and returns what it yields. `make` is called
/// inside a turn, as frames need; it is a plain function or lambda, never a coroutine (rule R4).
template <class Make>
auto run_on(EventLoop& loop, Make make) {
  using Made = decltype(make());
  TaskGroup group(loop, 1);
  if constexpr (std::is_same_v<Made, Task<void>>) {
    bool done = false;
    {
      const Loop::Turn turn(loop);
      SEGUE_ASSERT(group.try_spawn(stop_after(loop, make(), done)));
    }
    loop.run();
    SEGUE_ASSERT(done);
  } else {
    std::optional<typename Made::Value> result;
    {
      const Loop::Turn turn(loop);
      SEGUE_ASSERT(group.try_spawn(keep_result(loop, make(), result)));
    }
    loop.run();
    SEGUE_ASSERT(result.has_value());
    return std::move(*result);
  }
}

}  // namespace segue::testing
