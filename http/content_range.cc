#include "http/content_range.h"

#include <algorithm>
#include <charconv>

#include "base/assert.h"
#include "http/header_fields.h"

namespace segue::http {
namespace {

std::unexpected<Error> malformed() { return fail(Side::Origin, Kind::Malformed, "Content-Range"); }

char* put_text(char* at, std::string_view text) { return std::ranges::copy(text, at).out; }
char* put_number(char* at, uint64_t number) { return std::to_chars(at, at + 20, number).ptr; }

}  // namespace

Result<ContentRange> parse_content_range(std::string_view value) noexcept {
  constexpr std::string_view kUnit = "bytes ";
  if (value.size() < kUnit.size()) return malformed();
  if (!equals_ignore_case(value.substr(0, kUnit.size()), kUnit)) return malformed();
  value.remove_prefix(kUnit.size());
  const size_t slash = value.find('/');
  if (slash == std::string_view::npos) return malformed();
  const std::string_view range_text = value.substr(0, slash);
  const std::string_view length_text = value.substr(slash + 1);

  ContentRange result;
  if (length_text != "*") {
    result.complete_length = parse_decimal(length_text);
    if (!result.complete_length || *result.complete_length == UINT64_MAX) return malformed();
  }
  if (range_text == "*") {
    if (!result.complete_length) return malformed();  // "*/*" says nothing
    return result;
  }
  const size_t dash = range_text.find('-');
  if (dash == std::string_view::npos) return malformed();
  const std::optional<uint64_t> first = parse_decimal(range_text.substr(0, dash));
  const std::optional<uint64_t> last = parse_decimal(range_text.substr(dash + 1));
  if (!first || !last || *last < *first || *last >= UINT64_MAX - 1) return malformed();
  if (result.complete_length && *last >= *result.complete_length) return malformed();
  result.range = ByteRange{.first = *first, .end = *last + 1};
  return result;
}

std::string_view write_content_range(ByteRange range, uint64_t complete_length,
                                     std::span<char, kContentRangeTextMax> out) noexcept {
  SEGUE_ASSERT(!range.empty());
  SEGUE_ASSERT(range.end <= complete_length);
  char* at = put_text(out.data(), "bytes ");
  at = put_number(at, range.first);
  *at++ = '-';
  at = put_number(at, range.end - 1);
  *at++ = '/';
  at = put_number(at, complete_length);
  return {out.data(), static_cast<size_t>(at - out.data())};
}

std::string_view write_unsatisfied_range(uint64_t complete_length,
                                         std::span<char, kContentRangeTextMax> out) noexcept {
  char* at = put_text(out.data(), "bytes */");
  at = put_number(at, complete_length);
  return {out.data(), static_cast<size_t>(at - out.data())};
}

}  // namespace segue::http
