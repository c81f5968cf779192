// tests/fuzz/drive_pages.h - turns fuzz input into pages of a drive. The checksums would stop the
// fuzzer at the door, so pages are offered as they are and then with their checksum made right.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/assert.h"
#include "cache/aligned_bytes.h"
#include "cache/format.h"

namespace segue::fuzz {

/// `pages` pages that begin with the input; the rest is zeros.
inline cache::AlignedBytes pages_of(const uint8_t* data, size_t size, size_t pages) {
  cache::AlignedBytes bytes(pages * cache::format::kPageBytes);
  std::ranges::fill(bytes.span(), std::byte{0});
  if (size > 0) std::memcpy(bytes.span().data(), data, std::min(size, bytes.span().size()));
  return bytes;
}

}  // namespace segue::fuzz
