// Formatting, and the superblock: device, geometry, epoch, lease of sequences.
#include <algorithm>

#include "base/units.h"
#include "cache/drive_impl.h"

namespace segue::cache {
namespace {

constexpr uint64_t kZerosBytes = 1 * MiB;

Task<Result<Done>> write_zeros(Disk& disk, uint64_t offset, uint64_t end) {
  const AlignedBytes zeros(kZerosBytes);
  std::ranges::fill(zeros.span(), std::byte{0});
  while (offset < end) {
    const uint64_t bytes = std::min(kZerosBytes, end - offset);
    const auto written = co_await disk.write(offset, zeros.span().first(bytes), {});
    if (!written) co_return fail(written.error());
    offset += bytes;
  }
  co_return Done{};
}

}  // namespace

Task<Result<SuperblockFacts>> Drive::Impl::read_superblock(Disk& disk) {
  if (disk.size_bytes() < kSuperblockBytes) {
    co_return fail(Side::Disk, Kind::Malformed, "no superblock");
  }
  const AlignedBytes bytes(kSuperblockBytes);
  std::ranges::fill(bytes.span(), std::byte{0});
  uint32_t readable = 0;
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    // One by one: a copy that cannot be read is one copy less, not a drive less.
    const auto read = co_await disk.read(uint64_t{copy} * format::kPageBytes, bytes.page(copy), {});
    if (read) ++readable;
  }
  if (readable == 0) co_return fail(Side::Disk, Kind::IoError, "superblock");
  co_return choose_superblock(bytes.span().first<kSuperblockBytes>());
}

Task<Result<Done>> Drive::Impl::write_superblock_copies(Disk& disk, SuperblockFacts facts) {
  const AlignedBytes bytes(kSuperblockBytes);
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    encode_superblock(facts, copy, bytes.page(copy));
  }
  constexpr uint64_t kHalf = kSuperblockBytes / 2;
  for (const uint64_t offset : {uint64_t{0}, kHalf}) {
    const auto written = co_await disk.write(offset, bytes.span().subspan(offset, kHalf), {});
    if (!written) co_return fail(written.error());
    const auto flushed = co_await disk.flush();
    if (!flushed) co_return fail(flushed.error());
  }
  co_return Done{};
}

SuperblockFacts Drive::Impl::superblock_facts() const noexcept {
  const std::lock_guard lock(mutex);
  return superblock;
}

Task<Result<Done>> Drive::Impl::write_superblock(Disk& disk, SuperblockFacts facts) {
  {
    // Also after a failed attempt the number grows: two different copies never have the same one.
    const std::lock_guard lock(mutex);
    facts.write_number = ++superblock.write_number;
  }
  const auto written = co_await write_superblock_copies(disk, facts);
  if (!written) {
    if (written.error().side == Side::Disk) {
      counters.io_errors.fetch_add(1, std::memory_order_relaxed);
      count_error("write errors");
    }
    co_return fail(written.error());
  }
  const std::lock_guard lock(mutex);
  superblock = facts;
  co_return Done{};
}

Task<Result<Done>> Drive::Impl::write_empty_areas(Disk& disk, Geometry layout, uint64_t device_id) {
  const AlignedBytes page(format::kPageBytes);
  for (uint32_t copy = 0; copy < format::kJournalCopies; ++copy) {
    for (uint32_t number = 0; number < layout.journal_pages(); ++number) {
      PurgeJournal::encode_empty(device_id, number, page.page(0));
      const auto written =
          co_await disk.write(layout.journal_offset(copy, number), page.span(), {});
      if (!written) co_return fail(written.error());
    }
  }
  // Records and slots are left as they are: they carry the device id, and nothing names them.
  const auto cleared =
      co_await write_zeros(disk, layout.table().offset_of(0), layout.access().end());
  if (!cleared) co_return fail(cleared.error());
  co_return co_await disk.flush();
}

Task<Result<Done>> Drive::format(Disk& disk, FormatOptions options) {
  const uint64_t size = round_down(options.size_bytes, format::kPageBytes);
  if (size > disk.size_bytes()) co_return fail(Side::Self, Kind::Full, "drive smaller than said");
  const auto geometry = Geometry::plan(size, options.shares);
  if (!geometry) co_return fail(geometry.error());
  // The old superblock goes first: a format that is cut leaves no drive rather than half of two.
  const auto cleared = co_await write_zeros(disk, 0, kSuperblockBytes);
  if (!cleared) co_return fail(cleared.error());
  const auto gone = co_await disk.flush();
  if (!gone) co_return fail(gone.error());
  const auto emptied = co_await Impl::write_empty_areas(disk, *geometry, options.device_id);
  if (!emptied) co_return fail(emptied.error());
  const SuperblockFacts facts{.write_number = 1,
                              .device_id = options.device_id,
                              .hash_seed = options.hash_seed,
                              .membership_epoch = options.membership_epoch,
                              .sequence_end = 1,
                              .geometry = geometry->facts()};
  co_return co_await Impl::write_superblock_copies(disk, facts);
}

Task<Result<Done>> Drive::set_membership_epoch(Disk& disk, uint64_t epoch) {
  const InFlight working(impl_->under_way);
  const Turnstile::Turn turn = co_await impl_->superblock_turns.enter();
  if (impl_->is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  SuperblockFacts facts = impl_->superblock_facts();
  if (facts.membership_epoch == epoch) co_return Done{};
  facts.membership_epoch = epoch;
  co_return co_await impl_->write_superblock(disk, facts);
}

Task<Result<Done>> Drive::adopt_seed(Disk& disk, uint64_t hash_seed) {
  const Usage held = usage();
  if (held.records_live + held.payload_bytes > 0)
    co_return fail(Side::Self, Kind::Unsupported, "the drive holds slices");
  const Turnstile::Turn turn = co_await impl_->superblock_turns.enter();
  SuperblockFacts facts = impl_->superblock_facts();
  facts.hash_seed = hash_seed;
  co_return co_await impl_->write_superblock(disk, facts);
}

Task<Result<Done>> Drive::lease_sequences(Disk& disk, Sequence end) {
  const InFlight working(impl_->under_way);
  const Turnstile::Turn turn = co_await impl_->superblock_turns.enter();
  if (impl_->is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  SuperblockFacts facts = impl_->superblock_facts();
  if (end.value <= facts.sequence_end) co_return Done{};
  facts.sequence_end = end.value;
  co_return co_await impl_->write_superblock(disk, facts);
}

}  // namespace segue::cache
