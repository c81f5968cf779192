// edge/server/connection_budget.h - how many client connections all loops of a node hold together:
// as many as memory is set aside for. The kernel spreads connections unevenly, so a share for each
// loop would refuse some while others have room.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/assert.h"

namespace segue::edge {

/// Any thread.
class ConnectionBudget {
 public:
  explicit ConnectionBudget(uint32_t max) noexcept : max_(max) {}
  ConnectionBudget(const ConnectionBudget&) = delete;
  ConnectionBudget& operator=(const ConnectionBudget&) = delete;
  ~ConnectionBudget() { SEGUE_ASSERT(taken_.load(std::memory_order_relaxed) == 0); }

  [[nodiscard]] bool try_take() noexcept {
    uint32_t taken = taken_.load(std::memory_order_relaxed);
    do {
      if (taken >= max_) return false;
    } while (!taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed));
    return true;
  }
  void give_back() noexcept { taken_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] uint32_t max() const noexcept { return max_; }

 private:
  const uint32_t max_;
  std::atomic<uint32_t> taken_{0};
};

}  // namespace segue::edge
