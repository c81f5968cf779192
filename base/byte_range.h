// base/byte_range.h - the half-open range of bytes that everything behind the parser speaks in
// (EXAMPLES §2).
#pragma once
#include <algorithm>
#include <cstdint>

namespace segue {

/// Bytes [first, end) of a representation. RFC 9110's inclusive last-pos exists only in http's
/// parser and writer.
struct ByteRange {
  uint64_t first = 0;
  uint64_t end = 0;

  [[nodiscard]] constexpr bool empty() const { return first >= end; }
  [[nodiscard]] constexpr uint64_t length() const { return empty() ? 0 : end - first; }
  [[nodiscard]] constexpr ByteRange advanced(uint64_t bytes) const { return {first + bytes, end}; }
  [[nodiscard]] constexpr ByteRange clipped(uint64_t limit) const {
    return {std::min(first, limit), std::min(end, limit)};
  }
  constexpr bool operator==(const ByteRange&) const = default;
};

}  // namespace segue
