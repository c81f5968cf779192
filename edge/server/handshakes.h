// edge/server/handshakes.h - the TLS handshakes under way on one loop, oldest first. Internal to
// edge/server.
#pragma once
#include <memory>
#include <utility>

#include "base/assert.h"
#include "base/counter.h"
#include "tls/server_context.h"

namespace segue::edge {

class Connection;

/// What a connection has more while it shakes hands; given up afterwards.
struct Handshake {
  Handshake(Connection& of, std::shared_ptr<const tls::ServerContext> with) noexcept
      : connection(of), context(std::move(with)) {}
  Connection& connection;
  /// Until the first byte: a connection that never sends one costs no TLS state.
  std::shared_ptr<const tls::ServerContext> context;
  Handshake* older = nullptr;
  Handshake* newer = nullptr;
};

/// Loop-owned; does not own what is in it.
class Handshakes {
 public:
  void add(Handshake& handshake) noexcept {
    handshake.older = newest_;
    (newest_ != nullptr ? newest_->newer : oldest_) = &handshake;
    newest_ = &handshake;
    count_.add();
  }
  void remove(Handshake& handshake) noexcept {
    (handshake.older != nullptr ? handshake.older->newer : oldest_) = handshake.newer;
    (handshake.newer != nullptr ? handshake.newer->older : newest_) = handshake.older;
    handshake.older = handshake.newer = nullptr;
    count_.sub();
  }
  [[nodiscard]] Handshake* oldest() const noexcept { return oldest_; }
  /// Any thread.
  [[nodiscard]] uint32_t count() const noexcept { return static_cast<uint32_t>(count_.get()); }

 private:
  Handshake* oldest_ = nullptr;
  Handshake* newest_ = nullptr;
  Counter count_;
};

}  // namespace segue::edge
