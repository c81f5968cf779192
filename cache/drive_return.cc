// A drive that went offline and may be used again: it was pulled and put back, or was slow for a
// while. The index is kept; like the table after a crash it is a hint, and the slots are the truth.
#include <algorithm>

#include "base/log.h"
#include "cache/drive_impl.h"

namespace segue::cache {
namespace {

constexpr uint32_t kProbeReads = 16;  // slots, spread over the drive

}  // namespace

Task<Result<Done>> Drive::Impl::read_in_time(Disk& disk, uint64_t offset,
                                             std::span<std::byte> into) {
  const MonoTime began = clock.mono();
  const auto read = co_await disk.read(offset, into, {});
  if (!read) co_return fail(read.error());
  if (clock.mono() - began >= kDriveHangTimeout) co_return fail(Side::Disk, Kind::Timeout, "slow");
  co_return Done{};
}

Result<Done> Drive::Impl::is_as_it_was(const SuperblockFacts& read) const noexcept {
  const std::lock_guard lock(mutex);
  if (read.device_id != superblock.device_id || read.hash_seed != superblock.hash_seed) {
    return fail(Side::Disk, Kind::Mismatch, "another drive is in its place");
  }
  // Every try of ours has a number of its own, also one that failed, so a higher one is somebody
  // else's: another node had it, and its slots are not what the index says.
  if (read.write_number > superblock.write_number) {
    return fail(Side::Disk, Kind::Mismatch, "another node wrote it");
  }
  // What was durable is not: a copy from before, or a drive that lies.
  if (read.membership_epoch < superblock.membership_epoch ||
      read.sequence_end < superblock.sequence_end) {
    return fail(Side::Disk, Kind::Mismatch, "it is older than it was");
  }
  return Done{};
}

Task<Result<Done>> Drive::come_back(Disk& disk, uint64_t epoch, Sequence leased) {
  Impl& impl = *impl_;
  SEGUE_ASSERT(impl.is_offline());
  const InFlight working(impl.under_way);
  const PagePool::Page page = impl.pages.take();
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    const auto read =
        co_await impl.read_in_time(disk, uint64_t{copy} * format::kPageBytes, page.bytes());
    if (!read) co_return fail(read.error());
  }
  const auto found = co_await Impl::read_superblock(disk);
  if (!found) co_return fail(found.error());
  if (const auto same = impl.is_as_it_was(*found); !same) co_return fail(same.error());
  for (uint32_t i = 0; i < kProbeReads; ++i) {
    const auto slot = static_cast<uint32_t>(uint64_t{i} * impl.geometry.slots() / kProbeReads);
    const auto read =
        co_await impl.read_in_time(disk, impl.geometry.slot_offset(slot), page.bytes());
    if (!read) co_return fail(read.error());
  }
  if (membership_epoch() < epoch) {
    // Purges were acknowledged without it.
    const auto emptied = co_await forget_everything(disk);
    if (!emptied) co_return fail(emptied.error());
  }
  const Turnstile::Turn turn = co_await impl.superblock_turns.enter();
  SuperblockFacts facts = impl.superblock_facts();
  facts.membership_epoch = epoch;
  facts.sequence_end = std::max(facts.sequence_end, leased.value);
  co_return co_await impl.write_superblock(disk, facts);
}

Task<Result<Done>> Drive::recognise(Disk& disk) {
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  const Turnstile::Turn turn = co_await impl.superblock_turns.enter();  // nobody writes it now
  const auto found = co_await Impl::read_superblock(disk);
  if (!found) co_return fail(found.error());
  co_return impl.is_as_it_was(*found);
}

void Drive::set_online() noexcept {
  Impl& impl = *impl_;
  for (const std::unique_ptr<IndexShard>& shard : impl.shards) shard->doubt_everything();
  impl.torn_slots_allowed.store(kDriveOpsInFlightMax, std::memory_order_relaxed);
  {
    const std::lock_guard lock(impl.mutex);
    impl.errors = 0;
  }
  impl.counters.returns.fetch_add(1, std::memory_order_relaxed);
  impl.times_back.fetch_add(1, std::memory_order_acq_rel);
  impl.offline.store(false, std::memory_order_release);
}

}  // namespace segue::cache
