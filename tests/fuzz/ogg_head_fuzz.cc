// The beginning of a file that says it is OGG.
#include "tests/fuzz/container_head_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  segue::fuzz::check_head(&segue::edge::ogg_head, data, size);
  return 0;
}
