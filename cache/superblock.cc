#include "cache/superblock.h"

#include <optional>

namespace segue::cache {
namespace {

SuperblockFacts facts_of(const format::Superblock& block) noexcept {
  SuperblockFacts facts{.write_number = block.write_number,
                        .device_id = block.device_id,
                        .hash_seed = block.hash_seed,
                        .membership_epoch = block.membership_epoch,
                        .sequence_end = block.sequence_end,
                        .geometry = {}};
  facts.geometry = {.size_bytes = block.size_bytes,
                    .shards = block.shards,
                    .slots_per_shard = {},
                    .records = block.records,
                    .journal_pages = block.journal_pages};
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    facts.geometry.slots_per_shard[c] = block.slots_per_shard[c];
  }
  return facts;
}

// The checksum begins behind itself like a page's own, but stands behind the magic: so that the
// magic is the first thing of the drive, where file(1) and blkid look.
uint64_t superblock_checksum(format::PageView page) noexcept {
  return checksum(page.subspan(offsetof(format::Superblock, version)));
}

}  // namespace

void encode_superblock(const SuperblockFacts& facts, uint32_t copy,
                       format::PageBytes page) noexcept {
  std::memset(page.data(), 0, page.size());
  format::Superblock block{.magic = format::kSuperblockMagic,
                           .checksum = 0,
                           .version = format::kVersion,
                           .copy = copy,
                           .write_number = facts.write_number,
                           .device_id = facts.device_id,
                           .hash_seed = facts.hash_seed,
                           .membership_epoch = facts.membership_epoch,
                           .sequence_end = facts.sequence_end,
                           .size_bytes = facts.geometry.size_bytes,
                           .slice_bytes = kSliceBytes,
                           .shards = facts.geometry.shards,
                           .slots_per_shard = {},
                           .records = facts.geometry.records,
                           .journal_pages = facts.geometry.journal_pages};
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    block.slots_per_shard[c] = facts.geometry.slots_per_shard[c];
  }
  format::store(std::span<std::byte>(page), block);
  block.checksum = superblock_checksum(page);
  format::store(std::span<std::byte>(page), block);
}

Result<SuperblockFacts> choose_superblock(
    std::span<const std::byte, kSuperblockBytes> pages) noexcept {
  std::optional<SuperblockFacts> newest;
  bool torn_and_unknown = false;
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    const format::PageView page =
        pages.subspan(size_t{copy} * format::kPageBytes).first<format::kPageBytes>();
    const auto block = format::load<format::Superblock>(page);
    if (block.magic != format::kSuperblockMagic) continue;
    const bool valid = block.checksum == superblock_checksum(page);
    if (block.version != format::kVersion) {
      // An upgrade cut in the middle leaves both versions: the unknown one wins, nothing is lost.
      if (valid) return fail(Side::Disk, Kind::Unsupported, "superblock version");
      torn_and_unknown = true;
      continue;
    }
    if (!valid || block.copy != copy) continue;
    if (block.slice_bytes != kSliceBytes) {
      return fail(Side::Disk, Kind::Unsupported, "superblock slice size");
    }
    if (newest && newest->device_id != block.device_id) {
      return fail(Side::Disk, Kind::Mismatch, "superblocks of two drives");
    }
    if (!newest || newest->write_number < block.write_number) newest = facts_of(block);
  }
  if (newest) return *newest;
  // Perhaps a future version with another kind of checksum: leave it alone.
  if (torn_and_unknown) return fail(Side::Disk, Kind::Unsupported, "superblock version");
  return fail(Side::Disk, Kind::Malformed, "no superblock");
}

}  // namespace segue::cache
