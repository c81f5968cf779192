// edge/access/guest.h - what access control remembers of one connection.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "edge/access/client_limits.h"
#include "edge/access/token_check.h"

namespace segue::edge {

/// Counted among its client's connections while it lives.
class ConnectionLease {
 public:
  ConnectionLease() = default;
  ConnectionLease(ClientLimits* limits, ClientLimits::Key key) noexcept
      : limits_(limits), key_(key) {}
  ConnectionLease(ConnectionLease&& other) noexcept
      : limits_(std::exchange(other.limits_, nullptr)), key_(other.key_) {}
  ConnectionLease& operator=(ConnectionLease&& other) noexcept {
    std::swap(limits_, other.limits_);
    std::swap(key_, other.key_);
    return *this;
  }
  ~ConnectionLease() {
    if (limits_ != nullptr) limits_->close(key_);
  }

 private:
  ClientLimits* limits_ = nullptr;
  ClientLimits::Key key_ = 0;
};

/// Loop-owned; part of its connection. Small where neither tokens nor limits are in use.
struct Guest {
  std::unique_ptr<TokenMemo> token;
  uint32_t token_changes = 0;  // over HTTP/2 other requests come in between
  ConnectionLease lease;
  int64_t paced_until = 0;  // ns of the loop's clock: when what was sent would have been played
  uint64_t pace = 0;        // bytes/s that it is slowed down to; 0: it is not
};

}  // namespace segue::edge
