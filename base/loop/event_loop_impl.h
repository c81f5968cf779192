// base/loop/event_loop_impl.h - what an EventLoop is made of; kept apart so that libevent stays out
// of the public header. Internal to base/loop.
#pragma once
#include <event2/event.h>

#include <atomic>
#include <memory>

#include "base/limits.h"
#include "base/loop/event_loop.h"
#include "base/loop/io_engine.h"

namespace segue {

struct EventLoop::Impl {
  struct FreeBase {
    void operator()(event_base* freed) const noexcept { event_base_free(freed); }
  };
  struct FreeEvent {
    void operator()(event* freed) const noexcept { event_free(freed); }
  };
  struct OwnedFd {
    int fd = -1;
    ~OwnedFd();
  };
  /// Errors: {Self, IoError}.
  [[nodiscard]] Result<Done> set_up(EventLoop& loop, const Options& options);
  [[nodiscard]] Result<Done> set_up_engine(EventLoop& loop, const Options& options);
  [[nodiscard]] Result<Done> watch(int fd, event_callback_fn callback,
                                   std::unique_ptr<event, FreeEvent>& into);
  /// Lets the timer descriptor fire at `deadline` at the latest.
  void arm_timer_fd(MonoTime now, MonoTime deadline) noexcept;

  // constant after set_up()
  IoBackend backend = IoBackend::Uring;
  OwnedFd wake_fd;
  OwnedFd timer_fd;
  std::unique_ptr<event_base, FreeBase> base;
  std::unique_ptr<IoEngine> engine;
  std::unique_ptr<event, FreeEvent> wake_event;
  std::unique_ptr<event, FreeEvent> timer_event;
  std::unique_ptr<event, FreeEvent> ring_event;
  // loop-owned
  IoSlab file_ops{kFileOpsInFlightMax};
  MonoTime timer_fd_deadline = kNever;
  bool all_submitted = true;
  // atomic, any thread
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> turns{0};
  std::atomic<int64_t> longest_turn_us{0};
};

}  // namespace segue
