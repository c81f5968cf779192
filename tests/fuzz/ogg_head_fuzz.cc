// The beginning of a file that says it is OGG: whatever it holds, the head lies within its length.
#include "edge/prefetch/container_head.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace segue::edge;
  // The first byte chooses how long the file says it is: shorter than its beginning, or far longer.
  if (size == 0) return 0;
  const uint64_t length = uint64_t{1} << (data[0] % 48);
  const HeadWanted wanted{.beginning = std::as_bytes(std::span(data + 1, size - 1)),
                          .complete_length = length};
  const auto head = ogg_head(wanted);
  if (head) SEGUE_ASSERT(head->head_bytes <= length);
  const auto any = container_head(wanted);
  if (any) SEGUE_ASSERT(any->head_bytes <= length);
  return 0;
}
