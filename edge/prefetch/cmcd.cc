#include "edge/prefetch/cmcd.h"

#include <algorithm>
#include <charconv>

#include "http/target.h"

namespace segue::edge {
namespace {

int value_of_hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string_view> percent_decode_into(std::string_view text,
                                                    std::span<char> out) noexcept {
  size_t used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (used == out.size()) return std::nullopt;
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? value_of_hex(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? value_of_hex(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    out[used++] = c;
  }
  return std::string_view(out.data(), used);
}

std::optional<uint64_t> number_of(std::string_view text) noexcept {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// key, key=token or key="text", separated by commas; a quoted text may hold commas.
std::optional<std::string_view> find_in(std::string_view rest, std::string_view key) noexcept {
  while (!rest.empty()) {
    const size_t name_end = rest.find_first_of("=,");
    std::string_view name = rest.substr(0, name_end);
    while (name.starts_with(' ')) name.remove_prefix(1);
    std::string_view value;
    rest.remove_prefix(std::min(name_end, rest.size()));
    if (rest.starts_with('=')) {
      rest.remove_prefix(1);
      if (rest.starts_with('"')) {
        const size_t end = rest.find('"', 1);
        if (end == std::string_view::npos) return std::nullopt;
        value = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
      } else {
        value = rest.substr(0, rest.find(','));
        rest.remove_prefix(value.size());
      }
    }
    if (name == key) return value;
    rest.remove_prefix(std::min(rest.find(','), rest.size()));
    if (!rest.empty()) rest.remove_prefix(1);
  }
  return std::nullopt;
}

}  // namespace

CmcdText::CmcdText(std::string_view query, http::FieldsView fields) noexcept {
  if (const auto parameter = http::find_query_parameter(query, "CMCD")) {
    // What is longer than any we act on, or badly encoded: nothing of it is read.
    texts_[0] = percent_decode_into(*parameter, decoded_).value_or(std::string_view());
    return;
  }
  const auto text_of = [&](std::string_view name) {
    const std::string_view text = fields.find(name).value_or(std::string_view());
    return text.size() <= kCmcdBytesMax ? text : std::string_view();
  };
  texts_ = {text_of("CMCD-Session"), text_of("CMCD-Request")};
}

std::optional<std::string_view> CmcdText::find(std::string_view key) const noexcept {
  for (const std::string_view text : texts_) {
    if (const auto value = find_in(text, key)) return value;
  }
  return std::nullopt;
}

bool CmcdText::is_short(std::string_view key) const noexcept {
  const auto value = find(key);
  const auto milliseconds = value ? number_of(*value) : std::nullopt;
  return milliseconds && *milliseconds < kUrgentBelowMs;
}

bool CmcdText::is_urgent() const noexcept {
  if (empty()) return false;
  const auto starting = find("su");
  return (starting && (starting->empty() || *starting == "true")) || is_short("bl") ||
         is_short("dl");
}

std::optional<std::string_view> decode_next_object(std::string_view nor,
                                                   std::span<char> out) noexcept {
  const auto decoded = percent_decode_into(nor, out);
  if (!decoded || decoded->empty()) return std::nullopt;
  constexpr unsigned char kDelete = 0x7f;
  const auto is_plain = [](unsigned char c) { return c > ' ' && c < kDelete; };
  if (!std::ranges::all_of(*decoded, is_plain)) return std::nullopt;
  return decoded;
}

std::optional<ByteRange> parse_next_range(std::string_view nrr, uint64_t open_bytes,
                                          uint64_t complete_length) noexcept {
  constexpr uint64_t kPositionMax = uint64_t{1} << 52;
  const size_t dash = nrr.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view last_text = nrr.substr(dash + 1);
  const auto last = number_of(last_text);
  if (dash == 0) {
    if (!last || *last == 0 || complete_length == 0) return std::nullopt;
    return ByteRange{complete_length - std::min(complete_length, *last), complete_length};
  }
  const auto first = number_of(nrr.substr(0, dash));
  if (!first || *first >= kPositionMax) return std::nullopt;
  if (last_text.empty()) return ByteRange{*first, *first + open_bytes};
  if (!last || *last < *first || *last >= kPositionMax) return std::nullopt;
  return ByteRange{*first, *last + 1};
}

}  // namespace segue::edge
