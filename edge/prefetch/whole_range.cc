#include "edge/prefetch/whole_range.h"

namespace segue::edge {

bool is_here(cache::Store& store, const KeyHash& key, std::string_view key_text,
             ByteRange& range) noexcept {
  const auto found = store.look_up(key, key_text);
  if (found.known != cache::Store::Known::Yes) return false;
  const cache::Generation& generation = *found.selected.generation;
  range = range.clipped(generation.complete_length());
  if (range.empty()) return true;
  const cache::SliceIndex last = cache::slice_at(range.end - 1);
  for (cache::SliceIndex slice = cache::slice_at(range.first); slice <= last; ++slice.value) {
    const cache::Where where = store.where(generation, slice);
    if (where != cache::Where::Resident && where != cache::Where::OnDrive) return false;
  }
  return true;
}

}  // namespace segue::edge
