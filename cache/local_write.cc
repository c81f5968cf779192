// One loop's door to the store: slices and records on their way to the drives.
#include <utility>

#include "cache/local_store.h"

namespace segue::cache {

bool LocalStore::Impl::start_write(Buffer& buffer) noexcept {
  if (disk_of(buffer.generation->drive()) == nullptr) return false;
  // Half of the operations are kept for reads: a client waits for them.
  if (operations.running() >= operations.tasks_max() / 2) return false;
  return operations.try_spawn(write_slice(buffer));
}

Task<void> LocalStore::Impl::write_slice(Buffer& buffer) {
  const uint8_t number = buffer.generation->drive();
  struct Context {
    Drive& drive;
    LocalStoreCounters& counters;
  } context{*shared.drives[number], counters};
  const HangWatch watch(
      loop, &context,
      [](void* at) {
        const auto& hung = *static_cast<Context*>(at);
        hung.drive.count_hang();
        hung.counters.drive_hangs.add();
      },
      kDriveWriteHangTimeout);
  Disk* disk = disk_of(number);
  const auto written = disk != nullptr
                           ? co_await try_write_slice(buffer, *shared.drives[number], *disk)
                           : Result<Done>(fail(Side::Disk, Kind::Closed, "drive not open"));
  if (written) {
    counters.admitted.add();
    counters.admitted_bytes.add(buffer.length);
  } else {
    counters.not_admitted.add();
  }
  shared.ram.end_write(buffer, written.has_value());
}

Task<Result<Done>> LocalStore::Impl::try_write_slice(Buffer& buffer, Drive& drive, Disk& disk) {
  const Ref<Generation> generation = buffer.generation;
  const uint64_t padded = round_up(buffer.length, kDiskAlignBytes);
  for (uint32_t attempt = 0; attempt < 2; ++attempt) {
    const auto record = co_await ensure_record(generation, drive, disk);
    if (!record) co_return fail(record.error());
    auto slot = drive.try_take_slot(buffer.key, *record, buffer.length);
    if (!slot && slot.error().kind == Kind::Mismatch) co_return Done{};  // it is there already
    if (!slot && slot.error().kind == Kind::NotFound) {
      shared.representations.lose_record(*generation);  // its last slot went, another key took it
      continue;
    }
    if (!slot) co_return fail(slot.error());
    const auto written = co_await drive.write_slot(disk, std::move(*slot), {buffer.memory, padded});
    if (!written) co_return fail(written.error());
    if (!shared.representations.may_stay(generation->key(), generation->id())) {
      // Purged or replaced while the write ran: what forgot the generation did not see this slot.
      drive.forget_generation(generation->key(), generation->id(), generation->slices());
      co_return fail(Side::Self, Kind::Purged, "write slice");
    }
    co_return Done{};
  }
  co_return fail(Side::Disk, Kind::Full, "records");
}

Task<Result<RecordNumber>> LocalStore::Impl::ensure_record(Ref<Generation> generation, Drive& drive,
                                                           Disk& disk) {
  const RecordNumber known = shared.representations.record_of(*generation);
  if (known != kNoRecord) co_return known;
  const Turnstile::Turn turn = co_await shared.record_turn(generation->key()).enter();
  const RecordNumber meanwhile = shared.representations.record_of(*generation);
  if (meanwhile != kNoRecord) co_return meanwhile;
  co_return co_await write_record(generation, drive, disk);
}

/// The caller has the key's turn.
Task<Result<RecordNumber>> LocalStore::Impl::write_record(Ref<Generation> generation, Drive& drive,
                                                          Disk& disk) {
  const auto facts = shared.representations.facts_to_record(*generation);
  const auto place = shared.representations.record_of(generation->key());
  if (!facts || !place) co_return fail(Side::Self, Kind::Purged, "write record");
  RecordFacts record;
  record.key = generation->key();
  record.key_text = generation->key_text();
  record.generation = generation->id();
  record.complete_length = generation->complete_length();
  record.tag_hashes.assign(generation->tag_hashes().begin(), generation->tag_hashes().end());
  if (facts->encoded_bytes() > kRecordBytes) {
    co_return fail(Side::Self, Kind::Unsupported, "facts beyond a record");
  }
  record.facts.resize(facts->encoded_bytes());
  facts->encode(record.facts);
  // Into the place of a stale one, if there is one: the old generation's slots then have no record
  // of their own, and are nothing after a restart.
  const auto written = co_await drive.write_record(disk, place->number, record);
  if (!written) co_return fail(written.error());
  if (!shared.representations.set_record(*generation, *written)) {
    co_return fail(Side::Self, Kind::Purged, "write record");
  }
  co_return *written;
}

void LocalStore::Impl::start_rewrite_record(const Ref<Generation>& generation) noexcept {
  if (disk_of(generation->drive()) == nullptr) return;
  if (shared.representations.record_of(*generation) == kNoRecord) return;
  // Not now is not wrong: the record's older facts cost one revalidation after a restart.
  if (!operations.try_spawn(rewrite_record(generation))) counters.record_failures.add();
}

Task<void> LocalStore::Impl::rewrite_record(Ref<Generation> generation) {
  const Turnstile::Turn turn = co_await shared.record_turn(generation->key()).enter();
  if (shared.representations.record_of(*generation) == kNoRecord) co_return;
  const uint8_t number = generation->drive();
  Disk* disk = disk_of(number);
  const bool written =
      disk != nullptr &&
      (co_await write_record(generation, *shared.drives[number], *disk)).has_value();
  if (!written) counters.record_failures.add();
}

}  // namespace segue::cache
