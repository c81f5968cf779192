#include "edge/access/token_fields.h"

#include <algorithm>

#include "edge/access/hmac.h"
#include "http/header_fields.h"

namespace segue::edge {

std::optional<TokenFields> TokenFields::parse(std::string_view text) noexcept {
  TokenFields fields;
  while (true) {
    const size_t end = std::min(text.find('~'), text.size());
    const std::string_view field = text.substr(0, end);
    const size_t equals = field.find('=');
    if (equals == std::string_view::npos || equals == 0) return std::nullopt;
    const std::string_view name = field.substr(0, equals);
    if (fields.find(name) || fields.count_ == kFieldsMax) return std::nullopt;
    fields.fields_[fields.count_++] = {name, field.substr(equals + 1)};
    if (end == text.size()) return fields;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::string_view> TokenFields::find(std::string_view name) const noexcept {
  for (size_t i = 0; i < count_; ++i) {
    if (fields_[i].name == name) return fields_[i].value;
  }
  return std::nullopt;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    uint8_t byte = 0;
    if (i + 2 >= text.size() || !parse_hex(text.substr(i + 1, 2), {&byte, 1})) return std::nullopt;
    if (byte < 0x20 || byte == 0x7f) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9') || std::string_view("-._~").contains(c)) {
      out += c;
    } else {
      constexpr std::string_view kDigits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

std::optional<uint64_t> parse_preview(std::string_view text) noexcept {
  constexpr uint64_t kBytesMax = uint64_t{1} << 50;
  const size_t unit = text.find("s@");
  if (unit == std::string_view::npos) {
    const auto bytes = http::parse_decimal(text);
    return bytes && *bytes > 0 && *bytes <= kBytesMax ? bytes : std::nullopt;
  }
  if (!text.ends_with('k')) return std::nullopt;
  const auto seconds = http::parse_decimal(text.substr(0, unit));
  const auto kbits = http::parse_decimal(text.substr(unit + 2, text.size() - unit - 3));
  constexpr uint64_t kSecondsMax = 1'000'000;
  constexpr uint64_t kKbitsMax = 100'000;
  if (!seconds || !kbits || *seconds == 0 || *kbits == 0) return std::nullopt;
  if (*seconds > kSecondsMax || *kbits > kKbitsMax) return std::nullopt;
  return *seconds * *kbits * 125;
}

std::optional<int64_t> parse_time(std::string_view text) noexcept {
  constexpr uint64_t kTimeMax = 253'402'300'799;
  const auto seconds = http::parse_decimal(text);
  if (!seconds || *seconds > kTimeMax) return std::nullopt;
  return static_cast<int64_t>(*seconds);
}

}  // namespace segue::edge
