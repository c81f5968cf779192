// http/range.h - the Range field of a request (RFC 9110 §14.1.2, §14.2). first-pos, last-pos and
// suffix-length exist only here and in content_range.h; resolve() turns them into half-open
// ByteRanges. Pure, no allocation, safe against overflow: numbers saturate at 2^64 - 1.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/byte_range.h"
#include "base/limits.h"
#include "http/header_fields.h"
#include "http/method.h"

namespace segue::http {

/// "a-b": both; "a-": first only; "-n": last only, which then is the suffix-length.
struct RangeSpec {
  std::optional<uint64_t> first = {};
  std::optional<uint64_t> last = {};
  [[nodiscard]] constexpr bool is_suffix() const noexcept { return !first.has_value(); }
  constexpr bool operator==(const RangeSpec&) const = default;
};

struct ParsedRange {
  enum class Kind : uint8_t {
    Absent,
    Invalid,  // malformed, another unit, or more than kRangesMax ranges: ignored, answer 200
    Ranges,
  };
  Kind kind = Kind::Absent;
  uint32_t count = 0;
  std::array<RangeSpec, kRangesMax> specs{};

  [[nodiscard]] std::span<const RangeSpec> ranges() const noexcept { return {specs.data(), count}; }
};

/// Parses one Range value.
[[nodiscard]] ParsedRange parse_range(std::string_view value) noexcept;

/// The range a request asks for: Absent unless the method is GET (RFC 9110 §14.2), Invalid if there
/// are several Range fields. If-Range is the caller's (http/conditions.h).
[[nodiscard]] ParsedRange requested_range(Method method, FieldsView request) noexcept;

struct Resolved {
  enum class Kind : uint8_t {
    Whole,           // no (valid) Range, or one an empty representation satisfies: answer 200
    Ranges,          // answer 206: one range, or multipart/byteranges
    NotSatisfiable,  // answer 416 with Content-Range: bytes */complete_length
  };
  Kind kind = Kind::Whole;
  uint32_t count = 0;
  std::array<ByteRange, kRangesMax> parts{};

  [[nodiscard]] std::span<const ByteRange> ranges() const noexcept { return {parts.data(), count}; }
  /// Sum of the parts; at most the complete length, because parts never overlap.
  [[nodiscard]] uint64_t total_bytes() const noexcept;
};

/// Ranges separated by no more than this are sent as one: a part head costs about as much (RFC 9110
/// §15.3.7.2).
inline constexpr uint64_t kRangeGapCoalescedMax = 80;

/// The bytes that `range` selects of a representation of `complete_length` bytes. An end past the
/// last byte is clipped; a suffix longer than the representation is all of it. Unsatisfiable ranges
/// among satisfiable ones are left out. Ranges that overlap or nearly touch are coalesced; the rest
/// stay in the order asked. Every part is non-empty and lies inside [0, complete_length).
[[nodiscard]] Resolved resolve(const ParsedRange& range, uint64_t complete_length) noexcept;

inline constexpr size_t kRangeTextMax = 6 + 20 + 1 + 20;
/// "bytes=a-b" for a request to the origin; `range` is not empty. An end of UINT64_MAX writes the
/// open-ended "bytes=a-". View into `out`.
[[nodiscard]] std::string_view write_range(ByteRange range,
                                           std::span<char, kRangeTextMax> out) noexcept;
/// "bytes=-n".
[[nodiscard]] std::string_view write_suffix_range(uint64_t suffix_length,
                                                  std::span<char, kRangeTextMax> out) noexcept;

}  // namespace segue::http
