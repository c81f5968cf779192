// edge/server/batch_holders.h - the TLS connections of one loop whose sealed bytes wait for their
// socket, the one that has waited longest without a byte taken first. Internal to edge/server.
#pragma once
#include <cstdint>

namespace segue::edge {

class Connection;

/// Part of a connection.
struct BatchHolder {
  explicit BatchHolder(Connection& of) noexcept : connection(of) {}
  Connection& connection;
  BatchHolder* older = nullptr;
  BatchHolder* newer = nullptr;
  bool listed = false;
};

/// Loop-owned; does not own what is in it.
class BatchHolders {
 public:
  void add(BatchHolder& holder) noexcept {
    holder.older = newest_;
    (newest_ != nullptr ? newest_->newer : oldest_) = &holder;
    newest_ = &holder;
    holder.listed = true;
    ++count_;
  }
  void remove(BatchHolder& holder) noexcept {
    if (!holder.listed) return;
    (holder.older != nullptr ? holder.older->newer : oldest_) = holder.newer;
    (holder.newer != nullptr ? holder.newer->older : newest_) = holder.older;
    holder.older = holder.newer = nullptr;
    holder.listed = false;
    --count_;
  }
  [[nodiscard]] BatchHolder* oldest() const noexcept { return oldest_; }
  [[nodiscard]] uint32_t count() const noexcept { return count_; }

 private:
  BatchHolder* oldest_ = nullptr;
  BatchHolder* newest_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace segue::edge
