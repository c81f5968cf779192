// edge/access/token_fields.h - takes texts of the form name=value~name=value apart. Pure.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace segue::edge {

/// Views of the text, valid as long as it.
class TokenFields {
 public:
  static constexpr size_t kFieldsMax = 12;
  /// Nothing for an empty name, a missing '=', a name that stands there twice, or more than
  /// kFieldsMax.
  [[nodiscard]] static std::optional<TokenFields> parse(std::string_view text) noexcept;
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
  [[nodiscard]] size_t count() const noexcept { return count_; }
  [[nodiscard]] std::string_view name(size_t i) const noexcept { return fields_[i].name; }

 private:
  struct NamedText {
    std::string_view name;
    std::string_view value;
  };
  std::array<NamedText, kFieldsMax> fields_;
  size_t count_ = 0;
};

/// Decoded once (RFC 3986 §2.1); nothing where a '%' begins no encoding, or one of a control.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);
/// Encodes all but the unreserved characters.
[[nodiscard]] std::string percent_encode(std::string_view text);

/// Bytes ("480000") or seconds of a bitrate ("30s@160k": kbit/s). Nothing for anything else, and
/// for 0.
[[nodiscard]] std::optional<uint64_t> parse_preview(std::string_view text) noexcept;
/// Seconds since 1970; nothing for what is no whole number, or over year 9999.
[[nodiscard]] std::optional<int64_t> parse_time(std::string_view text) noexcept;

}  // namespace segue::edge
