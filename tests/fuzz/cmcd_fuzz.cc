// Any query is read without a step outside of it; what is found lies in the decoded text or the
// query, without quotes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "edge/prefetch/cmcd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view query(reinterpret_cast<const char*>(data), size);
  const segue::edge::CmcdText text(query, {});
  for (const std::string_view key : {"sid", "nor", "nrr", "bl", ""}) {
    const auto value = text.find(key);
    if (value) SEGUE_ASSERT(value->size() <= segue::edge::kCmcdBytesMax);
  }
  return 0;
}
