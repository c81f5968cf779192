// edge/server/oldest_first.h - connections of one loop in the order in which something began for
// them, so that of too many the oldest makes room. Internal to edge/server.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "base/counter.h"
#include "tls/server_context.h"

namespace segue::edge {

class Connection;

/// Loop-owned; does not own what is in it. T derives from OldestFirst<T>::Link.
template <class T>
class OldestFirst {
 public:
  struct Link {
    T* older = nullptr;
    T* newer = nullptr;
    bool listed = false;
  };

  /// Not listed before.
  void add(T& each) noexcept {
    each.older = newest_;
    (newest_ != nullptr ? newest_->newer : oldest_) = &each;
    newest_ = &each;
    each.listed = true;
    count_.add();
  }
  /// Nothing where it is not listed.
  void remove(T& each) noexcept {
    if (!each.listed) return;
    (each.older != nullptr ? each.older->newer : oldest_) = each.newer;
    (each.newer != nullptr ? each.newer->older : newest_) = each.older;
    each.older = each.newer = nullptr;
    each.listed = false;
    count_.sub();
  }
  /// It begins anew.
  void move_to_end(T& each) noexcept {
    remove(each);
    add(each);
  }
  /// Null: none.
  [[nodiscard]] T* oldest() const noexcept { return oldest_; }
  /// Any thread.
  [[nodiscard]] uint32_t count() const noexcept { return static_cast<uint32_t>(count_.get()); }

 private:
  T* oldest_ = nullptr;
  T* newest_ = nullptr;
  Counter count_;
};

/// What a connection has more while it shakes hands; given up afterwards.
struct Handshake : OldestFirst<Handshake>::Link {
  Handshake(Connection& of, std::shared_ptr<const tls::ServerContext> with) noexcept
      : connection(of), context(std::move(with)) {}
  Connection& connection;
  /// Until the first byte: a connection that never sends one costs no TLS state.
  std::shared_ptr<const tls::ServerContext> context;
};

/// Of a TLS connection whose sealed bytes wait for its socket: since that took some last.
struct BatchHolder : OldestFirst<BatchHolder>::Link {
  explicit BatchHolder(Connection& of) noexcept : connection(of) {}
  Connection& connection;
};

/// Of a connection that may be offered kWideBatchBytes at once.
struct WideHolder : OldestFirst<WideHolder>::Link {
  explicit WideHolder(Connection& of) noexcept : connection(of) {}
  Connection& connection;
};

}  // namespace segue::edge
