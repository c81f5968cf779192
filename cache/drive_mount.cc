// Start-up: superblock, journal, access order and slot table into the index.
//
// The two areas are read as one sequence of pieces, several in flight; an entry costs no
// allocation. Slots are verified when first read, records read when first needed.
#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "base/log.h"
#include "base/units.h"
#include "cache/drive_impl.h"
#include "cache/slot_table.h"

namespace segue::cache {
namespace {

constexpr uint32_t kPagesPerPiece = 512;  // 2 MiB a read: eight in flight keep any drive busy

}  // namespace

/// What only the start needs to know.
struct Drive::Impl::Loading {
  struct Found {
    KeyHash key;
    uint64_t generation = 0;  // the newest of its slots; 0: no slot names the record
  };
  Loading(const Geometry& geometry)  // NOLINT(google-explicit-constructor)
      : by_record(geometry.records()), generation_of(geometry.slots()) {}

  std::vector<Found> by_record;
  std::vector<uint64_t> generation_of;  // by slot
  bool mixed = false;                   // some record has slots of several generations or keys
  bool access = true;                   // the access order is loaded first, then the table
  uint32_t next_page = 0;
  uint32_t newest_second = 0;
  uint32_t bad_pages = 0;
  uint32_t unreadable_pages = 0;
};

void Drive::Impl::load_access_page(Loading& loading, uint32_t page, format::PageView bytes) {
  const Geometry::PagedArray::Page slots = geometry.access().page_at(page);
  const std::span<uint32_t> seconds =
      shards[slots.shard]->restored_seconds(slots.first_local, slots.count);
  // A page that is not whole leaves its slots at 0: they count as the oldest.
  if (!decode_access_page(bytes, page, device_id, seconds)) return;
  for (const uint32_t second : seconds) {
    loading.newest_second = std::max(loading.newest_second, second);
  }
}

void Drive::Impl::load_entry(Loading& loading, uint32_t shard, uint32_t local,
                             const SlotEntry& entry, uint64_t fingerprint) {
  Loading::Found& newest = loading.by_record[entry.record.value];
  const bool usable =
      entry.key.generation.value != 0 && shard_of(fingerprint, geometry.shards()) == shard;
  // Two entries for one slice: the same generation means the same bytes, either will do.
  if (!usable || !shards[shard]->restore(local, fingerprint, entry.record, entry.length)) {
    shards[shard]->mark_restored_dirty(local);
    return;
  }
  records.restore(entry.record, entry.key.key);
  loading.generation_of[geometry.slot_number({.shard = shard, .local = local})] =
      entry.key.generation.value;
  if (newest.generation == entry.key.generation.value) return;
  if (newest.generation != 0) loading.mixed = true;
  if (newest.generation < entry.key.generation.value) {
    newest = {.key = entry.key.key, .generation = entry.key.generation.value};
  }
}

void Drive::Impl::load_table_page(Loading& loading, uint32_t page, format::PageView bytes) {
  const auto header = format::load<format::TablePageHeader>(bytes);
  if (header.magic == 0 && header.checksum == 0) return;  // never written
  const Geometry::PagedArray::Page slots = geometry.table().page_at(page);
  if (!table_page_is_valid(bytes, device_id, page)) {
    ++loading.bad_pages;
    shards[slots.shard]->mark_page_dirty(geometry.table().page_in_shard_of(slots.first_local));
    return;
  }
  const uint32_t slot_bytes = bytes_of(geometry.class_of_local(slots.first_local));
  struct Decoded {
    SlotEntry entry;
    uint64_t fingerprint;
    uint32_t local;
  };
  std::array<Decoded, format::kEntriesPerTablePage> decoded;
  uint32_t count = 0;
  for (uint32_t i = 0; i < slots.count; ++i) {
    const auto raw = format::load<format::TableEntry>(
        bytes.subspan(sizeof(format::TablePageHeader) + i * sizeof(format::TableEntry)));
    const auto entry = decode_entry(raw, slot_bytes, geometry.records());
    if (!entry) continue;
    decoded[count] = {*entry, fingerprint_of(entry->key), slots.first_local + i};
    // Each entry touches three places anywhere in tens of megabytes: asked for a page ahead, the
    // waits overlap (measured: a third of the start's time).
    shards[slots.shard]->prefetch(decoded[count].fingerprint);
    records.prefetch(entry->record);
    __builtin_prefetch(&loading.by_record[entry->record.value], 1);
    ++count;
  }
  for (const Decoded& one : std::span(decoded).first(count)) {
    load_entry(loading, slots.shard, one.local, one.entry, one.fingerprint);
  }
}

void Drive::Impl::load_page(Loading& loading, uint32_t page, format::PageView bytes) {
  if (loading.access) {
    load_access_page(loading, page, bytes);
  } else {
    load_table_page(loading, page, bytes);
  }
}

Task<void> Drive::Impl::load_pieces(Impl& impl, Disk& disk, Loading& loading) {
  const AlignedBytes piece(size_t{kPagesPerPiece} * format::kPageBytes);
  const Geometry::PagedArray& area =
      loading.access ? impl.geometry.access() : impl.geometry.table();
  while (loading.next_page < area.pages()) {
    const uint32_t first = loading.next_page;
    const uint32_t count = std::min(kPagesPerPiece, area.pages() - first);
    loading.next_page += count;
    const auto whole = co_await disk.read(
        area.offset_of(first), piece.span().first(size_t{count} * format::kPageBytes), {});
    for (uint32_t i = 0; i < count; ++i) {
      if (!whole) {
        // Something in the piece cannot be read: page by page, and lose that page only.
        const auto read = co_await disk.read(area.offset_of(first + i), piece.page(i), {});
        if (!read) {
          ++loading.unreadable_pages;
          impl.counters.io_errors.fetch_add(1, std::memory_order_relaxed);
          continue;
        }
      }
      impl.load_page(loading, first + i, piece.page(i));
    }
  }
}

/// One key, one generation: frees the slots of all others, and lists what is left.
void Drive::Impl::settle_found(Loading& loading) {
  // Open addressing over the records in use: which record has the newest generation of a key.
  uint32_t used = 0;
  for (const Loading::Found& one : loading.by_record) used += one.generation != 0 ? 1 : 0;
  std::vector<uint32_t> places(std::bit_ceil(uint64_t{used} * 2 + 2), kNoRecord.value);
  for (uint32_t record = 0; record < loading.by_record.size(); ++record) {
    const Loading::Found& one = loading.by_record[record];
    if (one.generation == 0) continue;
    size_t place = mix(one.key.low ^ one.key.high) & (places.size() - 1);
    while (places[place] != kNoRecord.value && loading.by_record[places[place]].key != one.key) {
      place = (place + 1) & (places.size() - 1);
    }
    if (places[place] == kNoRecord.value) {
      places[place] = record;
      continue;
    }
    loading.mixed = true;
    const bool newer = loading.by_record[places[place]].generation < one.generation;
    const uint32_t loser = newer ? places[place] : record;
    if (newer) places[place] = record;
    loading.by_record[loser].generation = 0;
  }
  for (uint32_t slot = 0; loading.mixed && slot < geometry.slots(); ++slot) {
    if (loading.generation_of[slot] == 0) continue;
    const SlotPlace place = geometry.place_of(slot);
    const RecordNumber record = shards[place.shard]->restored_record(place.local);
    if (loading.by_record[record.value].generation == loading.generation_of[slot]) continue;
    shards[place.shard]->free_restored(place.local);
    records.unname(record);
  }
  found.reserve(used);
  for (uint32_t record = 0; record < loading.by_record.size(); ++record) {
    const Loading::Found& one = loading.by_record[record];
    if (one.generation == 0) continue;
    found.push_back(
        {.key = one.key, .record = RecordNumber{record}, .generation = Sequence{one.generation}});
  }
}

Task<Result<Done>> Drive::Impl::load_index(Disk& disk) {
  Loading loading(geometry);
  for (const bool access : {true, false}) {
    loading.access = access;
    loading.next_page = 0;
    TaskGroup group(*Loop::current(), kUpkeepTasksMax);
    uint32_t started = 0;
    while (started < kUpkeepTasksMax && group.try_spawn(load_pieces(*this, disk, loading))) {
      ++started;
    }
    co_await group.drain();
    if (started == 0) co_return fail_retryable(Side::Self, Kind::Overloaded, "coroutine frames");
  }
  if (loading.unreadable_pages >= error_times.size()) {
    co_return fail(Side::Disk, Kind::IoError, "slot table");
  }
  settle_found(loading);
  for (const std::unique_ptr<IndexShard>& shard : shards) shard->finish_restore();
  seconds_at_mount = loading.newest_second + 1;
  counters.checksum_failures.fetch_add(loading.bad_pages, std::memory_order_relaxed);
  if (loading.bad_pages + loading.unreadable_pages > 0) {
    log_warning("slot_table_damaged", "device={:016x} pages_lost={} pages_unreadable={}", device_id,
                loading.bad_pages, loading.unreadable_pages);
  }
  co_return Done{};
}

Task<Result<std::unique_ptr<Drive>>> Drive::mount(Disk& disk, Options options, const Clock& clock) {
  const auto facts = co_await Impl::read_superblock(disk);
  if (!facts) co_return fail(facts.error());
  const auto geometry = Geometry::from_facts(facts->geometry);
  if (!geometry) co_return fail(geometry.error());
  if (disk.size_bytes() < facts->geometry.size_bytes) {
    co_return fail(Side::Disk, Kind::Mismatch, "drive shorter than its superblock says");
  }
  auto journal = co_await Impl::read_journal(disk, *geometry, facts->device_id);
  if (!journal && journal.error().kind != Kind::ChecksumMismatch) co_return fail(journal.error());
  if (!journal) {
    // A purge that was promised may be lost in it; nothing here can be trusted to be unpurged.
    log_warning("purge_journal_damaged", "device={:016x} the drive comes back empty",
                facts->device_id);
    const auto emptied = co_await Impl::write_empty_areas(disk, *geometry, facts->device_id);
    if (!emptied) co_return fail(emptied.error());
    journal = PurgeJournal(geometry->journal_pages());
  }
  std::unique_ptr<Drive> drive(
      new Drive(std::make_unique<Impl>(*facts, *geometry, std::move(*journal), options, clock)));
  const auto loaded = co_await drive->impl_->load_index(disk);
  if (!loaded) co_return fail(loaded.error());
  co_return drive;
}

}  // namespace segue::cache
