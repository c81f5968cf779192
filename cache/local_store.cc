// One loop's door to the store: bringing records and slices from the drives.
#include "cache/local_store.h"

#include <utility>

namespace segue::cache {

namespace {
// Reads and writes of one loop together, over all drives; each drive has its own bounds besides.
constexpr uint32_t kOperationsMax = 512;
// Upkeep's, and a purge's for each drive.
constexpr uint32_t kDurableMax = 1024;
}  // namespace

LocalStore::Impl::Impl(LocalStore& owner_in, Store& store_in, Loop& loop_in,
                       std::vector<Disk*> disks_in)
    : owner(owner_in),
      store(store_in),
      shared(*store_in.impl_),
      loop(loop_in),
      disks(std::move(disks_in)),
      slab(loop_in),
      operations(loop_in, kOperationsMax),
      durable(loop_in, kDurableMax),
      doors(disks.size()),
      retries(disks.size()) {
  care.impl = this;
}

LocalStore::LocalStore(Store& store, Loop& loop, std::vector<Disk*> disks)
    : store_(store), impl_(std::make_unique<Impl>(*this, store, loop, std::move(disks))) {
  SEGUE_ASSERT(loop.index() < kLoopsMax);
  store.impl_->locals[loop.index()].store(this, std::memory_order_release);
}

LocalStore::~LocalStore() {
  impl_->shared.locals[impl_->loop.index()].store(nullptr, std::memory_order_release);
}

WaitSlab& LocalStore::waiters() noexcept { return impl_->slab; }
const LocalStoreCounters& LocalStore::counters() const noexcept { return impl_->counters; }

// --- records ---

Task<Result<Done>> LocalStore::load(KeyHash key, MonoTime deadline) {
  Store::Impl& shared = impl_->shared;
  const auto record = shared.representations.record_of(key);
  if (!record || record->in_ram) co_return Done{};  // somebody was quicker: look up again
  if (record->stale || impl_->disk_of(record->drive) == nullptr ||
      shared.drives[record->drive]->offline()) {
    co_return fail(Side::Disk, Kind::NotFound, "load record");
  }
  if (auto permit = store_.try_start_contact(key)) {
    if (!impl_->operations.try_spawn(impl_->load_record(std::move(*permit), *record))) {
      co_return fail_retryable(Side::Self, Kind::Overloaded, "load record");
    }
  }
  Signal done;
  WaitTicket ticket(impl_->slab, done);
  if (store_.start_wait_contact(key, ticket)) {
    if (co_await done.wait(deadline) == Wake::Deadline) {
      co_return fail(Side::Disk, Kind::Timeout, "load record");
    }
  }
  const auto now = shared.representations.record_of(key);
  if (now && !now->in_ram) co_return fail(Side::Disk, Kind::IoError, "load record");
  co_return Done{};
}

Task<void> LocalStore::Impl::load_record(ContactPermit handed, Representations::Record record) {
  ContactPermit permit = std::move(handed);
  struct Context {
    ContactPermit& permit;
    Drive& drive;
    LocalStoreCounters& counters;
  } context{permit, *shared.drives[record.drive], counters};
  const HangWatch watch(loop, &context, [](void* at) {
    auto& hung = *static_cast<Context*>(at);
    hung.drive.count_hang();
    hung.counters.drive_hangs.add();
    hung.permit = ContactPermit{};  // those who wait go to the origin
  });
  const auto loaded = co_await try_load_record(permit, record);
  if (loaded) {
    counters.records_loaded.add();
    co_return;
  }
  counters.record_failures.add();
  const Error& error = loaded.error();
  const bool no_record = error.kind == Kind::Malformed || error.kind == Kind::ChecksumMismatch ||
                         error.kind == Kind::NotFound || error.kind == Kind::Mismatch;
  if (permit && no_record) {
    const KeyHash key = permit.key();
    const Sequence sequence = permit.sequence();
    permit.store_ = nullptr;
    shared.representations.fail_load(key, sequence);
  }
}

Task<Result<Done>> LocalStore::Impl::try_load_record(ContactPermit& permit,
                                                     Representations::Record record) {
  const KeyHash key = permit.key();
  Disk* disk = disk_of(record.drive);
  if (disk == nullptr) co_return fail(Side::Disk, Kind::Closed, "drive not open");
  auto facts = co_await shared.drives[record.drive]->read_record(*disk, record.number, key);
  if (!facts) co_return fail(facts.error());
  if (!permit) co_return fail(Side::Disk, Kind::Timeout, "record came too late");
  if (facts->generation != record.generation) {
    co_return fail(Side::Disk, Kind::Mismatch, "record of another generation");
  }
  if (facts->complete_length > kCompleteLengthMax) {
    co_return fail(Side::Disk, Kind::Malformed, "complete length in record");
  }
  auto decoded = shared.codec.decode(facts->facts);
  if (!decoded) co_return fail(Side::Disk, Kind::Malformed, "facts in record");
  auto generation = make_ref<Generation>(key, std::move(facts->key_text), facts->generation,
                                         facts->complete_length);
  permit.store_ = nullptr;
  (void)shared.representations.commit_load(key, permit.sequence(),
                                           {std::move(generation), std::move(*decoded)},
                                           std::move(facts->tag_hashes), shared.now_seconds());
  co_return Done{};
}

// --- slices ---

Result<Done> LocalStore::start_read(const Ref<Generation>& generation, SliceIndex slice,
                                    UseId use) noexcept {
  Drive* drive = impl_->shared.drive_for(*generation);
  Disk* disk = impl_->disk_of(generation->drive());
  if (drive == nullptr || disk == nullptr) return fail(Side::Disk, Kind::NotFound, "start read");
  auto slot = drive->try_read(generation->slice_key(slice), use);
  if (!slot) return fail(Side::Disk, Kind::NotFound, "start read");
  if (slot->length() != generation->slice_bytes(slice)) {
    // A record and a slot that disagree: neither is to be believed.
    drive->forget_generation(generation->key(), generation->id(), generation->slices());
    return fail(Side::Disk, Kind::NotFound, "slot length");
  }
  RamTier& ram = impl_->shared.ram;
  Buffer* reserved = nullptr;
  if (ram.try_reserve(1, Priority::Demand, reserved) == 0) {
    return fail_retryable(Side::Self, Kind::Overloaded, "no free buffer");
  }
  Buffer* buffer = ram.try_claim(generation, slice, reserved, RamTier::Source::Drive, use);
  if (buffer == nullptr) {
    ram.give_back(*reserved);
    // Somebody was quicker, or a read of it hangs.
    if (ram.peek(generation->slice_key(slice)) == RamTier::Peek::Hung) {
      return fail(Side::Disk, Kind::NotFound, "read hangs");
    }
    return Done{};
  }
  if (!impl_->operations.try_spawn(impl_->read_slice(*buffer, *drive, *disk, std::move(*slot)))) {
    ram.abandon(*buffer);
    return fail_retryable(Side::Self, Kind::Overloaded, "drive operations");
  }
  return Done{};
}

Task<void> LocalStore::Impl::read_slice(Buffer& buffer, Drive& drive, Disk& disk,
                                        Drive::SlotRead handed) {
  Drive::SlotRead slot = std::move(handed);
  struct Context {
    Impl& impl;
    Buffer& buffer;
    Drive& drive;
    bool hung = false;
  } context{*this, buffer, drive};
  {
    const HangWatch watch(loop, &context, [](void* at) {
      auto& read = *static_cast<Context*>(at);
      read.hung = true;
      read.drive.count_hang();
      read.impl.counters.drive_hangs.add();
      read.impl.shared.ram.quarantine(read.buffer);
    });
    const auto read = co_await drive.read_slot(disk, std::move(slot),
                                               {buffer.memory, bytes_of(buffer.size_class)});
    if (context.hung) {
      shared.ram.end_quarantine(buffer);
      co_return;
    }
    if (!read) {
      counters.drive_read_failures.add();
      shared.ram.abandon(buffer);
      co_return;
    }
  }
  counters.drive_reads.add();
  counters.drive_read_bytes.add(buffer.length);
  shared.ram.publish(buffer, buffer.length);
  (void)shared.ram.commit(buffer);  // it is on the drive, so no write is wanted
}

// --- purge ---

Task<Result<Done>> LocalStore::purge(PurgeStatement statement, bool cut) {
  Store::Impl& shared = impl_->shared;
  if (shared.next_sequence.load(std::memory_order_relaxed) + 1 >=
      shared.leased_end.load(std::memory_order_acquire)) {
    co_await impl_->lease_sequences();
  }
  // Taken again, together with putting it in force: a pass of upkeep that begins meanwhile must not
  // think that it has checked everything against this statement.
  statement.sequence = store_.next_sequence();
  // First in RAM: from now on no new response uses what it names.
  if (statement.scope == PurgeScope::Key) {
    shared.purges.note_key(statement.sequence);
    shared.representations.purge_key(statement.key, statement, cut);
  } else {
    shared.sweeps_running.fetch_add(1, std::memory_order_acq_rel);
    const bool added = shared.purges.try_add(statement);
    // Who is looked up next is compared with it, so nobody waits for a walk over millions; only
    // what runs has to be found to be cut. Upkeep frees the memory.
    if (added && cut) co_await impl_->sweep_ram(true);
    shared.sweeps_running.fetch_sub(1, std::memory_order_acq_rel);
    if (!added) co_return fail_retryable(Side::Self, Kind::Full, "purge table");
  }
#ifndef SEGUE_PLANTED_BUG_purge_not_journalled
  if (auto kept = co_await impl_->journal(statement); !kept) co_return fail(kept.error());
#endif
  co_return Done{};
}

Task<Result<Done>> LocalStore::Impl::journal(PurgeStatement statement) {
  if (shared.drives.empty()) co_return Done{};
  uint32_t kept = 0;
  std::vector<Drive*> failed;
  std::vector<bool> away(shared.drives.size());  // it does not know of this purge
  for (size_t i = 0; i < shared.drives.size(); ++i) {
    Drive& drive = *shared.drives[i];
    Disk* disk = disk_of(static_cast<uint8_t>(i));
    away[i] = drive.offline() || disk == nullptr;
    if (away[i]) continue;
    const auto appended =
        co_await bounded(drive, "purge journal hung", drive.append_purge(*disk, statement));
    if (appended) {
      ++kept;
    } else if (appended.error().kind == Kind::Full) {
      co_return fail_retryable(Side::Self, Kind::Full, "purge journal");
    } else {
      failed.push_back(&drive);
    }
  }
  // Also when every drive is offline: one that is back after a restart would bring back what was
  // purged.
  if (kept == 0) co_return fail(Side::Disk, Kind::IoError, "purge journal");
  for (Drive* drive : failed) drive->set_offline("a purge could not be journalled");
  auto left = co_await leave_behind(away);
  // Who came back in the middle of it was held to know everything: it comes back once more.
  for (size_t i = 0; i < away.size(); ++i) {
    if (away[i]) shared.drives[i]->set_offline("a purge was made while it came back");
  }
  co_return left;
}

/// Drives that are offline now do not know of this purge: those in use go on to a later membership
/// epoch, so that the others come back empty.
Task<Result<Done>> LocalStore::Impl::leave_behind(const std::vector<bool>& away) {
  uint64_t newest = 0;
  uint64_t oldest_used = UINT64_MAX;
  uint64_t newest_offline = 0;
  for (size_t i = 0; i < shared.drives.size(); ++i) {
    const Drive& drive = *shared.drives[i];
    const uint64_t epoch = drive.membership_epoch();
    newest = std::max(newest, epoch);
    if (away[i] || drive.offline()) {
      newest_offline = std::max(newest_offline, epoch);
    } else {
      oldest_used = std::min(oldest_used, epoch);
    }
  }
  if (newest_offline < oldest_used) co_return Done{};
  bool moved = false;
  for (size_t i = 0; i < shared.drives.size(); ++i) {
    Drive& drive = *shared.drives[i];
    Disk* disk = disk_of(static_cast<uint8_t>(i));
    if (away[i] || drive.offline() || disk == nullptr) continue;
    if (co_await bounded(drive, "superblock write hung",
                         drive.set_membership_epoch(*disk, newest + 1))) {
      moved = true;
    } else {
      drive.set_offline("superblock not written");
    }
  }
  if (!moved) co_return fail(Side::Disk, Kind::IoError, "membership epoch");
  co_return Done{};
}

Task<void> LocalStore::Impl::sweep_ram(bool cut) {
  constexpr uint32_t kBlocksPerTurn = 32;  // about 2,000 entries: some 50 us
  Representations::Sweep at;
  for (uint32_t i = 1; shared.representations.sweep(at, cut); ++i) {
    if (i % kBlocksPerTurn == 0) co_await Yield{};
  }
}

}  // namespace segue::cache
