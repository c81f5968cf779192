// Canonical targets: idempotent, visible ASCII, no dot segment however often it is decoded once,
// and filtering a query is idempotent and never lets CMCD through.
#include <array>
#include <string>
#include <vector>

#include "http/target.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace segue::http;

void check_segments(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);  // '/'
    const std::string_view segment = path.substr(0, path.find('/'));
    SEGUE_ASSERT(segment != ".");
    SEGUE_ASSERT(segment != "..");
    path.remove_prefix(segment.size());
  }
}

void check_filter(std::string_view query, const QueryRule& rule) {
  std::vector<char> out(query.size());
  const auto kept = filter_query(query, rule, out);
  SEGUE_ASSERT(kept.has_value());  // it never grows
  SEGUE_ASSERT(!find_query_parameter(*kept, "CMCD").has_value());
  SEGUE_ASSERT(!find_query_parameter(*kept, "token").has_value());
  std::vector<char> again_out(query.size());
  const auto again = filter_query(*kept, rule, again_out);
  SEGUE_ASSERT(again.has_value());
  SEGUE_ASSERT(*again == *kept);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view target = segue::fuzz::text_of(data, size);
  std::vector<char> out(size * 3 + 1);
  const auto canonical = canonicalize(target, out);
  std::vector<char> small(size / 2);
  const auto in_small = canonicalize(target, small);
  if (!canonical) {
    SEGUE_ASSERT(canonical.error().kind ==
                 segue::Kind::Malformed);  // three times the size is enough
    SEGUE_ASSERT(!in_small.has_value());
    return 0;
  }
  if (in_small) SEGUE_ASSERT(in_small->text == canonical->text);
  for (char c : canonical->text) {
    SEGUE_ASSERT(c > 0x20);
    SEGUE_ASSERT(c < 0x7f);
    SEGUE_ASSERT(c != '\\');
    SEGUE_ASSERT(c != '#');
  }
  SEGUE_ASSERT(canonical->path.starts_with('/'));
  check_segments(canonical->path);
  std::vector<char> again_out(canonical->text.size());
  const auto again = canonicalize(canonical->text, again_out);
  SEGUE_ASSERT(again.has_value());
  SEGUE_ASSERT(again->text == canonical->text);
  SEGUE_ASSERT(again->query == canonical->query);

  const std::string_view query = canonical->query.value_or("");
  const std::array<std::string_view, 2> names{"v", "token"};
  const std::array<std::string_view, 1> strip{"token"};
  check_filter(query, {.strip = strip});
  check_filter(query, {.mode = QueryMode::List, .names = names, .strip = strip});
  check_filter(query, {.mode = QueryMode::Drop});
  return 0;
}
