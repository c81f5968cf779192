// edge/prefetch/cmcd.h - what a player says of itself (CTA-5004 Common Media Client Data), as far
// as prefetch is concerned. It comes as the query parameter CMCD or as header fields; hostile
// either way.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "http/header_fields.h"

namespace segue::edge {

inline constexpr size_t kCmcdBytesMax = 1024;

/// Percent-decoded text of the query's CMCD parameter, or the text of a CMCD-Session field. Cannot
/// allocate.
class CmcdText {
 public:
  CmcdText(std::string_view query, http::FieldsView fields) noexcept;
  /// The value of `key`, without its quotes; valid while this lives and the request does. Nothing
  /// if it is not there or not well formed.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const noexcept;

 private:
  std::array<char, kCmcdBytesMax> decoded_;
  std::string_view text_;
};

}  // namespace segue::edge
