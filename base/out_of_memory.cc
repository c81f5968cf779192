#include "base/out_of_memory.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <new>

namespace segue {

void end_out_of_memory(const char* what) noexcept {
  // Loops run short together; who comes second waits for the end, so that there is one line.
  static std::atomic_flag ending;
  while (ending.test_and_set()) pause();
  char text[256];  // the heap has nothing left
  const int length = std::snprintf(text, sizeof text,
                                   "segue: out of memory: the machine gives no more (%s)\n", what);
  if (length > 0) {
    const ssize_t written = ::write(STDERR_FILENO, text, static_cast<size_t>(length));
    (void)written;  // nothing is left to do about a closed stderr
  }
  _exit(kOutOfMemoryStatus);
}

void end_when_out_of_memory() noexcept {
  std::set_new_handler([] { end_out_of_memory("operator new"); });
}

}  // namespace segue
