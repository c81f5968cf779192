#include "edge/metrics/recent_table.h"

#include <algorithm>
#include <span>

#include "base/assert.h"
#include "base/hash.h"

namespace segue::edge {
namespace {

// 0 stands for a free entry; two keys in 2^64 share a place.
constexpr uint64_t never_zero(uint64_t key) noexcept { return key == 0 ? 1 : key; }

}  // namespace

RecentTable::RecentTable(uint32_t entries_max)
    : entries_(size_t{(entries_max + kWays - 1) / kWays} * kWays) {
  SEGUE_ASSERT(entries_max > 0);
}

size_t RecentTable::row_of(uint64_t key) const noexcept {
  return mix(key) % (entries_.size() / kWays) * kWays;
}

const RecentTable::Entry* RecentTable::find(uint64_t key) const noexcept {
  const std::span row(entries_.data() + row_of(never_zero(key)), kWays);
  const auto found = std::ranges::find(row, never_zero(key), &Entry::key);
  return found == row.end() ? nullptr : &*found;
}

void RecentTable::put(Entry entry) noexcept {
  entry.key = never_zero(entry.key);
  const std::span row(entries_.data() + row_of(entry.key), kWays);
  auto place = std::ranges::find(row, entry.key, &Entry::key);
  if (place == row.end()) place = std::ranges::find(row, uint64_t{0}, &Entry::key);
  if (place == row.end()) place = std::ranges::min_element(row, {}, &Entry::seen);
  *place = entry;
}

}  // namespace segue::edge
