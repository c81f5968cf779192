#include "base/entropy.h"

#include <sys/random.h>

#include <array>
#include <bit>

#include "base/assert.h"

namespace segue {

uint64_t kernel_random() noexcept {
  std::array<unsigned char, sizeof(uint64_t)> bytes{};
  fill_with_kernel_random(bytes);
  return std::bit_cast<uint64_t>(bytes);
}

void fill_with_kernel_random(std::span<unsigned char> into) noexcept {
  SEGUE_ASSERT(into.size() <= 256);
  // Reads of at most 256 bytes are never short once the pool is initialised (getrandom(2)).
  const ssize_t got = getrandom(into.data(), into.size(), 0);
  SEGUE_ASSERT(got == static_cast<ssize_t>(into.size()));
}

}  // namespace segue
