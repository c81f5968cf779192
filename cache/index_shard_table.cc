// The part of a shard that the slot table and the start-up see.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/assert.h"
#include "cache/index_shard.h"

namespace segue::cache {
namespace {

/// Sorts entries by their seconds, oldest first: three passes of eleven bits. std::sort took a
/// third of the restart's time.
class BySeconds {
 public:
  struct Item {
    uint32_t seconds;
    uint32_t entry;
  };
  void sort(std::vector<Item>& items) {
    scratch_.resize(items.size());
    for (uint32_t shift = 0; shift < 32; shift += kBits) pass(items, shift);
  }

 private:
  static constexpr uint32_t kBits = 11;
  void pass(std::vector<Item>& items, uint32_t shift) {
    std::array<uint32_t, 1U << kBits> start{};
    const auto digit = [shift](const Item& item) {
      return (item.seconds >> shift) & ((1U << kBits) - 1);
    };
    for (const Item& item : items) ++start[digit(item)];
    if (!items.empty() && start[digit(items[0])] == items.size()) return;  // all alike
    uint32_t sum = 0;
    for (uint32_t& count : start) sum += std::exchange(count, sum);
    for (const Item& item : items) scratch_[start[digit(item)]++] = item;
    items.swap(scratch_);
  }
  std::vector<Item> scratch_;
};

}  // namespace

IndexShard::Changes IndexShard::take_changes() {
  Changes changes;
  changes.pages.reserve(dirty_.size());
  changes.entries.reserve(changes_max_);
  {
    const std::lock_guard lock(mutex_);
    for (uint32_t page = 0; page < dirty_.size(); ++page) {
      if (dirty_[page] == 0) continue;
      DirtyPage dirty{.page_in_shard = page, .changed = std::exchange(dirty_[page], 0), .live = 0};
      const uint32_t first =
          geometry_.table().page_at(geometry_.table().page_of_shard(shard_, page)).first_local;
      for (uint64_t left = dirty.changed; left != 0; left &= left - 1) {
        const auto place = static_cast<uint32_t>(std::countr_zero(left));
        if (first + place < slot_count_ && state_of(first + place) == SlotState::Live) {
          dirty.live |= uint64_t{1} << place;
        }
      }
      changes.pages.push_back(dirty);
    }
    changes.entries.assign(changes_.begin(), changes_.end());
    changes_.clear();
  }
  for (uint32_t i = 0; i < changes.entries.size(); ++i) changes.entries[i].nth = i;
  std::sort(changes.entries.begin(), changes.entries.end(), [](const Change& a, const Change& b) {
    return a.local != b.local ? a.local < b.local : a.nth < b.nth;
  });
  return changes;
}

void IndexShard::give_back(const DirtyPage& page, std::span<const Change> entries) noexcept {
  const std::lock_guard lock(mutex_);
  dirty_[page.page_in_shard] |= page.changed;
  for (const Change& change : entries) {
    if (state_of(change.local) != SlotState::Live) continue;
    if (fingerprints_[change.local] != fingerprint_of(change.entry.key)) continue;
    if (records_[change.local] != change.entry.record.value) continue;
    if (!has_room_for_change()) return;
    changes_.push_back(change);
  }
}

void IndexShard::copy_last_touch(uint32_t first_local, std::span<uint32_t> into) const noexcept {
  const std::lock_guard lock(mutex_);
  Area& area = *areas_[static_cast<uint8_t>(geometry_.class_of_local(first_local))];
  const std::span<const uint32_t> seconds = area.order->last_touch();
  for (uint32_t i = 0; i < into.size(); ++i) {
    const bool live = state_of(first_local + i) == SlotState::Live;
    into[i] = live ? seconds[first_local - area.first + i] : 0;
  }
}

std::span<uint32_t> IndexShard::restored_seconds(uint32_t first_local, uint32_t count) noexcept {
  Area& area = area_of(first_local);
  return area.order->last_touch().subspan(first_local - area.first, count);
}

bool IndexShard::restore(uint32_t local, uint64_t fingerprint, RecordNumber record,
                         uint32_t length) noexcept {
  if (state_of(local) != SlotState::Free || map_.find(fingerprint) != kNoEntry) return false;
  fingerprints_[local] = fingerprint;
  records_[local] = record.value;
  slots_[local].length = length & ((1U << 19) - 1);
  set_state(local, SlotState::Live);
  map_.insert(local);
  return true;
}

void IndexShard::free_restored(uint32_t local) noexcept {
  SEGUE_ASSERT(state_of(local) == SlotState::Live);
  map_.erase(local);
  set_state(local, SlotState::Free);
  mark_dirty(local);
}

void IndexShard::mark_restored_dirty(uint32_t local) noexcept { mark_dirty(local); }

void IndexShard::mark_page_dirty(uint32_t page_in_shard) noexcept {
  // Bit 63 belongs to no entry (a page has 63): the page is written, no entry changes.
  static_assert(format::kEntriesPerTablePage == 63);
  dirty_[page_in_shard] |= uint64_t{1} << 63;
}

void IndexShard::finish_restore() {
  std::vector<BySeconds::Item> items;
  BySeconds by_seconds;
  for (const std::unique_ptr<Area>& area : areas_) {
    items.clear();
    const std::span<const uint32_t> seconds = area->order->last_touch();
    for (uint32_t local = area->end; local-- > area->first;) {
      if (state_of(local) == SlotState::Live) {
        const uint32_t entry = local - area->first;
        items.push_back({.seconds = seconds[entry], .entry = entry});
      } else {
        push_free(*area, local);  // from the end, so that the lowest is taken first
      }
    }
    by_seconds.sort(items);
    for (const BySeconds::Item& item : items) area->order->restore(item.entry, item.seconds);
  }
}

}  // namespace segue::cache
