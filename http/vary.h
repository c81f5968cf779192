// http/vary.h - Vary (RFC 9110 §12.5.5, RFC 9111 §4.1): a bounded set of field names, and the key
// of the variant a request selects. No allocation.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "http/header_fields.h"

namespace segue::http {

inline constexpr uint32_t kVaryNamesMax = 8;
inline constexpr uint32_t kVaryTextBytesMax = 256;

/// Names on which a response varies: lower case, sorted, each once.
class VaryNames {
 public:
  VaryNames() = default;
  /// "*", or more names than fit: no request can be known to select this response.
  [[nodiscard]] bool is_any() const noexcept { return any_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0 && !any_; }
  [[nodiscard]] size_t size() const noexcept { return count_; }
  /// View into this object.
  [[nodiscard]] std::string_view operator[](size_t index) const noexcept;
  /// "accept,origin", "*", or "": what a record keeps; read back by parse_vary_text().
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), text_bytes_}; }
  bool operator==(const VaryNames& other) const noexcept { return text() == other.text(); }

 private:
  friend VaryNames parse_vary(FieldsView, std::span<const std::string_view>) noexcept;
  friend VaryNames parse_vary_text(std::string_view) noexcept;
  void add(std::string_view name) noexcept;
  void set_any() noexcept;

  bool any_ = false;
  uint32_t count_ = 0;
  uint32_t text_bytes_ = 0;
  std::array<char, kVaryTextBytesMax> text_{};
};

/// Field names whose effect is ours, not the origin's: what we ask of the origin does not carry the
/// client's value, so the answer cannot depend on it.
inline constexpr std::array<std::string_view, 4> kVaryNamesOwned{"accept-encoding", "range",
                                                                 "if-range", "connection"};

/// Reads every Vary line of a response; names in `owned` (lower case) are left out. A member that
/// is no field name makes the result "any".
[[nodiscard]] VaryNames parse_vary(
    FieldsView response, std::span<const std::string_view> owned = kVaryNamesOwned) noexcept;
/// Reads back what text() gave; anything else is "any".
[[nodiscard]] VaryNames parse_vary_text(std::string_view text) noexcept;

/// Writes the normalised values that `request` has for `names` to `out`: for each name its members
/// trimmed and joined by ",", an absent field told apart from an empty one. Two requests with equal
/// keys select the same variant. "" for no names. View into `out`.
/// Errors: {Client, Full} if `out` is too small (pass such a request through), {Self, Unsupported}
/// if `names` is any.
[[nodiscard]] Result<std::string_view> variant_key(const VaryNames& names, FieldsView request,
                                                   std::span<char> out) noexcept;

}  // namespace segue::http
