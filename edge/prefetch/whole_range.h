// edge/prefetch/whole_range.h - whether what is hinted at is here already.
#pragma once
#include <string_view>

#include "base/byte_range.h"
#include "cache/store.h"

namespace segue::edge {

/// Clips `range` to the representation where its length is known. True: all of it is in RAM or on a
/// drive. Any loop; cannot wait, cannot allocate.
[[nodiscard]] bool is_here(cache::Store& store, const KeyHash& key, std::string_view key_text,
                           ByteRange& range) noexcept;

}  // namespace segue::edge
