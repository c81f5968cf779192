// edge/prefetch/cmcd.h - what a player says of itself (CTA-5004 Common Media Client Data, version
// 1), as far as fetching is concerned. It comes as the query parameter CMCD or as header fields;
// hostile either way.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "base/byte_range.h"
#include "http/header_fields.h"

namespace segue::edge {

inline constexpr size_t kCmcdBytesMax = 1024;

/// Percent-decoded text of the query's CMCD parameter; else the texts of the fields CMCD-Session
/// and CMCD-Request. Cannot allocate.
class CmcdText {
 public:
  CmcdText(std::string_view query, http::FieldsView fields) noexcept;
  CmcdText(const CmcdText&) = delete;
  CmcdText& operator=(const CmcdText&) = delete;
  /// The value of `key`, without its quotes; valid while this lives and the request does. Nothing
  /// if it is not there or not well formed; "" for a key alone, which means true.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return texts_[0].empty() && texts_[1].empty(); }
  /// It plays nothing yet or has run dry (`su`), or has less than kUrgentBelowMs left to play
  /// (`bl`) or to get this object in (`dl`).
  [[nodiscard]] bool is_urgent() const noexcept;

  static constexpr uint64_t kUrgentBelowMs = 2000;

 private:
  [[nodiscard]] bool is_short(std::string_view key) const noexcept;

  std::array<char, kCmcdBytesMax> decoded_;
  std::array<std::string_view, 2> texts_;
};

/// What `nor` is once its percent-encoding is taken off, in `out`: a reference relative to the
/// request. Nothing if it is badly encoded, holds a control, or does not fit.
[[nodiscard]] std::optional<std::string_view> decode_next_object(std::string_view nor,
                                                                 std::span<char> out) noexcept;

/// What `nrr` names: "a-b" or "a-" (to `open_bytes` beyond a); "-n" of a representation of
/// `complete_length` bytes, 0: not known. Nothing if it is none of these, or empty.
[[nodiscard]] std::optional<ByteRange> parse_next_range(std::string_view nrr, uint64_t open_bytes,
                                                        uint64_t complete_length) noexcept;

}  // namespace segue::edge
