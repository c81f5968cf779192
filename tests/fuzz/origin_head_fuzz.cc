// An origin's response head as libcurl hands it over, line by line, against each form of request:
// whatever comes, a 206 that is taken is the range that was asked, and a body has one length.
#include <algorithm>
#include <string_view>

#include "base/limits.h"
#include "origin/head_check.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace segue::origin;
using Form = FetchRequest::RangeForm;

constexpr segue::ByteRange kAsked{2, 6};
constexpr uint64_t kSuffix = 4;

void check_taken(const AskedOf& asked, const FetchHead& made) {
  SEGUE_ASSERT(made.status >= 200);
  SEGUE_ASSERT(made.status != 304 || asked.conditional);
  SEGUE_ASSERT(made.fields.view().count("transfer-encoding") == 0);
  SEGUE_ASSERT(!made.close_delimited || made.status == 206 || !made.content_length);
  if (made.status != 206) {
    SEGUE_ASSERT(!made.content_range);
    return;
  }
  SEGUE_ASSERT(made.content_range.has_value());
  SEGUE_ASSERT(made.content_length == made.content_range->length());
  SEGUE_ASSERT(!made.content_range->empty());
  if (asked.range_form == Form::Bounded) {
    SEGUE_ASSERT(made.content_range->first == kAsked.first);
    SEGUE_ASSERT(made.content_range->end <= kAsked.end);
  } else {
    SEGUE_ASSERT(asked.range_form == Form::Suffix);
    SEGUE_ASSERT(made.content_range->end == made.complete_length);
    SEGUE_ASSERT(made.content_length == std::min(kSuffix, *made.complete_length));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = segue::fuzz::text_of(data, size);
  HeadCollector head;
  while (!rest.empty() && !head.complete()) {
    const size_t end = rest.find('\n');
    const size_t length = end == std::string_view::npos ? rest.size() : end + 1;
    if (head.add(rest.substr(0, length)) != Fault::None) return 0;
    rest.remove_prefix(length);
  }
  SEGUE_ASSERT(head.fields().size() <= segue::kOriginHeaderFieldsMax);
  if (!head.complete()) return 0;
  for (const Form form : {Form::None, Form::Bounded, Form::Suffix}) {
    for (const bool conditional : {false, true}) {
      const AskedOf asked{.range_form = form,
                          .range = kAsked,
                          .suffix_length = kSuffix,
                          .if_none_match = conditional ? "\"a\"" : "",
                          .conditional = conditional};
      const auto made = check_head(asked, head);
      if (made) check_taken(asked, *made);
    }
  }
  return 0;
}
