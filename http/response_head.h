// http/response_head.h - writes a response head into a fixed buffer of the caller. No allocation.
// A value with CR, LF, NUL or another control never reaches the wire: its field is dropped, which
// dropped() tells (response splitting, RFC 9110 §5.5).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/assert.h"
#include "base/result.h"
#include "http/header_fields.h"

namespace segue::http {

/// "OK", "Partial Content", ...; "" for a status without one.
[[nodiscard]] std::string_view reason_phrase(uint16_t status) noexcept;

/// A field name written in the source: that it is a token is checked when it is compiled.
class FieldName {
 public:
  template <size_t N>
  consteval FieldName(const char (&text)[N])  // NOLINT: as a literal
      : text_(text, N - 1) {
    if (text_.empty()) throw "empty";
    for (char c : text_) {
      if (!is_token_char(c)) throw "no token";
    }
  }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// A field value that needs no look at each byte where it is written: a literal, or one made of our
/// own words and of numbers, or one that was looked at when it was stored.
class OwnValue {
 public:
  template <size_t N>
  consteval OwnValue(const char (&text)[N])  // NOLINT: as a literal
      : text_(text, N - 1) {
    for (char c : text_) {
      if (c < 0x20 || c > 0x7e) throw "no plain text";
    }
  }
  /// The caller made it, or has looked at it. Never bytes of a request or an answer as they came.
  [[nodiscard]] static OwnValue made(std::string_view text) noexcept {
    SEGUE_DEBUG_ASSERT(is_field_value(text));
    return OwnValue(text);
  }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  constexpr explicit OwnValue(std::string_view text) noexcept : text_(text) {}
  std::string_view text_;
};

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
  /// What is ours is not looked at again: on a hit that was a tenth of all instructions.
  void own(FieldName name, OwnValue value) noexcept { put_line(name.text(), value.text()); }
  void own(const Field& field) noexcept { put_line(field.name, field.value); }  // made of the two
  void number(FieldName name, uint64_t number) noexcept;
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
