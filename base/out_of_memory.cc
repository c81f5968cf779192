#include "base/out_of_memory.h"

#include <unistd.h>

#include <cstdio>
#include <new>

namespace segue {

void end_out_of_memory(const char* what) noexcept {
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
