#include "base/loop/event_loop.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/loop/event_loop_impl.h"
#include "base/loop/threads_engine.h"
#include "base/loop/uring_engine.h"

namespace segue {
namespace {

/// Steps between two looks at the clock, which cost 20 to 30 ns each. One is at most a batch of a
/// connection: some 50 us, twice that for the few whose batches are wide, so a turn may be longer
/// than kLoopTurnMax by three of them.
constexpr int kStepsPerLook = 4;

// Both descriptors hold an 8-byte count that must be read away, or they stay readable.
void read_away(int fd, short /*what*/, void* /*unused*/) {
  uint64_t count = 0;
  (void)!::read(fd, &count, sizeof(count));
}

void on_timer_fd(int fd, short what, void* deadline) {
  read_away(fd, what, nullptr);
  *static_cast<MonoTime*>(deadline) = kNever;
}

// The next turn collects the completions; the event only ends the wait.
void on_ring(int /*fd*/, short /*what*/, void* /*unused*/) {}

}  // namespace

EventLoop::Impl::OwnedFd::~OwnedFd() {
  if (fd >= 0) close(fd);
}

Result<Done> EventLoop::Impl::watch(int fd, event_callback_fn callback,
                                    std::unique_ptr<event, FreeEvent>& into) {
  into.reset(event_new(base.get(), fd, EV_READ | EV_PERSIST, callback, &timer_fd_deadline));
  if (into == nullptr || event_add(into.get(), nullptr) != 0) {
    return fail(Side::Self, Kind::IoError, "event_add", errno);
  }
  return Done{};
}

Result<Done> EventLoop::Impl::set_up_engine(EventLoop& loop, const Options& options) {
  if (options.io != IoBackend::Threads) {
    auto uring = make_uring_engine(loop, kRingEntries);
    if (uring) {
      engine = std::move(*uring);
      backend = IoBackend::Uring;
      return watch(engine->event_fd(), &on_ring, ring_event);
    }
    if (options.io == IoBackend::Uring) return fail(uring.error());
  }
  engine = make_threads_engine(loop, options.io_threads);
  backend = IoBackend::Threads;
  return Done{};
}

Result<Done> EventLoop::Impl::set_up(EventLoop& loop, const Options& options) {
  struct FreeConfig {
    void operator()(event_config* config) const noexcept { event_config_free(config); }
  };
  const std::unique_ptr<event_config, FreeConfig> config(event_config_new());
  if (config == nullptr) return fail(Side::Self, Kind::IoError, "event_config_new", ENOMEM);
  // The change list merges a watch's changes of one turn into one epoll_ctl. Only the loop's own
  // thread touches its base, so libevent's locks are off; none of its timeouts is used, so it need
  // not look at the clock.
  const int flags = static_cast<int>(EVENT_BASE_FLAG_NOLOCK) |
                    EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST | EVENT_BASE_FLAG_NO_CACHE_TIME;
  event_config_set_flag(config.get(), flags);
  event_config_require_features(config.get(), EV_FEATURE_EARLY_CLOSE);
  base.reset(event_base_new_with_config(config.get()));
  if (base == nullptr) return fail(Side::Self, Kind::IoError, "event_base_new", errno);
  wake_fd.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd.fd < 0) return fail(Side::Self, Kind::IoError, "eventfd", errno);
  timer_fd.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (timer_fd.fd < 0) return fail(Side::Self, Kind::IoError, "timerfd_create", errno);
  if (auto watched = watch(wake_fd.fd, &read_away, wake_event); !watched) return watched;
  if (auto watched = watch(timer_fd.fd, &on_timer_fd, timer_event); !watched) return watched;
  return set_up_engine(loop, options);
}

void EventLoop::Impl::arm_timer_fd(MonoTime now, MonoTime deadline) noexcept {
  // Idle deadlines mostly move later (each request re-arms its connection's): an early firing costs
  // one empty turn, so the descriptor is set only when it would fire too late. libevent's own
  // timeouts go by a coarse clock of up to 4 ms.
  if (deadline >= timer_fd_deadline) return;
  timer_fd_deadline = deadline;
  const auto wait = std::max(deadline - now, std::chrono::nanoseconds{1});  // 0 would disarm
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
  itimerspec spec{};
  spec.it_value.tv_sec = seconds.count();
  spec.it_value.tv_nsec = (wait - seconds).count();
  const int status = timerfd_settime(timer_fd.fd, 0, &spec, nullptr);
  SEGUE_ASSERT(status == 0);
}

EventLoop::EventLoop(uint32_t index, const Clock& clock, uint64_t frame_bytes_max)
    : Loop(index, clock, frame_bytes_max), impl_(std::make_unique<Impl>()) {}

EventLoop::~EventLoop() = default;

Result<std::unique_ptr<EventLoop>> EventLoop::create(uint32_t index, const Clock& clock,
                                                     Options options) {
  std::unique_ptr<EventLoop> loop(new EventLoop(index, clock, options.frame_bytes_max));
  if (auto ready = loop->impl_->set_up(*loop, options); !ready) return fail(ready.error());
  return loop;
}

void EventLoop::run() {
  const Turn current(*this);
  while (!impl_->stopping.load(std::memory_order_acquire)) turn();
  // What the last turn left ready belongs to this run: frames that ended are still to be reaped.
  do {
    read_clock();
    impl_->engine->collect();
    run_posts();
    while (run_one()) {
    }
  } while (has_posts());
  (void)impl_->engine->submit();
  impl_->stopping.store(false, std::memory_order_relaxed);
}

void EventLoop::turn() {
  read_clock();
  const MonoTime begun = now();
  impl_->engine->collect();
  run_posts();
  run_due_timers();
  run_ready();
  impl_->all_submitted = impl_->engine->submit();
  const MonoTime ended = clock().mono();
  const auto busy = std::chrono::duration_cast<std::chrono::microseconds>(ended - begun);
  if (busy.count() > impl_->longest_turn_us.load(std::memory_order_relaxed)) {
    impl_->longest_turn_us.store(busy.count(), std::memory_order_relaxed);
  }
  sleep(ended);
  impl_->turns.store(impl_->turns.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void EventLoop::run_ready() noexcept {
  // Bounded, so that completions and sockets are looked after while much is ready.
  const MonoTime until = now() + kLoopTurnMax;
  do {
    for (int i = 0; i < kStepsPerLook; ++i) {
      if (!run_one()) return;
    }
  } while (has_ready() && clock().mono() < until);
}

void EventLoop::sleep(MonoTime time) noexcept {
  int flags = EVLOOP_ONCE;
  if (has_ready() || impl_->stopping.load(std::memory_order_acquire)) flags |= EVLOOP_NONBLOCK;
  MonoTime deadline = next_deadline();
  // Entries that the kernel would not take now are offered again soon.
  if (!impl_->all_submitted) deadline = std::min(deadline, time + kLoopTurnMax);
  if ((flags & EVLOOP_NONBLOCK) == 0) {
    if (deadline <= time) {
      flags |= EVLOOP_NONBLOCK;
    } else {
      impl_->arm_timer_fd(time, deadline);
    }
  }
  const int status = event_base_loop(impl_->base.get(), flags);
  SEGUE_ASSERT(status == 0);
}

void EventLoop::stop() noexcept {
  impl_->stopping.store(true, std::memory_order_release);
  wake();
}

void EventLoop::wake() noexcept {
  const uint64_t one = 1;
  // EAGAIN means that the count is full: the loop is being woken already.
  (void)!::write(impl_->wake_fd.fd, &one, sizeof(one));
}

IoBackend EventLoop::io_backend() const noexcept { return impl_->backend; }

uint64_t EventLoop::turns() const noexcept { return impl_->turns.load(std::memory_order_relaxed); }

std::chrono::microseconds EventLoop::take_longest_turn() noexcept {
  return std::chrono::microseconds{impl_->longest_turn_us.exchange(0, std::memory_order_relaxed)};
}

}  // namespace segue
