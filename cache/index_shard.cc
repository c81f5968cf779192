#include "cache/index_shard.h"

#include <algorithm>

#include "base/assert.h"

namespace segue::cache {
namespace {

// What waits for the table's flush: a 128th of the slots (over a 1 TB drive 8 GB of writes), but
// enough for small drives.
constexpr uint32_t kSlotsPerChange = 128;
// Between two passes of upkeep, a second apart: 128 MiB of whole slices for a shard of 4 GiB.
constexpr uint32_t kChangesMin = 512;

}  // namespace

uint64_t fingerprint_of(const SliceKey& key) noexcept {
  const uint64_t slice = mix(key.generation.value * 0x9e3779b97f4a7c15ULL + key.slice.value);
  return mix(key.key.low ^ mix(key.key.high ^ slice));
}

uint32_t shard_of(uint64_t fingerprint, uint32_t shards) noexcept {
  return static_cast<uint32_t>(((fingerprint >> 48) * shards) >> 16);
}

bool IndexShard::Area::may_evict(uint32_t entry) const noexcept {
#ifdef SEGUE_PLANTED_BUG_slot_reused_while_read
  return true;
#endif
  return shard.slots_[first + entry].readers == 0;
}

uint64_t IndexShard::Area::fingerprint_of(uint32_t entry) const noexcept {
  return shard.fingerprints_[first + entry];
}

IndexShard::IndexShard(const Geometry& geometry, uint32_t shard, EvictionPolicy policy)
    : geometry_(geometry),
      shard_(shard),
      slot_count_(geometry.slots_per_shard()),
      changes_max_(std::max(kChangesMin, slot_count_ / kSlotsPerChange)),
      fingerprints_(std::make_unique<uint64_t[]>(slot_count_)),
      records_(std::make_unique<uint32_t[]>(slot_count_)),
      slots_(std::make_unique<Packed[]>(slot_count_)),
      map_(slot_count_, fingerprints_.get()),
      ghosts_(slot_count_),
      dirty_(geometry.table().pages_per_shard(), 0) {
  changes_.reserve(changes_max_);
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    areas_.push_back(std::make_unique<Area>(*this, geometry.local_first()[c],
                                            geometry.local_first()[c + 1], policy));
  }
}

IndexShard::Area& IndexShard::area_of(uint32_t local) noexcept {
  return *areas_[static_cast<uint8_t>(geometry_.class_of_local(local))];
}

void IndexShard::apply(uint32_t local, SlotEvent event) noexcept {
  const std::optional<SlotState> to = next(state_of(local), event);
  SEGUE_ASSERT(to.has_value());
  set_state(local, *to);
}

void IndexShard::set_state(uint32_t local, SlotState to) noexcept {
  const bool was_live = state_of(local) == SlotState::Live;
  const bool is_live = to == SlotState::Live;
  slots_[local].state = static_cast<uint32_t>(to) & 7U;
  if (was_live == is_live) return;
  uint32_t& live = live_[static_cast<uint8_t>(geometry_.class_of_local(local))];
  live = is_live ? live + 1 : live - 1;
  payload_bytes_ =
      is_live ? payload_bytes_ + slots_[local].length : payload_bytes_ - slots_[local].length;
}

void IndexShard::mark_dirty(uint32_t local) noexcept {
  const uint32_t first = area_of(local).first;
  dirty_[geometry_.table().page_in_shard_of(local)] |=
      uint64_t{1} << ((local - first) % format::kEntriesPerTablePage);
}

void IndexShard::push_free(Area& area, uint32_t local) noexcept {
  fingerprints_[local] = area.free_first;
  area.free_first = local;
  ++area.free_count;
}

bool IndexShard::has_room_for_change() const noexcept {
  // Every write in flight has its place set aside.
  return changes_.size() + writing_ < changes_max_;
}

bool IndexShard::wants_flush() const noexcept {
  const std::lock_guard lock(mutex_);
  return (changes_.size() + writing_) * 4 > changes_max_;
}

void IndexShard::drop_stale_changes() noexcept {
  std::erase_if(changes_, [this](const Change& change) {
    return state_of(change.local) != SlotState::Live ||
           fingerprints_[change.local] != segue::cache::fingerprint_of(change.entry.key);
  });
}

std::optional<IndexShard::Held> IndexShard::hold(uint64_t fingerprint, UseId use,
                                                 uint32_t now_seconds) noexcept {
  const std::lock_guard lock(mutex_);
  const uint32_t local = map_.find(fingerprint);
  if (local == kNoEntry || state_of(local) != SlotState::Live) return std::nullopt;
  if (slots_[local].readers == kReadersMax) return std::nullopt;
  ++slots_[local].readers;
  Area& area = area_of(local);
  area.order->touch(local - area.first, use, now_seconds);
  return Held{.local = local, .length = slots_[local].length};
}

void IndexShard::release(uint32_t local) noexcept {
  const std::lock_guard lock(mutex_);
  SEGUE_ASSERT(slots_[local].readers > 0);
  --slots_[local].readers;
  if (state_of(local) == SlotState::Retiring) retire(area_of(local), local);
}

bool IndexShard::contains(uint64_t fingerprint) const noexcept {
  const std::lock_guard lock(mutex_);
  const uint32_t local = map_.find(fingerprint);
  return local != kNoEntry && state_of(local) == SlotState::Live;
}

bool IndexShard::should_admit(uint64_t fingerprint, SizeClass size_class, UseId use,
                              bool budget_to_spare) noexcept {
  const std::lock_guard lock(mutex_);
  if (map_.find(fingerprint) != kNoEntry) return false;
  if (budget_to_spare || areas_[static_cast<uint8_t>(size_class)]->free_count > 0) return true;
  switch (ghosts_.find(fingerprint, use)) {
    case GhostList::Seen::AnotherUse:
      return true;
    case GhostList::Seen::SameUse:
      return false;
    case GhostList::Seen::Never:
      break;
  }
  ghosts_.add(fingerprint, use);
  return false;
}

Result<IndexShard::Taken> IndexShard::take(uint64_t fingerprint, SizeClass size_class,
                                           RecordNumber record, uint32_t length) noexcept {
  const std::lock_guard lock(mutex_);
  if (map_.find(fingerprint) != kNoEntry) {
    return fail(Side::Self, Kind::Mismatch, "slice is here already");
  }
  if (!has_room_for_change()) drop_stale_changes();
  if (!has_room_for_change()) {
    return fail_retryable(Side::Self, Kind::Overloaded, "slot table flush is behind");
  }
  Area& area = *areas_[static_cast<uint8_t>(size_class)];
  Taken taken;
  if (area.free_count == 0) {
    const uint32_t entry = area.order->take_victim(area);
    if (entry == kNoEntry) return fail_retryable(Side::Self, Kind::Overloaded, "slots all held");
    const uint32_t victim = area.first + entry;
    taken.evicted = RecordNumber{records_[victim]};
    unlink(area, victim);
  }
  SEGUE_ASSERT(area.free_first != kNoEntry);
  const uint32_t local = area.free_first;
  area.free_first = static_cast<uint32_t>(fingerprints_[local]);
  --area.free_count;
  apply(local, SlotEvent::Take);
  fingerprints_[local] = fingerprint;
  records_[local] = record.value;
  slots_[local].length = length & ((1U << 19) - 1);
  slots_[local].verified = 0;
  slots_[local].doomed = 0;
  map_.insert(local);
  // Whatever the table says of the slot is no longer true.
  mark_dirty(local);
  ghosts_.take(fingerprint);
  ++writing_;
  taken.local = local;
  return taken;
}

std::optional<RecordNumber> IndexShard::evict(SizeClass size_class) noexcept {
  const std::lock_guard lock(mutex_);
  Area& area = *areas_[static_cast<uint8_t>(size_class)];
  const uint32_t entry = area.order->take_victim(area);
  if (entry == kNoEntry) return std::nullopt;
  unlink(area, area.first + entry);
  return RecordNumber{records_[area.first + entry]};
}

bool IndexShard::written(uint32_t local, const SlotEntry& entry, uint32_t now_seconds) noexcept {
  const std::lock_guard lock(mutex_);
  --writing_;
  Area& area = area_of(local);
  if (slots_[local].doomed != 0) {
    apply(local, SlotEvent::Dropped);
    push_free(area, local);
    return false;
  }
  apply(local, SlotEvent::Written);
  slots_[local].verified = 1;
  area.order->insert(local - area.first, fingerprints_[local], now_seconds);
  mark_dirty(local);
  SEGUE_ASSERT(changes_.size() < changes_max_);
  changes_.push_back({.local = local, .nth = 0, .entry = entry});
  return true;
}

void IndexShard::failed(uint32_t local) noexcept {
  const std::lock_guard lock(mutex_);
  --writing_;
  if (slots_[local].doomed == 0) map_.erase(local);
  apply(local, SlotEvent::Failed);
}

void IndexShard::dropped(uint32_t local) noexcept {
  const std::lock_guard lock(mutex_);
  --writing_;
  if (slots_[local].doomed == 0) map_.erase(local);
  apply(local, SlotEvent::Dropped);
  push_free(area_of(local), local);
}

void IndexShard::unlink(Area& area, uint32_t local) noexcept {
  map_.erase(local);
  apply(local, SlotEvent::Evict);
  mark_dirty(local);
  retire(area, local);
}

void IndexShard::retire(Area& area, uint32_t local) noexcept {
#ifndef SEGUE_PLANTED_BUG_slot_reused_while_read
  if (slots_[local].readers > 0) return;
#endif
  apply(local, SlotEvent::LastReaderGone);
  push_free(area, local);
}

std::optional<RecordNumber> IndexShard::forget(uint64_t fingerprint) noexcept {
  const std::lock_guard lock(mutex_);
  const uint32_t local = map_.find(fingerprint);
  if (local == kNoEntry) return std::nullopt;
  if (state_of(local) == SlotState::Writing) {
    // The write cannot be called back. Its key is free again at once; written() frees the slot,
    // and whoever writes gives back the record.
    slots_[local].doomed = 1;
    map_.erase(local);
    return std::nullopt;
  }
  Area& area = area_of(local);
  area.order->remove(local - area.first);
  unlink(area, local);
  return RecordNumber{records_[local]};
}

std::optional<RecordNumber> IndexShard::unlink_held(uint32_t local) noexcept {
  const std::lock_guard lock(mutex_);
  SEGUE_ASSERT(slots_[local].readers > 0);
  if (state_of(local) != SlotState::Live) return std::nullopt;
  Area& area = area_of(local);
  area.order->remove(local - area.first);
  unlink(area, local);
  return RecordNumber{records_[local]};
}

void IndexShard::forget_all(std::vector<RecordNumber>& unnamed) {
  const std::lock_guard lock(mutex_);
  for (uint32_t local = 0; local < slot_count_; ++local) {
    if (state_of(local) != SlotState::Live) continue;
    unnamed.emplace_back(records_[local]);
    Area& area = area_of(local);
    area.order->remove(local - area.first);
    unlink(area, local);
  }
}

bool IndexShard::verified(uint32_t local) const noexcept {
  const std::lock_guard lock(mutex_);
  return slots_[local].verified != 0;
}

void IndexShard::set_verified(uint32_t local) noexcept {
  const std::lock_guard lock(mutex_);
  slots_[local].verified = 1;
}

void IndexShard::doubt_everything() noexcept {
  const std::lock_guard lock(mutex_);
  for (uint32_t local = 0; local < slot_count_; ++local) {
    slots_[local].verified = 0;
    if (state_of(local) != SlotState::Live) mark_dirty(local);
  }
}

IndexShard::Usage IndexShard::usage() const {
  const std::lock_guard lock(mutex_);
  Usage usage{.live = live_, .payload_bytes = payload_bytes_};
  for (const std::unique_ptr<Area>& area : areas_) {
    usage.index_bytes += sizeof(Area) + area->order->order_bytes();
    usage.ghosts += area->order->ghosts();
  }
  usage.index_bytes +=
      sizeof(*this) + slot_count_ * (sizeof(uint64_t) + sizeof(uint32_t) + sizeof(Packed)) +
      map_.bytes() + dirty_.size() * sizeof(uint64_t) + changes_.capacity() * sizeof(Change);
  usage.ghosts += ghosts_.capacity();
  return usage;
}

IndexShard::Census IndexShard::census() const {
  const std::lock_guard lock(mutex_);
  Census census;
  uint64_t payload_bytes = 0;
  std::array<uint32_t, kSizeClasses> live{};
  for (uint32_t local = 0; local < slot_count_; ++local) {
    ++census.states[slots_[local].state];
    census.readers += slots_[local].readers;
    if (state_of(local) != SlotState::Live) continue;
    ++live[static_cast<uint8_t>(geometry_.class_of_local(local))];
    payload_bytes += slots_[local].length;
  }
  SEGUE_ASSERT(live == live_ && payload_bytes == payload_bytes_);
  return census;
}

}  // namespace segue::cache
