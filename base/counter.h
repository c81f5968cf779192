// base/counter.h - a number one thread writes and any thread reads: the cheapest honest metric.
#pragma once
#include <atomic>
#include <cstdint>

namespace segue {

/// One writer (the owning loop), any reader (the scrape). A relaxed load and store instead of
/// fetch_add: no lock prefix, and nothing is lost because nobody else writes. Two writers would
/// lose counts silently, so each loop owns its own.
class Counter {
 public:
  void add(uint64_t amount = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  /// For gauges kept in a counter; the caller never takes away more than it added.
  void sub(uint64_t amount = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) - amount, std::memory_order_relaxed);
  }
  void set(uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace segue
