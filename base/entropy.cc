#include "base/entropy.h"

#include <sys/random.h>

#include "base/assert.h"

namespace segue {

uint64_t kernel_random() noexcept {
  uint64_t number = 0;
  // Reads of at most 256 bytes are never short once the pool is initialised (getrandom(2)).
  const ssize_t got = getrandom(&number, sizeof number, 0);
  SEGUE_ASSERT(got == sizeof number);
  return number;
}

}  // namespace segue
