// Range: first line the complete length, second line the field value. Whatever is asked, the parts
// lie inside the representation, are not empty, do not overlap, and are no more than the maximum.
#include "http/range.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

void check(std::string_view value, uint64_t complete_length) {
  using segue::http::Resolved;
  const Resolved resolved = segue::http::resolve(segue::http::parse_range(value), complete_length);
  SEGUE_ASSERT((resolved.kind == Resolved::Kind::Ranges) == (resolved.count > 0));
  SEGUE_ASSERT(resolved.count <= segue::kRangesMax);
  SEGUE_ASSERT(resolved.total_bytes() <= complete_length);
  const auto parts = resolved.ranges();
  for (size_t i = 0; i < parts.size(); ++i) {
    SEGUE_ASSERT(parts[i].first < parts[i].end);
    SEGUE_ASSERT(parts[i].end <= complete_length);
    for (size_t j = i + 1; j < parts.size(); ++j) {
      const bool apart = parts[i].end < parts[j].first || parts[j].end < parts[i].first;
      SEGUE_ASSERT(apart);
    }
  }
  if (parts.size() != 1) return;
  // What we would ask of the origin for this part means this part.
  std::array<char, segue::http::kRangeTextMax> out;
  const std::string_view written = segue::http::write_range(parts[0], out);
  const Resolved again = segue::http::resolve(segue::http::parse_range(written), complete_length);
  SEGUE_ASSERT(again.count == 1);
  SEGUE_ASSERT(again.parts[0] == parts[0]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = segue::fuzz::text_of(data, size);
  const std::string_view length = segue::fuzz::take_line(rest);
  check(rest, segue::http::parse_decimal(length).value_or(1000));
  check(rest, 0);
  check(rest, UINT64_MAX);
  return 0;
}
