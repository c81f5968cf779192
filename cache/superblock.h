// cache/superblock.h - the four copies that say what a drive is. Pure; layout: cache/FORMAT.md.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "cache/format.h"
#include "cache/geometry.h"

namespace segue::cache {

struct SuperblockFacts {
  uint64_t write_number = 0;
  uint64_t device_id = 0;
  uint64_t hash_seed = 0;
  uint64_t membership_epoch = 0;
  uint64_t sequence_end = 1;
  Geometry::Facts geometry;
};

inline constexpr uint64_t kSuperblockBytes =
    uint64_t{format::kSuperblockCopies} * format::kPageBytes;

/// Writes the page of copy `copy`.
void encode_superblock(const SuperblockFacts& facts, uint32_t copy,
                       format::PageBytes page) noexcept;

/// Chooses the newest valid copy out of the four pages. A copy that is torn, rotten or lies in
/// another's place is passed over. Errors: {Disk, Malformed}: none is ours; {Disk, Unsupported}: a
/// version this program does not know; {Disk, Mismatch}: valid copies of two different drives.
[[nodiscard]] Result<SuperblockFacts> choose_superblock(
    std::span<const std::byte, kSuperblockBytes> pages) noexcept;

}  // namespace segue::cache
