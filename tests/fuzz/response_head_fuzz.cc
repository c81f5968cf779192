// Response heads and stored blocks: what is parsed can be written and reads back the same; a value
// from outside never splits a head.
#include <array>
#include <vector>

#include "http/date.h"
#include "http/response_head.h"
#include "http/response_parser.h"
#include "http/validator.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace segue::http;

void check_same(FieldsView a, FieldsView b) {
  SEGUE_ASSERT(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    SEGUE_ASSERT(a[i].name == b[i].name);
    SEGUE_ASSERT(a[i].value == b[i].value);
  }
}

void check_block_reads_back(FieldsView fields) {
  std::vector<char> buffer(2 * size_t{segue::kOriginHeaderBytesMax});
  HeadWriter writer(buffer);
  writer.fields(fields);
  SEGUE_ASSERT(writer.dropped() == 0);
  const auto block = writer.finish_block();
  SEGUE_ASSERT(block.has_value());
  if (block->size() > segue::kOriginHeaderBytesMax) return;  // we add a space after the colon
  std::vector<Field> storage(segue::kOriginHeaderFieldsMax);
  const auto again = parse_field_block(*block, storage);
  SEGUE_ASSERT(again.has_value());
  check_same(fields, *again);
}

/// Any text as a name and as a value: the head still has exactly the lines that were written.
void check_not_split(std::string_view text) {
  std::vector<char> buffer(text.size() * 2 + 256);
  HeadWriter writer(buffer);
  writer.status(200);
  const size_t written = size_t{writer.field("X", text)} + size_t{writer.field(text, "y")};
  const auto head = writer.finish();
  SEGUE_ASSERT(head.has_value());
  if (head->size() > segue::kOriginHeaderBytesMax) return;
  std::array<Field, 4> storage;
  const auto parsed = parse_response_head(*head, storage);
  SEGUE_ASSERT(parsed.has_value());
  SEGUE_ASSERT(parsed->fields.size() == written);
  SEGUE_ASSERT(parsed->consumed == head->size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = segue::fuzz::text_of(data, size);
  std::vector<Field> storage(segue::kOriginHeaderFieldsMax);
  if (const auto head = parse_response_head(text, storage)) {
    SEGUE_ASSERT(head->consumed <= text.size());
    check_block_reads_back(head->fields);
    const Validator validator = Validator::of_response(head->fields);
    if (validator.last_modified()) {
      std::array<char, kDateBytes> out;
      const std::string_view written = write_date(*validator.last_modified(), out);
      SEGUE_ASSERT(parse_date(written) == validator.last_modified());
    }
  }
  if (const auto fields = parse_field_block(text, storage)) check_block_reads_back(*fields);
  if (const auto field = parse_header_line(text)) {
    SEGUE_ASSERT(is_token(field->name));
    SEGUE_ASSERT(is_field_value(field->value));
  }
  check_not_split(text);
  return 0;
}
