// tests/fuzz/container_head_input.h - one fuzz input as the beginning of a file.
#pragma once
#include "edge/prefetch/container_head.h"
#include "tests/fuzz/fuzz_input.h"

namespace segue::fuzz {

/// The first byte chooses how long the file says it is: shorter than its beginning, or far longer.
/// Whatever it holds, the head that `parse` finds lies within that length.
inline void check_head(
    std::optional<edge::ContainerHead> (*parse)(const edge::HeadWanted&) noexcept,
    const uint8_t* data, size_t size) {
  if (size == 0) return;
  const uint64_t length = uint64_t{1} << (data[0] % 48);
  const edge::HeadWanted wanted{.beginning = std::as_bytes(std::span(data + 1, size - 1)),
                                .complete_length = length};
  for (const auto& head : {parse(wanted), edge::container_head(wanted)})
    if (head) SEGUE_ASSERT(head->head_bytes <= length);
}

}  // namespace segue::fuzz
