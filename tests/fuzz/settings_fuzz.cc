// Any text is a settings file or a list of mistakes, each with a text and a place; nothing crashes.
// What came out right can be planned and printed.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "conf/load.h"

namespace {

segue::conf::Machine machine(const segue::conf::Settings& settings) {
  return {2, std::vector<uint64_t>(settings.cache.drives.size(), settings.cache.size_bytes),
          "node"};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto loaded = segue::conf::load_text(text, "fuzz.toml", {}, machine);
  for (const segue::conf::Mistake& mistake : loaded.mistakes) SEGUE_ASSERT(!mistake.text.empty());
  if (loaded.is_right()) {
    SEGUE_ASSERT(!loaded.settings.sites.empty());
    SEGUE_ASSERT(!loaded.settings.listen.empty());
    SEGUE_ASSERT(loaded.plan.buffers_bytes > 0);
    SEGUE_ASSERT(!print_plan(loaded.plan).empty());
  }
  return 0;
}
