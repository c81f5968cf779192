// Cache-Control, CDN-Cache-Control and the structured fields under it: first line one field value,
// second line the other, third a Vary. Numbers stay in their bounds, adding a line never makes a
// response fresher, a dictionary's members are well formed.
#include <array>

#include "http/cache_control.h"
#include "http/freshness.h"
#include "http/structured.h"
#include "http/vary.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace segue::http;
using std::chrono::seconds;

void check_duration(const std::optional<seconds>& duration) {
  if (!duration) return;
  SEGUE_ASSERT(*duration >= seconds{0});
  SEGUE_ASSERT(*duration <= kDeltaSecondsMax);
}

void check_durations(const CacheControl& control) {
  check_duration(control.max_age);
  check_duration(control.s_maxage);
  check_duration(control.stale_while_revalidate);
  check_duration(control.stale_if_error);
  check_duration(control.min_fresh);
  check_duration(control.max_stale);
}

void check_more_lines_restrict(std::string_view first, std::string_view second) {
  const std::array<Field, 2> lines{
      {{.name = "Cache-Control", .value = first}, {.name = "Cache-Control", .value = second}}};
  const CacheControl one = parse_cache_control(FieldsView(std::span(lines).first(1)));
  const CacheControl both = parse_cache_control(FieldsView(lines));
  check_durations(one);
  check_durations(both);
  if (one.no_store) SEGUE_ASSERT(both.no_store);
  if (one.is_private) SEGUE_ASSERT(both.is_private);
  if (one.max_age) SEGUE_ASSERT(both.max_age <= one.max_age);
  if (one.s_maxage) SEGUE_ASSERT(both.s_maxage <= one.s_maxage);
}

void check_structured(std::string_view value) {
  if (const auto dictionary = parse_dictionary(value)) {
    for (const DictionaryMember& member : dictionary->members()) {
      SEGUE_ASSERT(!member.key.empty());
      SEGUE_ASSERT(dictionary->find(member.key) == &member);
      SEGUE_ASSERT(member.parameters.empty() || member.parameters.starts_with(';'));
    }
  }
  if (const auto item = parse_item(value)) {
    if (item->value.type == BareItem::Type::Token) {
      SEGUE_ASSERT(is_structured_token(item->value.text));
    }
    if (item->value.type == BareItem::Type::String) {
      SEGUE_ASSERT(is_structured_string(item->value.text));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = segue::fuzz::text_of(data, size);
  const std::string_view first = segue::fuzz::take_line(rest);
  const std::string_view second = segue::fuzz::take_line(rest);
  check_more_lines_restrict(first, second);
  check_structured(first);
  const std::array<Field, 5> lines{{{.name = "Cache-Control", .value = first},
                                    {.name = "CDN-Cache-Control", .value = second},
                                    {.name = "Vary", .value = rest},
                                    {.name = "Expires", .value = first},
                                    {.name = "Age", .value = second}}};
  const FieldsView fields(lines);
  if (const auto targeted = parse_cdn_cache_control(fields)) check_durations(*targeted);
  const std::chrono::sys_seconds now{seconds{1'700'000'000}};
  const Freshness freshness = assess(read_response_facts(200, fields), {}, now, seconds{1});
  SEGUE_ASSERT(freshness.lifetime >= seconds{0});
  SEGUE_ASSERT(freshness.lifetime <= kDeltaSecondsMax);
  SEGUE_ASSERT(freshness.initial_age >= seconds{0});
  const bool is_stale_and_fresh =
      freshness.is_fresh(now) && freshness.may_serve_while_revalidating(now);
  SEGUE_ASSERT(!is_stale_and_fresh);

  const VaryNames names = parse_vary(fields);
  SEGUE_ASSERT(parse_vary_text(names.text()) == names);
  SEGUE_ASSERT(names.size() <= kVaryNamesMax);
  return 0;
}
