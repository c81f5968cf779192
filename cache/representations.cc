#include "cache/representations.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace segue::cache {

namespace {
constexpr uint64_t kShardBytesMin = 256 * KiB;
constexpr uint32_t kShardsMax = 64;
// A typical representation in RAM: entry, Generation with its key text, facts.
constexpr uint64_t kTypicalBytes = 768;
constexpr uint32_t kFixedBytes = 160;  // Generation, StoredFacts and their allocations
}  // namespace

Representations::Representations(uint64_t bytes_max, uint64_t records, PurgeTable& purges)
    : purges_(purges) {
  const auto shards = static_cast<uint32_t>(
      std::clamp(std::bit_floor(std::max<uint64_t>(1, bytes_max / kShardBytesMin)), uint64_t{1},
                 uint64_t{kShardsMax}));
  shard_mask_ = shards - 1;
  shard_bytes_max_ = bytes_max / shards;
  const uint64_t expected = (bytes_max / kTypicalBytes + records) / shards + 1;
  // Keys spread evenly: twice the mean is not reached by chance, and then the table is full.
  shard_entries_max_ = static_cast<uint32_t>(std::min<uint64_t>(4 * expected, kNone / 2));
  for (uint32_t i = 0; i < shards; ++i) {
    auto shard = std::make_unique<Shard>();
    shard->buckets.assign(std::bit_ceil(expected), kNone);
    shards_.push_back(std::move(shard));
  }
}

Representations::~Representations() { SEGUE_ASSERT(contacts() == 0); }

// --- entries ---

uint32_t Representations::find_in(const Shard& shard, const KeyHash& key) noexcept {
  uint32_t index = shard.buckets[bucket_of(shard, key)];
  while (index != kNone && at(shard, index).key != key) index = at(shard, index).next;
  return index;
}

uint32_t Representations::insert(Shard& shard, const KeyHash& key) {
  if (shard.free == kNone) {
    const auto first = static_cast<uint32_t>(shard.blocks.size()) * kEntriesPerBlock;
    if (first + kEntriesPerBlock > shard_entries_max_ + kEntriesPerBlock) return kNone;
    shard.blocks.push_back(std::make_unique<Entry[]>(kEntriesPerBlock));
    for (uint32_t i = kEntriesPerBlock; i-- > 0;) {
      at(shard, first + i).next = shard.free;
      shard.free = first + i;
    }
  }
  const uint32_t index = shard.free;
  Entry& entry = at(shard, index);
  shard.free = entry.next;
  entry = Entry{};
  entry.key = key;
  entry.used = true;
  uint32_t& bucket = shard.buckets[bucket_of(shard, key)];
  entry.next = std::exchange(bucket, index);
  ++shard.entries;
  count_.fetch_add(1, std::memory_order_relaxed);
  return index;
}

void Representations::erase(Shard& shard, uint32_t index) noexcept {
  Entry& entry = at(shard, index);
  SEGUE_ASSERT(!entry.generation);  // its bytes would stay counted
  uint32_t* link = &shard.buckets[bucket_of(shard, entry.key)];
  while (*link != index) {
    SEGUE_ASSERT(*link != kNone);
    link = &at(shard, *link).next;
  }
  *link = entry.next;
  entry.used = false;
  entry.next = std::exchange(shard.free, index);
  --shard.entries;
  count_.fetch_sub(1, std::memory_order_relaxed);
}

void Representations::link_newest(Shard& shard, uint32_t index) noexcept {
  Entry& entry = at(shard, index);
  entry.older = shard.newest;
  entry.newer = kNone;
  if (shard.newest != kNone) at(shard, shard.newest).newer = index;
  shard.newest = index;
  if (shard.oldest == kNone) shard.oldest = index;
}

void Representations::unlink_order(Shard& shard, uint32_t index) noexcept {
  Entry& entry = at(shard, index);
  (entry.newer == kNone ? shard.newest : at(shard, entry.newer).older) = entry.older;
  (entry.older == kNone ? shard.oldest : at(shard, entry.older).newer) = entry.newer;
  entry.newer = entry.older = kNone;
}

uint32_t Representations::charge(const Selected& selected) noexcept {
  const Generation& generation = *selected.generation;
  return static_cast<uint32_t>(sizeof(Entry) + kFixedBytes + generation.key_text().size() +
                               generation.tag_hashes().size_bytes()) +
         (selected.facts ? selected.facts->encoded_bytes() : 0);
}

void Representations::put_in_ram(Shard& shard, uint32_t index, Selected selected) noexcept {
  Entry& entry = at(shard, index);
  SEGUE_ASSERT(!entry.generation);
  entry.bytes = charge(selected);
  entry.generation = std::move(selected.generation);
  entry.facts = std::move(selected.facts);
  entry.generation_id = entry.generation->id();
  shard.bytes += entry.bytes;
  bytes_.fetch_add(entry.bytes, std::memory_order_relaxed);
  link_newest(shard, index);
}

Selected Representations::take_from_ram(Shard& shard, uint32_t index) noexcept {
  Entry& entry = at(shard, index);
  if (!entry.generation) return {};
  unlink_order(shard, index);
  shard.bytes -= entry.bytes;
  bytes_.fetch_sub(entry.bytes, std::memory_order_relaxed);
  entry.bytes = 0;
  return {std::exchange(entry.generation, {}), std::exchange(entry.facts, {})};
}

void Representations::set_stale(Entry& entry, bool stale) noexcept {
  if (entry.record_stale == stale) return;
  entry.record_stale = stale;
  if (stale) {
    stale_.fetch_add(1, std::memory_order_relaxed);
  } else {
    stale_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void Representations::set_detached(Generation& generation, bool cut) noexcept {
  if (cut) generation.cut_.store(true, std::memory_order_release);
  generation.detached_.store(true, std::memory_order_release);
}

Selected Representations::remove(Shard& shard, uint32_t index, bool cut) noexcept {
  Selected gone = take_from_ram(shard, index);
  if (gone) set_detached(*gone.generation, cut);
  Entry& entry = at(shard, index);
  if (entry.record == kNoRecord) {
    erase(shard, index);
  } else {
    set_stale(entry, true);
  }
  return gone;
}

void Representations::shrink(Shard& shard, uint32_t keep, Dropped& dropped) noexcept {
  for (Selected& item : dropped.items) {
    if (shard.bytes <= shard_bytes_max_ || shard.oldest == kNone || shard.oldest == keep) return;
    const uint32_t index = shard.oldest;
    Entry& entry = at(shard, index);
    if (entry.generation->readers() > 0) {
      unlink_order(shard, index);  // in use: a second chance; these few may exceed the bound
      link_newest(shard, index);
      continue;
    }
    // Detached, so that at most one object of a generation is in force at any time: its slices in
    // RAM serve again once the record is loaded.
    const bool recorded = entry.record != kNoRecord && !entry.record_stale;
    if (recorded) {
      item = take_from_ram(shard, index);
      set_detached(*item.generation, false);
    } else {
      item = remove(shard, index, false);
    }
  }
}

// --- look-up ---

bool Representations::is_in_force(Entry& entry, std::string_view key_text) noexcept {
  const Sequence latest = purges_.latest();
  if (entry.checked_to >= latest) return true;
  const auto tags = entry.generation ? entry.generation->tag_hashes() : std::span<const uint64_t>{};
  const PurgeMarks marks = purges_.match(key_text, tags);
  if (marks.hard > entry.generation_id) return false;
  if (marks.soft > entry.validated_at) entry.soft_purged = true;
  // The tags of one that is on a drive only are not known yet.
  if (entry.generation) entry.checked_to = latest;
  return true;
}

Representations::LookUp Representations::look_up(const KeyHash& key, std::string_view key_text,
                                                 uint32_t now_seconds) noexcept {
  Selected gone;  // let go after the lock
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, key);
  if (index == kNone) return {};
  Entry& entry = at(shard, index);
  if (!entry.generation) {
    if (entry.record == kNoRecord || entry.record_stale) return {};
    return {is_in_force(entry, key_text) ? Known::OnDrive : Known::No, {}};
  }
  // Two keys of one hash: not this one (the next contact replaces it).
  if (entry.generation->key_text() != key_text) return {};
  if (!is_in_force(entry, key_text)) {
    gone = remove(shard, index, false);
    return {};
  }
  if (entry.touched_seconds != now_seconds) {
    entry.touched_seconds = now_seconds;
    unlink_order(shard, index);
    link_newest(shard, index);
  }
  return {Known::Yes, {entry.generation, entry.facts, entry.soft_purged}};
}

// --- contacts ---

bool Representations::start_wait_contact(const KeyHash& key, WaitTicket& ticket) noexcept {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  Contact* contact = shard.contacts.find(key);
  return contact != nullptr && contact->waiters.try_enqueue(ticket);
}

bool Representations::is_awaited(const KeyHash& key) noexcept {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const Contact* contact = shard.contacts.find(key);
  return contact != nullptr && contact->waiters.has_anybody();
}

WaitList Representations::end_contact(Shard& shard, const KeyHash& key, Sequence sequence,
                                      PurgeMarks& marks) noexcept {
  Contact* contact = shard.contacts.find(key);
  SEGUE_ASSERT(contact != nullptr);
  SEGUE_ASSERT(contact->sequence == sequence);
  ContactTable::Ended ended = shard.contacts.remove(*contact);
  contacts_.fetch_sub(1, std::memory_order_relaxed);
  marks = ended.marks;
  return std::move(ended.waiters);
}

void Representations::abandon_contact(const KeyHash& key, Sequence sequence) noexcept {
  WaitList waiters;
  {
    Shard& shard = shard_of(key);
    const std::lock_guard lock(shard.mutex);
    PurgeMarks marks;
    waiters = end_contact(shard, key, sequence, marks);
  }
  waiters.wake();
}

bool Representations::commit(const KeyHash& key, Sequence sequence, Selected selected,
                             std::vector<uint64_t> tag_hashes, bool ram_only, uint8_t drive,
                             uint32_t now_seconds) noexcept {
  SEGUE_ASSERT(selected.generation);
  SEGUE_ASSERT(selected.generation->id() == sequence);
  SEGUE_ASSERT(selected.generation->key() == key);
  selected.generation->tag_hashes_ = std::move(tag_hashes);
  WaitList waiters;
  Selected replaced;
  Dropped dropped;
  bool installed = false;
  {
    Shard& shard = shard_of(key);
    const std::lock_guard lock(shard.mutex);
    PurgeMarks marks;
    waiters = end_contact(shard, key, sequence, marks);
    const Sequence latest = purges_.latest();
    // What a statement is compared with: when the origin was asked, not when it answered.
#ifdef SEGUE_PLANTED_BUG_purge_sequence_late
    const Sequence asked{UINT64_MAX};
#else
    const Sequence asked = sequence;
#endif
    if (latest > sequence) {
      marks.raise(
          purges_.match(selected.generation->key_text(), selected.generation->tag_hashes()));
    }
    uint32_t index = find_in(shard, key);
    if (marks.hard <= asked && index == kNone) index = insert(shard, key);
    installed = marks.hard <= asked && index != kNone;
    if (installed) {
      Entry& entry = at(shard, index);
      replaced = take_from_ram(shard, index);
      if (replaced) set_detached(*replaced.generation, false);
      if (entry.record == kNoRecord) {
        entry.drive = drive;
      } else {
        set_stale(entry, true);  // the new generation's record is written over it
      }
      selected.generation->drive_ = entry.drive;
      entry.soft_purged = marks.soft > asked;
      entry.ram_only = ram_only;
      entry.validated_at = sequence;
      entry.checked_to = latest;
      entry.touched_seconds = now_seconds;
      put_in_ram(shard, index, std::move(selected));
      shrink(shard, index, dropped);
    } else {
      set_detached(*selected.generation, false);
    }
  }
  waiters.wake();
  return installed;
}

bool Representations::freshen(const KeyHash& key, Sequence sequence,
                              const Ref<Generation>& generation,
                              Ref<const StoredFacts> facts) noexcept {
  WaitList waiters;
  Selected gone;
  Dropped dropped;
  bool fresh = false;
  {
    Shard& shard = shard_of(key);
    const std::lock_guard lock(shard.mutex);
    PurgeMarks marks;
    waiters = end_contact(shard, key, sequence, marks);
    const uint32_t index = find_in(shard, key);
    if (index != kNone && at(shard, index).generation == generation) {
      Entry& entry = at(shard, index);
      entry.validated_at = std::max(entry.validated_at, sequence);
      const Sequence latest = purges_.latest();
      marks.raise(purges_.match(generation->key_text(), generation->tag_hashes()));
      fresh = marks.hard <= entry.generation_id;
      if (fresh) {
        // A soft purge made after the revalidation was sent is not answered by it.
        entry.soft_purged = marks.soft > sequence;
        entry.checked_to = latest;
        gone = take_from_ram(shard, index);
        put_in_ram(shard, index, {gone.generation, std::move(facts)});
        shrink(shard, index, dropped);
      } else {
        gone = remove(shard, index, false);
      }
    }
  }
  waiters.wake();
  return fresh;
}

void Representations::detach(const Ref<Generation>& generation) noexcept {
  Selected gone;
  Shard& shard = shard_of(generation->key());
  const std::lock_guard lock(shard.mutex);
  const uint32_t index = find_in(shard, generation->key());
  if (index != kNone && at(shard, index).generation == generation) {
    gone = remove(shard, index, false);
  } else {
    set_detached(*generation, false);
  }
}

// --- purge ---

void Representations::purge_key(const KeyHash& key, const PurgeStatement& statement,
                                bool cut) noexcept {
  Selected gone;
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  if (Contact* contact = shard.contacts.find(key);
      contact != nullptr && contact->sequence < statement.sequence) {
    contact->marks.raise(statement.soft, statement.sequence);
  }
  const uint32_t index = find_in(shard, key);
  if (index == kNone) return;
  Entry& entry = at(shard, index);
  if (statement.soft) {
    if (entry.validated_at < statement.sequence) entry.soft_purged = true;
  } else if (entry.generation_id < statement.sequence) {
    gone = remove(shard, index, cut);
  }
}

bool Representations::sweep(Sweep& at_entry, bool cut) noexcept {
  if (ended(at_entry)) return false;
  Selected gone[kEntriesPerBlock];
  Shard& shard = *shards_[at_entry.shard];
  const std::lock_guard lock(shard.mutex);
  if (at_entry.entry >= shard.blocks.size() * kEntriesPerBlock) {
    at_entry = {at_entry.shard + 1, 0};
    return !ended(at_entry);
  }
  for (Selected& slot : gone) {
    const uint32_t index = at_entry.entry++;
    Entry& entry = at(shard, index);
    if (!entry.used || !entry.generation) continue;
    if (!is_in_force(entry, entry.generation->key_text())) slot = remove(shard, index, cut);
  }
  return true;
}

Sequence Representations::oldest_contact(Sequence none) const noexcept {
  Sequence oldest = none;
  for (const auto& shard : shards_) {
    const std::lock_guard lock(shard->mutex);
    oldest = std::min(oldest, shard->contacts.oldest(none));
  }
  return oldest;
}

// --- checks ---

void Representations::check_invariants(bool idle) const {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t stale = 0;
  for (const auto& shard : shards_) {
    const std::lock_guard lock(shard->mutex);
    uint32_t in_shard = 0;
    uint64_t in_ram = 0;
    uint64_t shard_bytes = 0;
    for (uint32_t i = 0; i < shard->blocks.size() * kEntriesPerBlock; ++i) {
      const Entry& entry = at(*shard, i);
      if (!entry.used) continue;
      ++in_shard;
      SEGUE_ASSERT(find_in(*shard, entry.key) == i);
      SEGUE_ASSERT(entry.generation || entry.record != kNoRecord);
      SEGUE_ASSERT(!entry.record_stale || entry.record != kNoRecord);
      if (entry.record_stale) ++stale;
      if (!entry.generation) continue;
      SEGUE_ASSERT(entry.generation->id() == entry.generation_id);
      SEGUE_ASSERT(!entry.generation->detached());
      if (idle) SEGUE_ASSERT(entry.generation->readers() == 0);
      ++in_ram;
      shard_bytes += entry.bytes;
    }
    for (uint32_t i = shard->newest; i != kNone; i = at(*shard, i).older) {
      SEGUE_ASSERT(at(*shard, i).generation);
      SEGUE_ASSERT(in_ram > 0);
      --in_ram;
    }
    SEGUE_ASSERT(in_ram == 0);
    SEGUE_ASSERT(in_shard == shard->entries);
    SEGUE_ASSERT(shard_bytes == shard->bytes);
    if (idle) SEGUE_ASSERT(shard->contacts.count() == 0);
    entries += in_shard;
    bytes += shard_bytes;
  }
  SEGUE_ASSERT(entries == count());
  SEGUE_ASSERT(bytes == this->bytes());
  SEGUE_ASSERT(stale == stale_records());
}

}  // namespace segue::cache
