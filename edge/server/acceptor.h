// edge/server/acceptor.h - accepts connections from one listening socket on one loop.
#pragma once
#include <sys/socket.h>

#include <cstdint>

#include "base/loop/event_loop.h"
#include "edge/server/server_counters.h"

namespace segue::edge {

/// A descriptor held back for the moment when the process has none left: it is given up to accept a
/// waiting connection and close it, so that the client is told at once and the level-triggered
/// listener does not spin. One per server.
class SpareDescriptor {
 public:
  SpareDescriptor() noexcept;
  ~SpareDescriptor();
  SpareDescriptor(const SpareDescriptor&) = delete;
  SpareDescriptor& operator=(const SpareDescriptor&) = delete;
  enum class Outcome : uint8_t { Closed, NobodyWaits, Failed };
  [[nodiscard]] Outcome accept_and_close(int listener) noexcept;

 private:
  void reopen() noexcept;
  int fd_ = -1;
};

/// Loop-owned. Takes the listening descriptor and closes it.
class Acceptor {
 public:
  /// Called for each accepted, non-blocking descriptor, which it takes.
  using OnAccepted = void (*)(int fd, const sockaddr_storage& from, void* owner);
  Acceptor(EventLoop& loop, int listener, SpareDescriptor& spare, ServerCounters& counters,
           OnAccepted on_accepted, void* owner);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  [[nodiscard]] int listener() const noexcept { return listener_; }

 private:
  struct Node : ReadyNode {
    using ReadyNode::ReadyNode;
    Acceptor* acceptor = nullptr;
  };
  struct Pause : Timer {
    using Timer::Timer;
    Acceptor* acceptor = nullptr;
  };
  static void on_ready(ReadyNode& node);
  static void on_pause_over(Timer& timer);
  void accept_some();
  /// True if accepting may go on.
  [[nodiscard]] bool handle_error(int error) noexcept;

  // constant after construction
  EventLoop& loop_;
  const int listener_;
  SpareDescriptor& spare_;
  ServerCounters& counters_;
  const OnAccepted on_accepted_;
  void* const owner_;
  // loop-owned
  Node node_;
  SocketWatch watch_;
  Pause pause_;
};

}  // namespace segue::edge
