// Content-Range: what is believed is in order, and reads back from what we write of it.
#include <array>

#include "http/content_range.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace segue::http;
  const auto parsed = parse_content_range(segue::fuzz::text_of(data, size));
  if (!parsed) return 0;
  SEGUE_ASSERT(parsed->range.has_value() || parsed->complete_length.has_value());
  std::array<char, kContentRangeTextMax> out;
  if (!parsed->range) {
    const auto again = parse_content_range(write_unsatisfied_range(*parsed->complete_length, out));
    SEGUE_ASSERT(again.has_value());
    SEGUE_ASSERT(*again == *parsed);
    return 0;
  }
  SEGUE_ASSERT(!parsed->range->empty());
  if (!parsed->complete_length) return 0;
  SEGUE_ASSERT(parsed->range->end <= *parsed->complete_length);
  const auto again =
      parse_content_range(write_content_range(*parsed->range, *parsed->complete_length, out));
  SEGUE_ASSERT(again.has_value());
  SEGUE_ASSERT(*again == *parsed);
  return 0;
}
