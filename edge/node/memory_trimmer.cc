#include "edge/node/memory_trimmer.h"

#include <pthread.h>

namespace segue::edge {

MemoryTrimmer::MemoryTrimmer(void (*trim)()) : trim_(trim), thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "trim");
}

MemoryTrimmer::~MemoryTrimmer() {
  stopping_.store(true, std::memory_order_relaxed);
  wake_.release();
  thread_.join();
}

void MemoryTrimmer::ask() noexcept {
  if (!asked_.exchange(true, std::memory_order_relaxed)) wake_.release();
}

void MemoryTrimmer::run() noexcept {
  for (;;) {
    wake_.acquire();
    if (stopping_.load(std::memory_order_relaxed)) return;
    asked_.store(false, std::memory_order_relaxed);
    trim_();
  }
}

}  // namespace segue::edge
