#include "edge/metrics/json.h"

#include <cstddef>
#include <cstdint>

namespace segue::edge {

namespace {

constexpr std::string_view kReplacement = "\\ufffd";

[[nodiscard]] constexpr bool is_continuation(char c) noexcept {
  return (static_cast<uint8_t>(c) & 0xC0) == 0x80;
}

/// Bytes of the valid UTF-8 sequence at the start of `text`, or 0 (RFC 3629 §4: no overlong forms,
/// no surrogates, nothing above U+10FFFF). `text` is not empty.
[[nodiscard]] size_t sequence_bytes(std::string_view text) noexcept {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return 1;
  const size_t bytes = first >= 0xF0 ? 4 : (first >= 0xE0 ? 3 : 2);
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  const auto second = static_cast<uint8_t>(text[1]);
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return bytes;
}

void append_control(char c, std::string& out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto value = static_cast<uint8_t>(c);
  out.append("\\u00");
  out.push_back(kHex[value >> 4]);
  out.push_back(kHex[value & 0xF]);
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const char c = text.front();
    size_t taken = 1;
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) {
      append_control(c, out);
    } else if (const size_t bytes = sequence_bytes(text); bytes == 0) {
      out.append(kReplacement);
    } else {
      out.append(text.substr(0, bytes));
      taken = bytes;
    }
    text.remove_prefix(taken);
  }
  out.push_back('"');
}

}  // namespace segue::edge
