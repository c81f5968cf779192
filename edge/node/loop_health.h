// edge/node/loop_health.h - whether every loop still turns: a message is sent to each, and each has
// to take it. A loop that waits for sockets takes it as well as a busy one; only one that is stuck
// (a call that waits, an endless loop) does not.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/counter.h"
#include "base/loop/loop.h"

namespace segue::edge {

class Registry;

class LoopHealth {
 public:
  /// The loops outlive it, and have ended or taken what was sent when it goes.
  explicit LoopHealth(const std::vector<Loop*>& loops);
  ~LoopHealth();
  LoopHealth(const LoopHealth&) = delete;
  LoopHealth& operator=(const LoopHealth&) = delete;

  /// Whether every loop has taken the message of the last check(); sends the next one to those that
  /// have. One thread only (the watchdog's).
  [[nodiscard]] bool check() noexcept;
  /// Of the last check: "1, 3", for the log; empty: none. The checking thread only.
  [[nodiscard]] std::string stuck() const;

  /// segue_loops, segue_loops_stuck and segue_loop_checks_total. Start-up only.
  void register_metrics(Registry& registry) const;

 private:
  struct Ping : PostNode {
    Ping() : PostNode(&Ping::arrive) {}
    static void arrive(PostNode& node) {
      static_cast<Ping&>(node).under_way.store(false, std::memory_order_release);
    }
    Loop* loop = nullptr;
    std::atomic<bool> under_way{false};
    bool is_stuck = false;  // of the checking thread
  };
  std::vector<std::unique_ptr<Ping>> pings_;
  std::atomic<uint32_t> stuck_{0};
  Counter checks_;  // of the checking thread
};

}  // namespace segue::edge
