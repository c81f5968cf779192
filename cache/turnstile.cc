#include "cache/turnstile.h"

#include "base/assert.h"

namespace segue::cache {

Turnstile::~Turnstile() {
  SEGUE_ASSERT(!taken_);
  SEGUE_ASSERT(first_ == nullptr);
}

bool Turnstile::try_enter() noexcept {
  const std::lock_guard lock(mutex_);
  return !std::exchange(taken_, true);
}

bool Turnstile::wait(ReadyNode& waiter) {
  Loop* loop = Loop::current();
  SEGUE_ASSERT(loop != nullptr);
  const std::lock_guard lock(mutex_);
  if (!std::exchange(taken_, true)) return false;
  auto* node = new Waiter(*loop, waiter);
  (last_ == nullptr ? first_ : last_->next) = node;
  last_ = node;
  return true;
}

void Turnstile::leave() noexcept {
  Waiter* next = nullptr;
  {
    const std::lock_guard lock(mutex_);
    SEGUE_ASSERT(taken_);
    next = first_;
    if (next == nullptr) {
      taken_ = false;
    } else {
      first_ = next->next;
      if (first_ == nullptr) last_ = nullptr;
    }
  }
  // Handed over, never opened in between: a newcomer cannot slip past those who wait.
  if (next != nullptr) next->loop.post(*next);
}

void Turnstile::Waiter::arrive(PostNode& node) {
  auto& waiter = static_cast<Waiter&>(node);
  ReadyNode& ready = waiter.ready;
  delete &waiter;
  Loop::current()->make_ready(ready);
}

}  // namespace segue::cache
