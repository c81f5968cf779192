// edge/prefetch/cmcd.h - what a player says of itself (CTA-5004 Common Media Client Data, version
// 1, and CTA-5004-B, version 2), as far as fetching is concerned. It comes as the query parameter
// CMCD or as header fields; hostile either way. Version 2 is a structured field (RFC 9651), of
// which we read what version 1 has and lists: nobody says which version it is before it is read.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "base/byte_range.h"
#include "base/hint_limits.h"
#include "http/header_fields.h"

namespace segue::edge {

inline constexpr size_t kCmcdBytesMax = 1024;

/// One object that is asked for next. Views of the CmcdText it is from.
struct NextObject {
  std::optional<std::string_view> reference;  // nothing: what is asked for now
  bool encoded = true;                        // its '/' and all that is reserved, once more
  std::optional<std::string_view> range;      // "a-b", "a-" or "-n"; nothing: it did not say
};
struct NextObjects {
  std::array<NextObject, kNextObjectsMax> objects;
  uint32_t count = 0;
  [[nodiscard]] std::span<const NextObject> all() const noexcept {
    return std::span(objects).first(count);
  }
};

/// Percent-decoded text of the query's CMCD parameter; else the texts of the fields CMCD-Session
/// and CMCD-Request. Cannot allocate.
class CmcdText {
 public:
  CmcdText(std::string_view query, http::FieldsView fields) noexcept;
  CmcdText(const CmcdText&) = delete;
  CmcdText& operator=(const CmcdText&) = delete;
  /// The value of `key`, without its quotes and its parameters; valid while this lives and the
  /// request does. Nothing if it is not there or not well formed; "" for a key alone, which means
  /// true; a list with its parentheses.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return texts_[0].empty() && texts_[1].empty(); }
  /// What it says it asks for next: `nor` with `nrr`, each of one object (version 1), or a list of
  /// them, each with its range as parameter `r` (version 2, where `nrr` means nothing). Of a longer
  /// list the first ones, which come first. Nothing if there is a list that is none.
  [[nodiscard]] std::optional<NextObjects> next_objects() const noexcept;
  /// It plays nothing yet or has run dry (`su`), or has less than kUrgentBelowMs left to play
  /// (`bl`, of a list the least) or to get this object in (`dl`).
  [[nodiscard]] bool is_urgent() const noexcept;

  static constexpr uint64_t kUrgentBelowMs = 2000;

 private:
  [[nodiscard]] std::optional<std::string_view> find_member(std::string_view key) const noexcept;
  [[nodiscard]] bool is_short(std::string_view key) const noexcept;

  std::array<char, kCmcdBytesMax> decoded_;
  std::array<std::string_view, 2> texts_;
};

/// Its reference, relative to the request, once the percent-encoding that version 1 asks for is
/// taken off; in `out`, or where it was. Nothing if it is badly encoded, holds a control, or does
/// not fit.
[[nodiscard]] std::optional<std::string_view> decode_next_object(const NextObject& next,
                                                                 std::span<char> out) noexcept;

/// What `nrr` names: "a-b" or "a-" (to `open_bytes` beyond a); "-n" of a representation of
/// `complete_length` bytes, 0: not known. Nothing if it is none of these, or empty.
[[nodiscard]] std::optional<ByteRange> parse_next_range(std::string_view nrr, uint64_t open_bytes,
                                                        uint64_t complete_length) noexcept;

}  // namespace segue::edge
