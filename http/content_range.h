// http/content_range.h - Content-Range (RFC 9110 §14.4), read strictly and written. Pure, no
// allocation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/byte_range.h"
#include "base/result.h"

namespace segue::http {

/// "bytes a-b/N": both; "bytes a-b/*": range only; "bytes */N": length only (with a 416).
struct ContentRange {
  std::optional<ByteRange> range = {};
  std::optional<uint64_t> complete_length = {};
  constexpr bool operator==(const ContentRange&) const = default;
};

/// Errors: {Origin, Malformed} for another unit, b < a, b >= N, "*/*", a number over 2^64 - 2, or
/// anything that is not exactly the grammar (the unit's case is ignored).
[[nodiscard]] Result<ContentRange> parse_content_range(std::string_view value) noexcept;

inline constexpr size_t kContentRangeTextMax = 6 + 20 + 1 + 20 + 1 + 20;
/// "bytes a-b/N"; `range` is not empty and ends at or before `complete_length`. View into `out`.
[[nodiscard]] std::string_view write_content_range(
    ByteRange range, uint64_t complete_length, std::span<char, kContentRangeTextMax> out) noexcept;
/// "bytes */N", for a 416.
[[nodiscard]] std::string_view write_unsatisfied_range(
    uint64_t complete_length, std::span<char, kContentRangeTextMax> out) noexcept;

}  // namespace segue::http
