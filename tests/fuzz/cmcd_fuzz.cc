// Any query is read without a step outside of it; what is found lies in the decoded text or the
// query, without quotes; and the next object it names is a target on the same host, or nothing.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "edge/prefetch/cmcd.h"
#include "http/relative_target.h"

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
  (void)edge::CmcdText("", http::FieldsView(std::span(&field, 1))).is_urgent();
  for (const uint64_t length : {0U, 1000U}) {
    const auto range = edge::parse_next_range(text.find("nrr").value_or(query), 100, length);
    if (range) SEGUE_ASSERT(!range->empty());
  }
  std::array<char, 256> reference_room;
  std::array<char, 256> target_room;
  const auto reference = edge::decode_next_object(text.find("nor").value_or(query), reference_room);
  if (!reference) return 0;
  const auto target = http::resolve_on_host("/a/b/c?d", *reference, target_room);
  if (!target) return 0;
  SEGUE_ASSERT(target->starts_with('/'));
  const std::string_view path = target->substr(0, target->find('?'));
  SEGUE_ASSERT(!path.contains("/../") && !path.contains("/./"));
  SEGUE_ASSERT(!path.ends_with("/..") && !path.ends_with("/."));
  return 0;
}
