#include "edge/prefetch/cmcd.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"
#include "http/target.h"

namespace segue::edge {
namespace {

std::optional<std::string_view> percent_decode_into(std::string_view text,
                                                    std::span<char> out) noexcept {
  size_t used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (used == out.size()) return std::nullopt;
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
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

constexpr size_t kOpen = std::string_view::npos;

/// Behind the closing quote of the string at `at` (RFC 9651 §3.3.3); kOpen: it has none.
size_t end_of_string(std::string_view text, size_t at) noexcept {
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1;
    if (text[i] == '\\') ++i;
  }
  return kOpen;
}

/// The first of `ends` from `at` on that is in no string, or the end; kOpen: a string is open.
size_t find_outside_strings(std::string_view text, size_t at, std::string_view ends) noexcept {
  while (at < text.size() && !ends.contains(text[at])) {
    at = text[at] == '"' ? end_of_string(text, at) : at + 1;
    if (at == kOpen) return kOpen;
  }
  return std::min(at, text.size());
}

/// Behind a member's value, which may be a list; its parameters follow.
size_t end_of_value(std::string_view text) noexcept {
  if (!text.starts_with('(')) return find_outside_strings(text, 0, ",;");
  const size_t end = find_outside_strings(text, 1, ")");
  return end < text.size() ? end + 1 : kOpen;
}

std::string_view without_quotes(std::string_view value) noexcept {
  return value.starts_with('"') ? value.substr(1, end_of_string(value, 0) - 2) : value;
}

/// key, key=token, key="text" or key=(list), each with parameters, separated by commas. The value
/// of `key` with quotes and parameters.
std::optional<std::string_view> find_in(std::string_view rest, std::string_view key) noexcept {
  while (!rest.empty()) {
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    const size_t name_end = std::min(rest.find_first_of("=,;"), rest.size());
    const std::string_view name = rest.substr(0, name_end);
    rest.remove_prefix(name_end);
    if (rest.starts_with('=')) rest.remove_prefix(1);
    const size_t value_end = end_of_value(rest);
    if (value_end == kOpen) return std::nullopt;
    const size_t end = find_outside_strings(rest, value_end, ",");
    if (end == kOpen) return std::nullopt;
    if (name == key) return rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

/// Of "a;x=1;r=\"0-99\"" what parameter `r` says; nothing if it has none.
std::optional<std::string_view> range_parameter(std::string_view item) noexcept {
  for (size_t at = find_outside_strings(item, 0, ";"); at < item.size();) {
    ++at;
    while (at < item.size() && item[at] == ' ') ++at;
    const size_t end = std::min(find_outside_strings(item, at, ";"), item.size());
    const std::string_view parameter = item.substr(at, end - at);
    if (parameter.starts_with("r=")) return without_quotes(parameter.substr(2));
    at = end;
  }
  return std::nullopt;
}

/// Calls `take` with each item of a list, its parameters included, until it says false.
template <class Take>
void each_item(std::string_view list, Take take) noexcept {
  std::string_view rest = list.substr(1, list.size() - 2);
  for (;;) {
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    if (rest.empty()) return;
    const size_t end = std::min(find_outside_strings(rest, 0, " "), rest.size());
    if (!take(rest.substr(0, end))) return;
    rest.remove_prefix(end);
  }
}

bool is_below(std::string_view item, uint64_t bound) noexcept {
  const auto value = number_of(item.substr(0, item.find(';')));
  return value && *value < bound;
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

std::optional<std::string_view> CmcdText::find_member(std::string_view key) const noexcept {
  for (const std::string_view text : texts_) {
    if (const auto value = find_in(text, key)) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> CmcdText::find(std::string_view key) const noexcept {
  const auto member = find_member(key);
  if (!member) return std::nullopt;
  return without_quotes(member->substr(0, end_of_value(*member)));
}

std::optional<NextObjects> CmcdText::next_objects() const noexcept {
  NextObjects found;
  const auto take = [&](const NextObject& object) { found.objects[found.count++] = object; };
  const auto next = find_member("nor");
  if (!next || !next->starts_with('(')) {
    const auto range = next ? range_parameter(*next) : std::nullopt;
    const auto range_of_v1 = find("nrr");
    if (next || range_of_v1) take({.reference = find("nor"), .range = range ? range : range_of_v1});
    return found;
  }
  bool is_list = true;
  each_item(next->substr(0, end_of_value(*next)), [&](std::string_view item) {
    is_list = item.starts_with('"');
    if (is_list) take({without_quotes(item), /*encoded=*/false, range_parameter(item)});
    return is_list && found.count < kNextObjectsMax;
  });
  if (!is_list) return std::nullopt;
  return found;
}

bool CmcdText::is_short(std::string_view key) const noexcept {
  const auto value = find(key);
  if (!value) return false;
  if (!value->starts_with('(')) return is_below(*value, kUrgentBelowMs);
  bool below = false;
  each_item(*value, [&](std::string_view item) {
    below = is_below(item, kUrgentBelowMs);
    return !below;
  });
  return below;
}

bool CmcdText::is_urgent() const noexcept {
  if (empty()) return false;
  const auto starting = find("su");
  return (starting && (starting->empty() || *starting == "true")) || is_short("bl") ||
         is_short("dl");
}

std::optional<std::string_view> decode_next_object(const NextObject& next,
                                                   std::span<char> out) noexcept {
  if (!next.reference || next.reference->empty()) return std::nullopt;
  // In lists it should be as it is, and some players encode it all the same: then it has no '/'.
  const std::string_view text = *next.reference;
  const bool has_encoded_slash = text.contains("%2F") || text.contains("%2f");
  const bool encoded = next.encoded || (has_encoded_slash && !text.contains('/'));
  const auto decoded = encoded ? percent_decode_into(text, out) : next.reference;
  if (!decoded || decoded->size() > out.size()) return std::nullopt;
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
