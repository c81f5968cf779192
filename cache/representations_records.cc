// What the representation table knows of records on the drives.
#include <utility>

#include "cache/representations.h"

namespace segue::cache {

bool Representations::add_found(const KeyHash& key, Sequence generation, uint8_t drive,
                                RecordNumber record) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  uint32_t index = find_in(shard, key);
  if (index != kNone && at(shard, index).generation_id >= generation) return false;
  if (index == kNone) index = insert(shard, key);
  if (index == kNone) return false;
  Entry& entry = at(shard, index);
  entry.generation_id = generation;
  entry.validated_at = generation;
  entry.drive = drive;
  entry.record = record;
  return true;
}

std::optional<Representations::Record> Representations::record_of(
    const KeyHash& key) const noexcept {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, key);
  if (index == kNone) return std::nullopt;
  const Entry& entry = at(shard, index);
  return Record{.drive = entry.drive,
                .number = entry.record,
                .generation = entry.generation_id,
                .stale = entry.record_stale,
                .in_ram = static_cast<bool>(entry.generation)};
}

RecordNumber Representations::record_of(const Generation& generation) const noexcept {
  Shard& shard = shard_of(generation.key());
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, generation.key());
  if (index == kNone) return kNoRecord;
  const Entry& entry = at(shard, index);
  return is(entry, generation) && !entry.record_stale ? entry.record : kNoRecord;
}

Ref<const StoredFacts> Representations::facts_to_record(
    const Generation& generation) const noexcept {
  Shard& shard = shard_of(generation.key());
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, generation.key());
  if (index == kNone) return {};
  const Entry& entry = at(shard, index);
  if (!is(entry, generation) || entry.ram_only) return {};
  return entry.facts;
}

bool Representations::set_record(const Generation& generation, RecordNumber record) noexcept {
  Shard& shard = shard_of(generation.key());
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, generation.key());
  // A record that no slot names is nothing, so one written in vain needs no tombstone.
  if (index == kNone) return false;
  Entry& entry = at(shard, index);
  if (!is(entry, generation)) return false;
  entry.record = record;
  set_stale(entry, false);
  return true;
}

void Representations::lose_record(const Generation& generation) noexcept {
  Shard& shard = shard_of(generation.key());
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, generation.key());
  if (index == kNone) return;
  Entry& entry = at(shard, index);
  if (!is(entry, generation) || entry.record_stale) return;
  entry.record = kNoRecord;
}

void Representations::clear_record(const KeyHash& key, RecordNumber record) noexcept {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, key);
  if (index == kNone) return;
  Entry& entry = at(shard, index);
  if (!entry.record_stale || entry.record != record) return;
  set_stale(entry, false);
  entry.record = kNoRecord;
  if (!entry.generation) erase(shard, index);
}

void Representations::judge_record(const KeyHash& key, Sequence generation,
                                   std::string_view key_text,
                                   std::span<const uint64_t> tag_hashes) noexcept {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, key);
  if (index == kNone) return;
  Entry& entry = at(shard, index);
  // In RAM: checked there, with its own texts.
  if (entry.generation || entry.record_stale || entry.generation_id != generation) return;
  const Sequence latest = purges_.latest();
  const PurgeMarks marks = purges_.match(key_text, tag_hashes);
  if (marks.hard > entry.generation_id) {
    set_stale(entry, true);
    return;
  }
  if (marks.soft > entry.validated_at) entry.soft_purged = true;
  entry.checked_to = latest;
}

bool Representations::may_stay(const KeyHash& key, Sequence generation) const noexcept {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, key);
  if (index == kNone) return false;
  const Entry& entry = at(shard, index);
  return entry.generation_id == generation && !entry.record_stale;
}

bool Representations::commit_load(const KeyHash& key, Sequence sequence, Selected selected,
                                  std::vector<uint64_t> tag_hashes, uint32_t now_seconds) noexcept {
  selected.generation->tag_hashes_ = std::move(tag_hashes);
  WaitList waiters;
  Selected gone;
  Dropped dropped;
  bool installed = false;
  {
    Shard& shard = shard_of(key);
    const std::lock_guard lock(shard.mutex);
    PurgeMarks marks;  // what they say was done to the entry at once
    waiters = end_contact(shard, key, sequence, marks);
    const uint32_t index = find_in(shard, key);
    if (index == kNone || !is_awaited(at(shard, index), *selected.generation)) {
      set_detached(*selected.generation, false);
    } else {
      Entry& entry = at(shard, index);
      selected.generation->drive_ = entry.drive;
      entry.ram_only = false;
      entry.touched_seconds = now_seconds;
      put_in_ram(shard, index, std::move(selected));
      installed = is_in_force(entry, entry.generation->key_text());
      if (installed) {
        shrink(shard, index, dropped);
      } else {
        gone = remove(shard, index, false);
      }
    }
  }
  waiters.wake();
  return installed;
}

void Representations::fail_load(const KeyHash& key, Sequence sequence) noexcept {
  WaitList waiters;
  Selected gone;
  {
    Shard& shard = shard_of(key);
    const std::lock_guard lock(shard.mutex);
    PurgeMarks marks;
    waiters = end_contact(shard, key, sequence, marks);
    const uint32_t index = find_in(shard, key);
    if (index != kNone && !at(shard, index).generation) gone = remove(shard, index, false);
  }
  waiters.wake();
}

uint32_t Representations::sweep_records(Sweep& at_entry, std::span<KeyHash> out) const noexcept {
  constexpr uint32_t kBlocksPerCall = 64;
  uint32_t count = 0;
  for (uint32_t block = 0; block < kBlocksPerCall && !ended(at_entry); ++block) {
    const Shard& shard = *shards_[at_entry.shard];
    const std::lock_guard lock(shard.mutex);
    if (at_entry.entry >= shard.blocks.size() * kEntriesPerBlock) {
      at_entry = {at_entry.shard + 1, 0};
      continue;
    }
    const Sequence latest = purges_.latest();
    do {
      if (count == out.size()) return count;
      const Entry& entry = at(shard, at_entry.entry++);
      if (!entry.used || entry.record == kNoRecord) continue;
      const bool unchecked = !entry.generation && entry.checked_to < latest;
      if (entry.record_stale || unchecked) out[count++] = entry.key;
    } while (at_entry.entry % kEntriesPerBlock != 0);
  }
  return count;
}

}  // namespace segue::cache
