#include "base/hash.h"

#include <xxhash.h>

namespace segue {

KeyHash hash_key(std::string_view text, uint64_t seed) noexcept {
  XXH128_hash_t hash = XXH3_128bits_withSeed(text.data(), text.size(), seed);
  return {.high = hash.high64, .low = hash.low64};
}

uint64_t checksum(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace segue
