// edge/node/memory_trimmer.h - gives freed memory back to the kernel, on a thread of its own: it
// takes milliseconds.
//
// The thread is there from the start. One that was started when it is needed might not be had then
// (std::system_error, which on a loop ends the process): a node asks for it when it is short of
// memory, which is also when threads cannot be made.
#pragma once
#include <atomic>
#include <semaphore>
#include <thread>

namespace segue::edge {

class MemoryTrimmer {
 public:
  /// Start-up; throws std::system_error where no thread can be had. `trim` runs on the thread.
  explicit MemoryTrimmer(void (*trim)());
  /// Waits until a trim under way is over.
  ~MemoryTrimmer();
  MemoryTrimmer(const MemoryTrimmer&) = delete;
  MemoryTrimmer& operator=(const MemoryTrimmer&) = delete;

  /// Begins a trim, or one more behind that under way, however often it is asked. Any thread;
  /// cannot wait.
  void ask() noexcept;

 private:
  void run() noexcept;

  // constant after construction
  void (*const trim_)();
  // atomic, any thread
  std::atomic<bool> asked_{false};
  std::atomic<bool> stopping_{false};
  std::counting_semaphore<> wake_{0};
  std::thread thread_;  // the last: it uses the others
};

}  // namespace segue::edge
