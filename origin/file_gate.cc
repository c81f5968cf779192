#include "origin/file_gate.h"

#include <utility>

namespace segue::origin {

bool FileGate::try_enter(Waiter& waiter) {
  if (std::exchange(waiter.has_turn, false)) return true;
  if (waiter.queued) return false;  // woken for another reason
  if (free_ > 0) {
    --free_;
    return true;
  }
  waiter.queued = true;
  queue_.push_back(&waiter);
  return false;
}

void FileGate::leave() noexcept {
  if (queue_.empty()) {
    ++free_;
    return;
  }
  Waiter& first = *queue_.front();
  queue_.pop_front();
  first.queued = false;
  first.has_turn = true;
  first.signal.raise();
}

void FileGate::forget(Waiter& waiter) noexcept {
  if (std::exchange(waiter.queued, false)) std::erase(queue_, &waiter);
  if (std::exchange(waiter.has_turn, false)) leave();
}

}  // namespace segue::origin
