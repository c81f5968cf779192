#include "edge/server/acceptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/limits.h"

namespace segue::edge {

SpareDescriptor::SpareDescriptor() noexcept { reopen(); }

SpareDescriptor::~SpareDescriptor() {
  if (fd_ >= 0) close(fd_);
}

void SpareDescriptor::reopen() noexcept { fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC); }

SpareDescriptor::Outcome SpareDescriptor::accept_and_close(int listener) noexcept {
  if (fd_ < 0) reopen();
  if (fd_ < 0) return Outcome::Failed;
  close(std::exchange(fd_, -1));
  const int taken = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  const bool nobody_waits = taken < 0 && errno == EAGAIN;
  if (taken >= 0) close(taken);
  reopen();
  if (nobody_waits) return Outcome::NobodyWaits;
  return taken >= 0 ? Outcome::Closed : Outcome::Failed;
}

Acceptor::Acceptor(EventLoop& loop, int listener, SpareDescriptor& spare, ServerCounters& counters,
                   OnAccepted on_accepted, void* owner)
    : loop_(loop),
      listener_(listener),
      spare_(spare),
      counters_(counters),
      on_accepted_(on_accepted),
      owner_(owner),
      node_(&Acceptor::on_ready),
      watch_(loop, listener, node_),
      pause_(&Acceptor::on_pause_over) {
  node_.acceptor = this;
  pause_.acceptor = this;
  watch_.want(Readiness::Read);
}

Acceptor::~Acceptor() {
  loop_.disarm(pause_);
  if (node_.queued()) loop_.cancel_ready(node_);
  watch_.want(Readiness::None);
  close(listener_);
}

void Acceptor::on_ready(ReadyNode& node) { static_cast<Node&>(node).acceptor->accept_some(); }

void Acceptor::on_pause_over(Timer& timer) {
  static_cast<Pause&>(timer).acceptor->watch_.want(Readiness::Read);
}

void Acceptor::accept_some() {
  if (!has(watch_.take(), Readiness::Read)) return;
  // Bounded, so that a flood of connections does not keep those that are served from their turn;
  // what is left is reported again.
  for (uint32_t i = 0; i < kAcceptsPerTurnMax; ++i) {
    sockaddr_storage from{};
    socklen_t bytes = sizeof from;
    const int fd = accept4(listener_, reinterpret_cast<sockaddr*>(&from), &bytes,
                           SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      counters_.accepted.add();
      on_accepted_(fd, from, owner_);
    } else if (!handle_error(errno)) {
      return;
    }
  }
}

bool Acceptor::handle_error(int error) noexcept {
  switch (error) {
    case EAGAIN:
      return false;
    case EINTR:
      return true;
    case EMFILE:
    case ENFILE:
      // Linux looks for a free descriptor before it looks for a connection, so this may come with
      // nobody waiting.
      switch (spare_.accept_and_close(listener_)) {
        case SpareDescriptor::Outcome::Closed:
          counters_.accept_errors.add();
          counters_.refused_fd.add();
          return true;
        case SpareDescriptor::Outcome::NobodyWaits:
          return false;
        case SpareDescriptor::Outcome::Failed:
          counters_.accept_errors.add();
          break;
      }
      break;
    case ENOBUFS:
    case ENOMEM:
      counters_.accept_errors.add();
      break;
    default:
      // ECONNABORTED and the network errors of accept(2): of that connection, not of the listener.
      counters_.accept_errors.add();
      return true;
  }
  counters_.accept_pauses.add();
  watch_.want(Readiness::None);
  loop_.arm(pause_, loop_.now() + kAcceptPause);
  return false;
}

}  // namespace segue::edge
