// Any query is read without a step outside of it; what is found lies in the decoded text or the
// query, without quotes; and the next object it names is a target on the same host, or nothing.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "edge/prefetch/cmcd.h"
#include "http/relative_target.h"

namespace {

/// What it names is a target on the same host, or nothing.
void check_reference(const segue::edge::NextObject& next) {
  std::array<char, 256> reference_room;
  std::array<char, 256> target_room;
  if (next.range) (void)segue::edge::parse_next_range(*next.range, 100, 1000);
  const auto reference = segue::edge::decode_next_object(next, reference_room);
  if (!reference) return;
  const auto target = segue::http::resolve_on_host("/a/b/c?d", *reference, target_room);
  if (!target) return;
  SEGUE_ASSERT(target->starts_with('/'));
  const std::string_view path = target->substr(0, target->find('?'));
  SEGUE_ASSERT(!path.contains("/../") && !path.contains("/./"));
  SEGUE_ASSERT(!path.ends_with("/..") && !path.ends_with("/."));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace segue;
  const std::string_view query(reinterpret_cast<const char*>(data), size);
  const edge::CmcdText text(query, {});
  for (const std::string_view key : {"sid", "nor", "nrr", "bl", ""}) {
    const auto value = text.find(key);
    if (value) SEGUE_ASSERT(value->size() <= edge::kCmcdBytesMax);
  }
  (void)text.is_urgent();
  const http::Field field{"CMCD-Request", query};
  const edge::CmcdText in_field("", http::FieldsView(std::span(&field, 1)));
  (void)in_field.is_urgent();
  for (const uint64_t length : {0U, 1000U}) {
    const auto range = edge::parse_next_range(text.find("nrr").value_or(query), 100, length);
    if (range) SEGUE_ASSERT(!range->empty());
  }
  check_reference({.reference = query, .encoded = true, .range = {}});
  check_reference({.reference = query, .encoded = false, .range = {}});
  for (const edge::CmcdText* const from : {&text, &in_field}) {
    const auto next = from->next_objects();
    if (!next) continue;
    SEGUE_ASSERT(next->count <= kNextObjectsMax);
    for (const edge::NextObject& object : next->all()) check_reference(object);
  }
  return 0;
}
