// http/multipart.h - multipart/byteranges (RFC 9110 §14.6, RFC 2046 §5.1): part heads and the
// length of the whole, known before the first byte is sent. No allocation.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/byte_range.h"
#include "base/result.h"

namespace segue::http {

inline constexpr size_t kBoundaryBytes = 32;
inline constexpr size_t kPartHeadBytesMax = 512;
inline constexpr size_t kMultipartTypeBytes = 31 + kBoundaryBytes;

/// The delimiter, 32 hex digits. It cannot be searched for in the body before it is sent, so it is
/// 128 random bits from the caller.
class Boundary {
 public:
  Boundary(uint64_t high, uint64_t low) noexcept;
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), text_.size()}; }
  /// "multipart/byteranges; boundary=..." into `out`.
  [[nodiscard]] std::string_view write_content_type(
      std::span<char, kMultipartTypeBytes> out) const noexcept;

 private:
  std::array<char, kBoundaryBytes> text_;
};

/// The layout of one multipart body: head(0) bytes(0) head(1) bytes(1) ... closing.
/// Holds views of `boundary`, `content_type` and `parts`: valid as long as those are.
class MultipartLayout {
 public:
  /// `parts` are non-empty and inside [0, complete_length), as resolve() gives them. A
  /// `content_type` that is no field value or over 256 bytes is left out of the part heads.
  MultipartLayout(const Boundary& boundary, std::string_view content_type,
                  std::span<const ByteRange> parts, uint64_t complete_length) noexcept;
  /// Content-Length of the response.
  [[nodiscard]] uint64_t total_bytes() const noexcept { return total_bytes_; }
  /// The bytes that go before part `index`. View into `out`.
  [[nodiscard]] std::string_view part_head(size_t index,
                                           std::span<char, kPartHeadBytesMax> out) const noexcept;
  /// The bytes that end the body. View into `out`.
  [[nodiscard]] std::string_view closing(std::span<char, kPartHeadBytesMax> out) const noexcept;

 private:
  const Boundary& boundary_;
  std::string_view content_type_;
  std::span<const ByteRange> parts_;
  uint64_t complete_length_;
  uint64_t total_bytes_;
};

}  // namespace segue::http
