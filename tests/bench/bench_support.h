// tests/bench/bench_support.h - runs one task on an event loop to its end; used by programs that
// time the cache from inside.
#pragma once

#include <errno.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "base/loop/event_loop.h"
#include "base/result.h"

namespace segue::bench {

[[noreturn]] inline void stop_with(const std::string& words) {
  fmt::print(stderr, "{}: {}\n", program_invocation_short_name, words);
  std::exit(1);
}

template <class T>
Task<void> keep(EventLoop& loop, Task<Result<T>> task, std::optional<Result<T>>& into) {
  into.emplace(co_await std::move(task));
  loop.stop();
}

/// Runs `make()`'s task to its end, or stops the program.
template <class T, class Make>
T run(EventLoop& loop, Make make, const char* what) {
  std::optional<Result<T>> result;
  TaskGroup group(loop, 1);
  {
    const Loop::Turn turn(loop);
    if (!group.try_spawn(keep<T>(loop, make(), result))) stop_with("no frame");
  }
  loop.run();
  if (!*result) stop_with(fmt::format("{}: {}", what, result->error().where));
  return std::move(**result);
}

}  // namespace segue::bench
