#include "base/assert.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace segue {

void assert_failed(const char* expression, const char* file, int line) noexcept {
  // snprintf into the stack: the heap may be what is broken.
  char text[512];
  int length = std::snprintf(text, sizeof text, "segue: assertion failed: %s (%s:%d)\n", expression,
                             file, line);
  if (length > 0) {
    ssize_t written = ::write(STDERR_FILENO, text, static_cast<size_t>(length));
    (void)written;  // nothing is left to do about a closed stderr
  }
  std::abort();
}

}  // namespace segue
