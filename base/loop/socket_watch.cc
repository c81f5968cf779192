#include <event2/event_struct.h>
#include <poll.h>

#include <cerrno>
#include <new>

#include "base/loop/event_loop_impl.h"
#include "base/out_of_memory.h"

namespace segue {

struct SocketWatch::Impl {
  event socket;
};

namespace {

// libevent 2.1 reports a reset (EPOLLERR) as readable and writable, never as closed. A watch for
// Closed alone therefore also listens for "readable", edge-triggered: bytes that nobody reads yet
// would else wake the loop without end.
[[nodiscard]] short events_of(Readiness interest) noexcept {
  if (interest == Readiness::Closed) return EV_PERSIST | EV_READ | EV_CLOSED | EV_ET;
  int events = EV_PERSIST;
  if (has(interest, Readiness::Read)) events |= EV_READ;
  if (has(interest, Readiness::Write)) events |= EV_WRITE;
  if (has(interest, Readiness::Closed)) events |= EV_CLOSED;
  return static_cast<short>(events);
}

/// libevent's list of changes may have to grow for it. A socket that stays in epoll, with nobody to
/// take what it tells, would wake the loop without end.
void forget(event& socket) noexcept {
  errno = 0;
  if (event_del(&socket) != 0 && errno == ENOMEM) end_out_of_memory("event loop");
}

[[nodiscard]] bool peer_has_closed(int fd) noexcept {
  pollfd socket{fd, POLLRDHUP, 0};
  return poll(&socket, 1, 0) > 0;  // only RDHUP, ERR and HUP were asked for
}

}  // namespace

SocketWatch::SocketWatch(EventLoop& loop, int fd, ReadyNode& node) : loop_(loop), node_(node) {
  static_assert(sizeof(Impl) <= sizeof(storage_));
  static_assert(alignof(Impl) <= 8);
  auto* made = new (storage_) Impl{};
  const int status =
      event_assign(&made->socket, loop.impl_->base.get(), fd, EV_PERSIST, &on_event, this);
  SEGUE_ASSERT(status == 0);
}

SocketWatch::~SocketWatch() { forget(impl().socket); }

SocketWatch::Impl& SocketWatch::impl() noexcept {
  return *std::launder(reinterpret_cast<Impl*>(storage_));
}

void SocketWatch::want(Readiness interest) noexcept {
  if (interest == wanted_) return;
  event& socket = impl().socket;
  forget(socket);
  wanted_ = interest;
  if (interest == Readiness::None) return;
  const int assigned = event_assign(&socket, loop_.impl_->base.get(), event_get_fd(&socket),
                                    events_of(interest), &on_event, this);
  SEGUE_ASSERT(assigned == 0);
  errno = 0;
  const int added = event_add(&socket, nullptr);
  // A socket that nobody watches would be forgotten by all who wait for it.
  if (added != 0 && errno == ENOMEM) end_out_of_memory("event loop");
  SEGUE_ASSERT(added == 0);
}

Readiness SocketWatch::take() noexcept { return std::exchange(happened_, Readiness::None); }

void SocketWatch::on_event(int fd, short what, void* watch) noexcept {
  auto& self = *static_cast<SocketWatch*>(watch);
  Readiness happened = Readiness::None;
  if ((what & EV_READ) != 0 && has(self.wanted_, Readiness::Read)) happened = Readiness::Read;
  if ((what & EV_WRITE) != 0) happened = happened | Readiness::Write;
  if ((what & EV_CLOSED) != 0) happened = happened | Readiness::Closed;
  if (self.wanted_ == Readiness::Closed && happened == Readiness::None && peer_has_closed(fd)) {
    happened = Readiness::Closed;
  }
  if (happened == Readiness::None) return;
  self.happened_ = self.happened_ | happened;
  self.loop_.make_ready(self.node_);
}

}  // namespace segue
