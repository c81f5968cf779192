// loadtest/players/net.h - one thread's sockets and timers: epoll and a heap. What is called back
// lives as long as the Net, or is buried.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <queue>
#include <vector>

namespace loadtest {

using Time = std::chrono::steady_clock::time_point;

/// What a descriptor wakes.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void on_ready(uint32_t events) = 0;
};

/// What a timer wakes; it has one timer. Outlives the Net's run.
class Sleeper {
 public:
  virtual ~Sleeper() = default;
  virtual void on_time() = 0;

 private:
  friend class Net;
  uint64_t armed_ = 0;  // number of the timer that counts; 0: none
};

class Net {
 public:
  Net();
  ~Net();
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  void watch(int fd, uint32_t events, Watcher& watcher);
  void change(int fd, uint32_t events, Watcher& watcher);
  /// Before the descriptor is closed.
  void forget(int fd);
  /// Replaces the sleeper's timer.
  void wake_at(Sleeper& sleeper, Time when);
  /// Destroyed after the present turn: events of it may still be in hand.
  void bury(std::unique_ptr<Watcher> dead) { graves_.push_back(std::move(dead)); }
  /// The time at which the present turn began.
  [[nodiscard]] Time now() const noexcept { return now_; }

  /// Until `end`, or until stop().
  void run(Time end);
  void stop() noexcept { stopped_ = true; }

 private:
  struct Due {
    Time when;
    uint64_t number;
    Sleeper* sleeper;
    bool operator>(const Due& other) const { return when > other.when; }
  };
  void run_due();

  const int epoll_;
  Time now_;
  uint64_t timers_ = 0;
  bool stopped_ = false;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::vector<std::unique_ptr<Watcher>> graves_;
};

}  // namespace loadtest
