#include "http/range.h"

#include <algorithm>
#include <charconv>

#include "base/assert.h"

namespace segue::http {
namespace {

/// 1*DIGIT; a number over 2^64 - 1 counts as that, which lies past the end of anything.
std::optional<uint64_t> parse_saturating(std::string_view text) {
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  return value;
}

std::optional<RangeSpec> parse_spec(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  RangeSpec spec;
  const std::string_view first = text.substr(0, dash);
  const std::string_view last = text.substr(dash + 1);
  if (first.empty() && last.empty()) return std::nullopt;
  if (!first.empty()) {
    spec.first = parse_saturating(first);
    if (!spec.first) return std::nullopt;
  }
  if (!last.empty()) {
    spec.last = parse_saturating(last);
    if (!spec.last) return std::nullopt;
  }
  // A last-pos before its first-pos voids the whole field (RFC 9110 §14.1.1).
  if (spec.first && spec.last && *spec.last < *spec.first) return std::nullopt;
  return spec;
}

/// The bytes `spec` selects; empty if it is not satisfiable.
ByteRange select(const RangeSpec& spec, uint64_t complete_length) {
  if (spec.is_suffix()) {
    const uint64_t suffix_length = std::min(spec.last.value_or(0), complete_length);
    return {.first = complete_length - suffix_length, .end = complete_length};
  }
  if (*spec.first >= complete_length) return {};
  const uint64_t last = std::min(spec.last.value_or(UINT64_MAX), complete_length - 1);
  return {.first = *spec.first, .end = last + 1};
}

bool nearly_touch(ByteRange a, ByteRange b) {
  if (a.first > b.end) return a.first - b.end <= kRangeGapCoalescedMax;
  if (b.first > a.end) return b.first - a.end <= kRangeGapCoalescedMax;
  return true;
}

/// Adds `part`, swallowing every range it nearly touches. The union takes the place of the first
/// one swallowed, so that parts keep the order in which they were asked for (RFC 9110 §15.3.7.2).
void add_coalesced(Resolved& resolved, ByteRange part) {
  uint32_t place = resolved.count;
  for (uint32_t i = 0; i < resolved.count;) {
    const ByteRange other = resolved.parts[i];
    if (!nearly_touch(part, other)) {
      ++i;
      continue;
    }
    part = {.first = std::min(part.first, other.first), .end = std::max(part.end, other.end)};
    place = std::min(place, i);
    std::copy(resolved.parts.begin() + i + 1, resolved.parts.begin() + resolved.count,
              resolved.parts.begin() + i);
    --resolved.count;
    i = 0;  // the union may touch what the part alone did not
  }
  std::copy_backward(resolved.parts.begin() + place, resolved.parts.begin() + resolved.count,
                     resolved.parts.begin() + resolved.count + 1);
  resolved.parts[place] = part;
  ++resolved.count;
}

/// Decimal digits at `at`; the caller has room for 20.
char* put_number(char* at, uint64_t number) { return std::to_chars(at, at + 20, number).ptr; }

}  // namespace

ParsedRange parse_range(std::string_view value) noexcept {
  ParsedRange result;
  result.kind = ParsedRange::Kind::Invalid;
  const size_t equals = value.find('=');
  if (equals == std::string_view::npos) return result;
  if (!equals_ignore_case(value.substr(0, equals), "bytes")) return result;
  const std::string_view set = value.substr(equals + 1);
  // One range, as nearly all ask: digits and a dash alone, and no list to walk.
  if (const std::optional<RangeSpec> only = parse_spec(set)) {
    result.kind = ParsedRange::Kind::Ranges;
    result.count = 1;
    result.specs[0] = *only;
    return result;
  }
  ListMembers members(set);
  while (auto member = members.next()) {
    std::optional<RangeSpec> spec = parse_spec(*member);
    if (!spec || result.count == kRangesMax) {
      result.count = 0;
      return result;
    }
    result.specs[result.count++] = *spec;
  }
  if (result.count > 0) result.kind = ParsedRange::Kind::Ranges;
  return result;
}

ParsedRange requested_range(Method method, FieldsView request) noexcept {
  if (method != Method::Get) return {};
  FieldValues values(request, "Range");
  std::optional<std::string_view> value = values.next();
  if (!value) return {};
  if (values.next()) {
    ParsedRange repeated;
    repeated.kind = ParsedRange::Kind::Invalid;
    return repeated;
  }
  return parse_range(*value);
}

uint64_t Resolved::total_bytes() const noexcept {
  uint64_t total = 0;
  for (ByteRange part : ranges()) total += part.length();
  return total;
}

Resolved resolve(const ParsedRange& range, uint64_t complete_length) noexcept {
  Resolved resolved;
  if (range.kind != ParsedRange::Kind::Ranges) return resolved;
  bool suffix_of_nothing = false;
  for (const RangeSpec& spec : range.ranges()) {
    const ByteRange part = select(spec, complete_length);
    if (!part.empty()) {
      add_coalesced(resolved, part);
    } else if (complete_length == 0 && spec.is_suffix() && spec.last.value_or(0) > 0) {
      // Satisfiable, since a suffix of nothing is nothing (RFC 9110 §14.1.2), but Content-Range has
      // no way to say so: the answer is the empty 200.
      suffix_of_nothing = true;
    }
  }
  if (resolved.count > 0) {
    resolved.kind = Resolved::Kind::Ranges;
  } else if (!suffix_of_nothing) {
    resolved.kind = Resolved::Kind::NotSatisfiable;
  }
  return resolved;
}

std::string_view write_range(ByteRange range, std::span<char, kRangeTextMax> out) noexcept {
  SEGUE_ASSERT(!range.empty());
  char* at = std::ranges::copy(std::string_view("bytes="), out.data()).out;
  at = put_number(at, range.first);
  *at++ = '-';
  if (range.end != UINT64_MAX) at = put_number(at, range.end - 1);
  return {out.data(), static_cast<size_t>(at - out.data())};
}

std::string_view write_suffix_range(uint64_t suffix_length,
                                    std::span<char, kRangeTextMax> out) noexcept {
  char* at = std::ranges::copy(std::string_view("bytes=-"), out.data()).out;
  at = put_number(at, suffix_length);
  return {out.data(), static_cast<size_t>(at - out.data())};
}

}  // namespace segue::http
