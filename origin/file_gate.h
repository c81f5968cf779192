// origin/file_gate.h - who may use the loop's file operations: as many as are free, the others in
// the order they came. Without it a burst of fetches would be told Overloaded by the loop, where
// waiting a moment does.
#pragma once
#include <cstdint>
#include <deque>

#include "base/limits.h"
#include "base/loop/task.h"

namespace segue::origin {

/// Half of the loop's, so that two folders on one loop never meet its limit.
inline constexpr uint32_t kFileTurnsMax = kFileOpsInFlightMax / 2;

/// Loop-owned; outlives its waiters.
class FileGate {
 public:
  /// One that wants turns, one after the other; not moved while it waits.
  struct Waiter {
    Signal signal;
    bool queued = false;
    bool has_turn = false;
  };

  explicit FileGate(uint32_t turns) noexcept : free_(turns) {}
  /// Takes a turn, or queues `waiter`: its signal is raised when it has come, and try_enter() says
  /// yes then.
  [[nodiscard]] bool try_enter(Waiter& waiter);
  /// Gives a turn back: to the first in the queue.
  void leave() noexcept;
  /// Ends the wait of one that is gone, with or without a turn that came meanwhile.
  void forget(Waiter& waiter) noexcept;
  [[nodiscard]] uint32_t free() const noexcept { return free_; }

 private:
  uint32_t free_;
  std::deque<Waiter*> queue_;
};

/// A turn while it lives.
class [[nodiscard]] FileTurn {
 public:
  explicit FileTurn(FileGate& gate) noexcept : gate_(gate) {}
  ~FileTurn() { gate_.leave(); }
  FileTurn(const FileTurn&) = delete;
  FileTurn& operator=(const FileTurn&) = delete;

 private:
  FileGate& gate_;
};

}  // namespace segue::origin
