// One loop's door to the store: what is done every second, and at a clean stop.
#include <algorithm>
#include <utility>

#include "cache/local_store.h"

namespace segue::cache {

namespace {
constexpr std::chrono::seconds kTableFlushEvery{5};
// Records read per pass to check or forget them: 64 reads of 4 KiB a second disturb nobody, and a
// million representations are through in some hours; until then the statements stay in force.
constexpr uint32_t kRecordsPerPass = 64;
// Entries are looked at in blocks of 64: some 50 us a turn, and at most a few hundredths of a
// second of each second, so that a stream of purges costs hits next to nothing.
constexpr uint32_t kRamBlocksPerTurn = 32;
constexpr uint32_t kRamBlocksPerPass = 1024;
// A record comes from a drive: its length may be anything. What lies beyond is left to age.
constexpr uint32_t kSlicesForgottenMax = 1U << 20;
}  // namespace

Task<void> LocalStore::upkeep() {
  Impl& impl = *impl_;
  co_await impl.bring_back_drives();
  co_await impl.lease_sequences();
  co_await impl.forget_misplaced();
  co_await impl.sweep_records();
  const bool is_due = impl.loop.now() - impl.tables_flushed_at >= kTableFlushEvery;
  if (is_due || std::ranges::any_of(impl.shared.drives,
                                    [](const auto& drive) { return drive->wants_flush(); })) {
    impl.tables_flushed_at = impl.loop.now();
    (void)co_await impl.flush_tables();
  }
}

Task<void> LocalStore::drain() {
  impl_->draining = true;
  co_await impl_->operations.drain();
  (void)co_await impl_->flush_tables();
  co_await impl_->durable.drain();  // also what hangs: it may still write to memory of ours
}

Task<void> LocalStore::Impl::lease_sequences() {
  if (shared.drives.empty()) co_return;
  const uint64_t next = shared.next_sequence.load(std::memory_order_relaxed);
  const uint64_t end = shared.leased_end.load(std::memory_order_relaxed);
  if (next + kSequenceLease / 2 < end) co_return;
  const Sequence wanted{next + kSequenceLease};
  bool leased = false;
  for (size_t i = 0; i < shared.drives.size(); ++i) {
    Disk* disk = disk_of(static_cast<uint8_t>(i));
    if (disk == nullptr || shared.drives[i]->offline()) continue;
    // One drive that remembers is enough: at start the highest of all counts.
    Drive& drive = *shared.drives[i];
    if (co_await bounded(drive, "superblock write hung", drive.lease_sequences(*disk, wanted)))
      leased = true;
  }
  if (!leased) co_return;
  uint64_t known = shared.leased_end.load(std::memory_order_relaxed);
  while (known < wanted.value &&
         !shared.leased_end.compare_exchange_weak(known, wanted.value, std::memory_order_release)) {
  }
}

Task<bool> LocalStore::Impl::flush_tables() {
  bool all = true;
  for (size_t i = 0; i < shared.drives.size(); ++i) {
    Disk* disk = disk_of(static_cast<uint8_t>(i));
    if (disk == nullptr || shared.drives[i]->offline()) continue;
    Drive& drive = *shared.drives[i];
    // The drive's flush makes payloads durable before entries; ours makes the entries durable too.
    if (!co_await bounded(drive, "table write hung", drive.flush_table(*disk))) all = false;
    if (drive.offline()) continue;
    if (!co_await bounded(drive, "flush hung", disk->flush())) all = false;
  }
  co_return all;
}

Task<void> LocalStore::Impl::sweep_records() {
  if (!sweeping) {
    sweep_added = shared.purges.added();
    // A purge that is still walking through RAM must not be retired by this pass.
    if (shared.sweeps_running.load(std::memory_order_acquire) != 0) co_return;
    const bool nothing = sweep_added == retired_added && shared.misplaced.empty() &&
                         shared.representations.stale_records() == 0;
    if (nothing) co_return;
    shared.purges.start_pass();
    sweep_began = store.next_sequence();
    ram_at = {};
    sweep_at = {};
    sweeping = true;
    sweep_failed = false;
  }
  for (uint32_t i = 1; !shared.representations.ended(ram_at); ++i) {
    if (i > kRamBlocksPerPass) co_return;
    (void)shared.representations.sweep(ram_at, false);
    if (i % kRamBlocksPerTurn == 0) co_await Yield{};
  }
  uint32_t looked_at = 0;
  while (looked_at < kRecordsPerPass && !shared.representations.ended(sweep_at)) {
    KeyHash keys[8];
    const uint32_t count = shared.representations.sweep_records(sweep_at, keys);
    for (uint32_t i = 0; i < count; ++i) {
      const auto record = shared.representations.record_of(keys[i]);
      if (!record) continue;
      if (!co_await bounded(*shared.drives[record->drive], "record read hung",
                            check_record(keys[i])))
        sweep_failed = true;
    }
    looked_at += std::max(count, 1U);
    co_await Yield{};
  }
  if (!shared.representations.ended(sweep_at)) co_return;
  sweeping = false;
  if (!sweep_failed && shared.misplaced.empty()) co_await retire();
}

/// Every representation has been checked against all statements made before sweep_began.
Task<void> LocalStore::Impl::retire() {
  // What was forgotten must be durable before the statement that asked for it may go.
  if (!co_await flush_tables()) co_return;
  // What is asked of the origin now comes in later, and is compared then.
  const Sequence before = shared.representations.oldest_contact(sweep_began);
  const Sequence bound = shared.purges.retire_bound(before);
  for (size_t i = 0; i < shared.drives.size(); ++i) {
    Disk* disk = disk_of(static_cast<uint8_t>(i));
    if (disk == nullptr || shared.drives[i]->offline()) continue;
    Drive& drive = *shared.drives[i];
    (void)co_await bounded(drive, "purge journal hung", drive.retire_purges(*disk, bound));
  }
  shared.purges.retire(bound);
  if (bound == sweep_began) retired_added = sweep_added;
}

namespace {

/// Done where the drive has said that there is no such record, and not just failed to read it.
Result<Done> unless_no_record(const Error& error) noexcept {
  const bool no_record = error.kind == Kind::NotFound || error.kind == Kind::Malformed ||
                         error.kind == Kind::ChecksumMismatch;
  if (no_record) return Done{};
  return fail(error);
}

}  // namespace

/// Errors: {Disk, ...}: the record could not be read now.
Task<Result<Done>> LocalStore::Impl::check_record(KeyHash key) {
  const Turnstile::Turn turn = co_await shared.record_turn(key).enter();
  auto record = shared.representations.record_of(key);
  if (!record || record->number == kNoRecord) co_return Done{};
  if (!record->stale && record->in_ram) co_return Done{};
  Drive& drive = *shared.drives[record->drive];
  Disk* disk = disk_of(record->drive);
  if (is_left_behind(drive)) {
    // What it holds is lost to us, so it keeps no statement in force.
    if (record->stale) shared.representations.clear_record(key, record->number);
    co_return Done{};
  }
  if (disk == nullptr || drive.offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  if (!record->stale) {
    const auto facts = co_await drive.read_record(*disk, record->number, key);
    if (!facts) co_return unless_no_record(facts.error());  // the next load forgets it
    shared.representations.judge_record(key, facts->generation, facts->key_text, facts->tag_hashes);
    record = shared.representations.record_of(key);
    if (!record || !record->stale) co_return Done{};
  }
  const auto forgotten = co_await forget_record(key, record->drive, record->number);
  if (!forgotten) co_return fail(forgotten.error());
  shared.representations.clear_record(key, record->number);
  co_return Done{};
}

/// Frees the slots that a stale record speaks for. Errors: as check_record().
Task<Result<Done>> LocalStore::Impl::forget_record(KeyHash key, uint8_t number,
                                                   RecordNumber record) {
  Drive& drive = *shared.drives[number];
  Disk* disk = disk_of(number);
  if (is_left_behind(drive)) co_return Done{};
  if (disk == nullptr || drive.offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  const auto facts = co_await drive.read_record(*disk, record, key);
  if (!facts) {
    // No readable record: its slots are nothing after a restart either.
    co_return unless_no_record(facts.error());
  }
  const uint32_t slices = facts->complete_length > kCompleteLengthMax
                              ? kSlicesForgottenMax
                              : std::min(slice_count(facts->complete_length), kSlicesForgottenMax);
  drive.forget_generation(key, facts->generation, slices);
  co_return Done{};
}

Task<void> LocalStore::Impl::forget_misplaced() {
  for (uint32_t i = 0; i < kRecordsPerPass && !shared.misplaced.empty(); ++i) {
    const Store::Impl::Misplaced one = shared.misplaced.back();
    if (!co_await bounded(*shared.drives[one.drive], "record read hung",
                          forget_record(one.key, one.drive, one.record)))
      co_return;
    shared.misplaced.pop_back();
  }
}

}  // namespace segue::cache
