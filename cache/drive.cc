#include "cache/drive.h"

#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "cache/drive_impl.h"

namespace segue::cache {

using std::chrono::duration_cast;
using std::chrono::seconds;

Drive::Impl::Impl(const SuperblockFacts& facts, const Geometry& layout, PurgeJournal purges,
                  const Options& wanted, const Clock& time)
    : options(wanted),
      clock(time),
      geometry(layout),
      device_id(facts.device_id),
      hash_seed(facts.hash_seed),
      mounted_at(time.mono()),
      index(geometry, wanted.policy, wanted.write_bytes_per_second, time.mono()),
      records(layout.records()),
      superblock(facts),
      journal(std::move(purges)),
      error_times(std::max(1U, wanted.errors_to_offline)),
      access_written_at(time.mono()) {}

Drive::Impl::Place Drive::Impl::place_of(uint32_t slot) noexcept {
  const SlotPlace place = geometry.place_of(slot);
  return {.shard = *shards[place.shard], .local = place.local};
}

uint32_t Drive::Impl::now_seconds() const noexcept {
  const auto running = duration_cast<seconds>(clock.mono() - mounted_at);
  return seconds_at_mount + static_cast<uint32_t>(running.count());
}

void Drive::Impl::count_error(const char* what) noexcept {
  const MonoTime now = clock.mono();
  bool too_many = false;
  {
    const std::lock_guard lock(mutex);
    error_times[errors % error_times.size()] = now;
    ++errors;
    const MonoTime oldest = error_times[errors % error_times.size()];
    too_many = errors >= error_times.size() && now - oldest <= std::chrono::minutes{1};
  }
  if (too_many) go_offline(what);
}

void Drive::Impl::go_offline(const char* reason) noexcept {
  if (offline.exchange(true, std::memory_order_acq_rel)) return;
  log_warning("drive_offline", "device={:016x} reason={} io_errors={} checksum_failures={}",
              device_id, reason, counters.io_errors.load(std::memory_order_relaxed),
              counters.checksum_failures.load(std::memory_order_relaxed));
}

std::optional<RecordNumber> Drive::Impl::claim_record(RecordNumber wanted,
                                                      const KeyHash& key) noexcept {
  // There are fewer records than slots: many short tracks use them up while slots are free, and
  // then no slot is ever taken that would evict. So the oldest slices go, shard by shard; one of a
  // long track frees no record, hence the tries.
  constexpr uint32_t kTriesMax = 256;
  constexpr std::array kClasses{SizeClass::K256, SizeClass::K128, SizeClass::K64};
  for (uint32_t tries = 0; tries < kTriesMax; ++tries) {
    if (const auto claimed = records.claim(wanted, key)) return claimed;
    const uint32_t turn = eviction_turn.fetch_add(1, std::memory_order_relaxed);
    IndexShard& shard = *shards[turn / kClasses.size() % shards.size()];
    const auto unnamed = shard.evict(kClasses[turn % kClasses.size()]);
    if (!unnamed) continue;
    records.unname(*unnamed);
    counters.evictions.fetch_add(1, std::memory_order_relaxed);
  }
  return std::nullopt;
}

Error Drive::Impl::read_failed(uint32_t slot, const Error& error) noexcept {
  if (error.side != Side::Disk) return error;  // our own limit: the slot is as good as before
  counters.io_errors.fetch_add(1, std::memory_order_relaxed);
  const Place place = place_of(slot);
  if (const auto record = place.shard.unlink_held(place.local)) records.unname(*record);
  count_error("read errors");
  return error;
}

Error Drive::Impl::slot_is_bad(uint32_t slot, SlotFault fault) noexcept {
  const Place place = place_of(slot);
  const bool verified = place.shard.verified(place.local);
  if (const auto record = place.shard.unlink_held(place.local)) records.unname(*record);
  const bool foreign = fault == SlotFault::Foreign;
  if (!verified && fault != SlotFault::BadPayload) {
    // The table is a hint, written every few seconds: after a crash it names slots that have been
    // written over since. A plain miss.
    counters.stale_slots.fetch_add(1, std::memory_order_relaxed);
    return {.side = Side::Disk, .kind = Kind::Mismatch, .where = "slot header"};
  }
  counters.checksum_failures.fetch_add(1, std::memory_order_relaxed);
  uint32_t allowed = verified ? 0 : torn_slots_allowed.load(std::memory_order_relaxed);
  if (allowed == 0 || !torn_slots_allowed.compare_exchange_strong(allowed, allowed - 1,
                                                                  std::memory_order_relaxed)) {
    count_error("bad payloads");
  }
  if (foreign) return {.side = Side::Disk, .kind = Kind::Mismatch, .where = "slot header"};
  return {.side = Side::Disk, .kind = Kind::ChecksumMismatch, .where = "slot"};
}

Drive::Drive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Drive::~Drive() {
  SEGUE_ASSERT(impl_->reads_in_flight.load() == 0);
  SEGUE_ASSERT(impl_->writes_in_flight.load() == 0);
}

uint64_t Drive::hash_seed() const noexcept { return impl_->hash_seed; }
uint64_t Drive::device_id() const noexcept { return impl_->device_id; }
uint64_t Drive::membership_epoch() const noexcept {
  return impl_->superblock_facts().membership_epoch;
}
Sequence Drive::first_unleased() const noexcept {
  return Sequence{impl_->superblock_facts().sequence_end};
}

void Drive::for_each_representation(void* context,
                                    void (*visit)(void* context, const FoundRepresentation&)) {
  std::vector<FoundRepresentation> found;
  {
    const std::lock_guard lock(impl_->mutex);
    found.swap(impl_->found);
  }
  for (const FoundRepresentation& one : found) visit(context, one);
}

std::vector<PurgeStatement> Drive::purge_statements() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->journal.statements();
}

std::optional<Drive::SlotRead> Drive::try_read(const SliceKey& key, UseId use) noexcept {
  if (impl_->is_offline()) return std::nullopt;
  const uint64_t fingerprint = fingerprint_of(key);
  IndexShard& shard = impl_->shard_for(fingerprint);
  const auto held = shard.hold(fingerprint, use, impl_->now_seconds());
  if (!held) return std::nullopt;
  const SlotPlace place{.shard = shard_of(fingerprint, impl_->geometry.shards()),
                        .local = held->local};
  return SlotRead(this, impl_->geometry.slot_number(place), key, held->length);
}

bool Drive::contains(const SliceKey& key) const noexcept {
  if (impl_->is_offline()) return false;
  const uint64_t fingerprint = fingerprint_of(key);
  return impl_->shard_for(fingerprint).contains(fingerprint);
}

bool Drive::should_admit(const SliceKey& key, SizeClass size_class, UseId use) noexcept {
  if (impl_->is_offline()) return false;
  return impl_->index.should_admit(key, size_class, use, impl_->clock.mono());
}

Result<Drive::SlotWrite> Drive::try_take_slot(const SliceKey& key, RecordNumber record,
                                              uint32_t length) noexcept {
  SEGUE_ASSERT(length > 0);
  Impl& impl = *impl_;
  if (impl.is_offline()) return fail(Side::Disk, Kind::Closed, "drive offline");
  if (!impl.geometry.class_for(length)) return fail(Side::Self, Kind::Full, "no slot so large");
  if (impl.reads_in_flight.load(std::memory_order_relaxed) >= kDriveReadsBeforeWrites ||
      impl.writes_in_flight.load(std::memory_order_relaxed) >= kDriveWritesInFlightMax) {
    return fail_retryable(Side::Self, Kind::Overloaded, "reads before writes");
  }
  if (!impl.index.try_spend(length, impl.clock.mono())) {
    return fail_retryable(Side::Self, Kind::Overloaded, "write budget");
  }
  if (!impl.records.try_name(record, key.key)) {
    impl.index.give_back(length);
    return fail(Side::Disk, Kind::NotFound, "record is another key's by now");
  }
  const auto taken = impl.index.take(key, record, length);
  if (!taken) {
    impl.records.unname(record);
    impl.index.give_back(length);
    return fail(taken.error());
  }
  if (taken->evicted != kNoRecord) {
    impl.records.unname(taken->evicted);
    impl.counters.evictions.fetch_add(1, std::memory_order_relaxed);
  }
  impl.writes_in_flight.fetch_add(1, std::memory_order_relaxed);
  const uint32_t shard = shard_of(fingerprint_of(key), impl.geometry.shards());
  const uint32_t slot = impl.geometry.slot_number({.shard = shard, .local = taken->local});
  return SlotWrite(this, slot, key, record, length);
}

void Drive::forget_generation(const KeyHash& key, Sequence generation, uint32_t slices) noexcept {
  for (uint32_t slice = 0; slice < slices; ++slice) {
    const uint64_t fingerprint =
        fingerprint_of({.key = key, .generation = generation, .slice = SliceIndex{slice}});
    const auto record = impl_->shard_for(fingerprint).forget(fingerprint);
    if (record) impl_->records.unname(*record);
  }
}

bool Drive::offline() const noexcept { return impl_->is_offline(); }
uint32_t Drive::under_way() const noexcept {
  return impl_->under_way.load(std::memory_order_acquire);
}
uint32_t Drive::times_back() const noexcept {
  return impl_->times_back.load(std::memory_order_acquire);
}
void Drive::set_offline(const char* reason) noexcept { impl_->go_offline(reason); }
void Drive::count_hang() noexcept { impl_->count_error("operations that hang"); }

Drive::Usage Drive::usage() const {
  Usage usage;
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    usage.slots[c] = impl_->geometry.slots_of(static_cast<SizeClass>(c));
  }
  for (const std::unique_ptr<IndexShard>& shard : impl_->shards) {
    const IndexShard::Usage of_shard = shard->usage();
    for (uint32_t c = 0; c < kSizeClasses; ++c) usage.live[c] += of_shard.live[c];
    usage.payload_bytes += of_shard.payload_bytes;
    usage.index_bytes += of_shard.index_bytes;
    usage.ghost_entries += of_shard.ghosts;
  }
  usage.index_bytes += impl_->records.bytes();
  usage.records = impl_->records.records();
  usage.records_live = impl_->records.named();
  return usage;
}

Drive::Census Drive::census() const {
  Census census;
  for (const std::unique_ptr<IndexShard>& shard : impl_->shards) {
    const IndexShard::Census of_shard = shard->census();
    for (uint32_t s = 0; s < kSlotStates; ++s) census.in_state[s] += of_shard.states[s];
    census.readers += of_shard.readers;
  }
  return census;
}

const DriveCounters& Drive::counters() const noexcept { return impl_->counters; }

Drive::SlotRead::SlotRead(SlotRead&& other) noexcept
    : drive_(std::exchange(other.drive_, nullptr)),
      slot_(other.slot_),
      key_(other.key_),
      length_(other.length_) {}

Drive::SlotRead::~SlotRead() {
  if (drive_ == nullptr) return;
  const Impl::Place place = drive_->impl_->place_of(slot_);
  place.shard.release(place.local);
}

Drive::SlotWrite::SlotWrite(SlotWrite&& other) noexcept
    : drive_(std::exchange(other.drive_, nullptr)),
      slot_(other.slot_),
      key_(other.key_),
      record_(other.record_),
      length_(other.length_) {}

Drive::SlotWrite::~SlotWrite() {
  if (drive_ == nullptr) return;
  Impl& impl = *drive_->impl_;
  const Impl::Place place = impl.place_of(slot_);
  place.shard.dropped(place.local);
  impl.records.unname(record_);
  impl.index.give_back(length_);
  impl.writes_in_flight.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace segue::cache
