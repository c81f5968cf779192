// http/response_head.h - writes a response head into a fixed buffer of the caller. No allocation.
// A value with CR, LF, NUL or another control never reaches the wire: its field is dropped, which
// dropped() tells (response splitting, RFC 9110 §5.5).
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "http/header_fields.h"

namespace segue::http {

/// "OK", "Partial Content", ...; "" for a status without one.
[[nodiscard]] std::string_view reason_phrase(uint16_t status) noexcept;

/// Call status() once, then the fields, then finish(). Overflow is kept and told by finish(), so
/// that a sequence of fields needs one check.
class HeadWriter {
 public:
  /// `out` belongs to the caller and outlives the result of finish().
  explicit HeadWriter(std::span<char> out) noexcept : out_(out) {}

  /// "HTTP/1.1 NNN reason": we answer 1.0 requests as 1.1 too (RFC 9112 §2.3).
  HeadWriter& status(uint16_t status) noexcept;
  /// False where the field was dropped: no token as name, or an invalid value.
  bool field(std::string_view name, std::string_view value) noexcept;
  bool field(std::string_view name, uint64_t number) noexcept;
  /// An IMF-fixdate.
  bool date(std::string_view name, std::chrono::sys_seconds time) noexcept;
  /// Every field of a list, for stored fields.
  void fields(FieldsView fields) noexcept;
  /// Appends lines written before (stored "Name: value\r\n" blocks that came from a HeadWriter or
  /// passed parse_field_block()). Not checked again.
  void block(std::string_view lines) noexcept;

  /// Ends the head with the empty line. The view lies in the buffer. Errors: {Self, Full}.
  [[nodiscard]] Result<std::string_view> finish() noexcept;
  /// The fields so far without the status line and the empty line, e.g. to store them.
  [[nodiscard]] Result<std::string_view> finish_block() noexcept;

  /// Fields dropped for an invalid name or value.
  [[nodiscard]] uint32_t dropped() const noexcept { return dropped_; }

 private:
  void put(std::string_view text) noexcept;
  void put_line(std::string_view name, std::string_view value) noexcept;

  std::span<char> out_;
  size_t used_ = 0;
  size_t fields_start_ = 0;
  uint32_t dropped_ = 0;
  bool full_ = false;
};

}  // namespace segue::http
