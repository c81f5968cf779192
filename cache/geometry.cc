#include "cache/geometry.h"

#include <algorithm>

#include "base/assert.h"

namespace segue::cache {
namespace {

constexpr uint32_t kJournalPagesMin = 16;
constexpr uint32_t kJournalPagesMax = 1024;  // 4 MiB a copy: as many purges between two sweeps

constexpr uint64_t slot_bytes(uint32_t size_class) {
  return kSlotHeaderBytes + bytes_of(static_cast<SizeClass>(size_class));
}

/// One record per slot of the small classes, one per four of the large: long tracks have many
/// slices, whole segments have one.
uint64_t records_for(const std::array<uint32_t, kSizeClasses>& slots_per_shard, uint32_t shards) {
  const uint64_t small = uint64_t{slots_per_shard[1]} + slots_per_shard[2];
  return shards * small + (uint64_t{shards} * slots_per_shard[3] + 3) / 4;
}

uint32_t journal_pages_for(uint64_t size_bytes) {
  const uint64_t pages = size_bytes / format::kPageBytes / 512;
  return static_cast<uint32_t>(std::clamp<uint64_t>(pages, kJournalPagesMin, kJournalPagesMax));
}

/// What one slot costs with its share of records, table and access order.
double slot_cost(uint32_t size_class) {
  constexpr double kPage = format::kPageBytes;
  const double record = size_class == 3 ? kRecordBytes / 4.0 : kRecordBytes;
  return static_cast<double>(slot_bytes(size_class)) + record +
         kPage / format::kEntriesPerTablePage + kPage / format::kSecondsPerAccessPage;
}

/// Slots of each class if the classes share `bytes` so that their payloads stand as `parts` do.
std::array<uint64_t, kSizeClasses> share_out(uint64_t bytes,
                                             const std::array<uint32_t, kSizeClasses>& parts) {
  double cost_per_payload_byte = 0;
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    cost_per_payload_byte += parts[c] * slot_cost(c) / bytes_of(static_cast<SizeClass>(c)) / 100;
  }
  const double payload = static_cast<double>(bytes) / cost_per_payload_byte;
  std::array<uint64_t, kSizeClasses> slots{};
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    slots[c] =
        static_cast<uint64_t>(payload * parts[c] / 100 / bytes_of(static_cast<SizeClass>(c)));
  }
  return slots;
}

}  // namespace

Geometry::PagedArray::PagedArray(uint64_t offset, uint32_t per_page, const Facts& facts) noexcept
    : offset_(offset),
      per_page_(per_page),
      shards_(facts.shards),
      per_shard_(facts.slots_per_shard) {
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    pages_per_shard_[c] = (per_shard_[c] + per_page - 1) / per_page;
    first_page_[c + 1] = first_page_[c] + shards_ * pages_per_shard_[c];
    first_local_[c + 1] = first_local_[c] + per_shard_[c];
  }
}

uint32_t Geometry::PagedArray::pages_per_shard() const noexcept {
  return shards_ == 0 ? 0 : pages() / shards_;
}

Geometry::PagedArray::Page Geometry::PagedArray::page_at(uint32_t page) const noexcept {
  SEGUE_ASSERT(page < pages());
  uint32_t c = 0;
  while (page >= first_page_[c + 1]) ++c;
  const uint32_t within = page - first_page_[c];
  const uint32_t first = within % pages_per_shard_[c] * per_page_;
  return {.shard = within / pages_per_shard_[c],
          .first_local = first_local_[c] + first,
          .count = std::min(per_page_, per_shard_[c] - first)};
}

uint32_t Geometry::PagedArray::page_of_shard(uint32_t shard,
                                             uint32_t page_in_shard) const noexcept {
  uint32_t c = 0;
  while (page_in_shard >= pages_per_shard_[c]) page_in_shard -= pages_per_shard_[c++];
  return first_page_[c] + shard * pages_per_shard_[c] + page_in_shard;
}

uint32_t Geometry::PagedArray::page_in_shard_of(uint32_t local) const noexcept {
  uint32_t before = 0;
  uint32_t c = 0;
  while (local >= first_local_[c + 1]) before += pages_per_shard_[c++];
  return before + (local - first_local_[c]) / per_page_;
}

Geometry::Geometry(const Facts& facts) noexcept : facts_(facts) {
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    class_first_[c + 1] = class_first_[c] + facts.shards * facts.slots_per_shard[c];
    local_first_[c + 1] = local_first_[c] + facts.slots_per_shard[c];
  }
  journal_offset_ = uint64_t{format::kSuperblockCopies} * format::kPageBytes;
  records_offset_ =
      journal_offset_ + uint64_t{format::kJournalCopies} * facts.journal_pages * format::kPageBytes;
  table_ = PagedArray(records_offset_ + uint64_t{facts.records} * kRecordBytes,
                      format::kEntriesPerTablePage, facts);
  access_ = PagedArray(table_.end(), format::kSecondsPerAccessPage, facts);
  slots_offset_[0] = access_.end();
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    slots_offset_[c + 1] =
        slots_offset_[c] + uint64_t{facts.shards} * facts.slots_per_shard[c] * slot_bytes(c);
  }
}

bool Geometry::counts_are_sane(const Facts& facts) noexcept {
  if (facts.shards == 0 || facts.shards > kIndexShardsPerDriveMax) return false;
  if (facts.slots_per_shard[0] != 0) return false;
  uint64_t per_shard = 0;
  for (uint32_t slots : facts.slots_per_shard) per_shard += slots;
  if (per_shard == 0 || per_shard > kSlotsPerShardMax) return false;
  if (facts.journal_pages < kJournalPagesMin || facts.journal_pages > kJournalPagesMax) {
    return false;
  }
  return facts.records == records_for(facts.slots_per_shard, facts.shards);
}

Result<Geometry> Geometry::from_facts(const Facts& facts) {
  // With sane counts nothing below can overflow: at most 2^30 slots of 260 KiB.
  if (!counts_are_sane(facts)) return fail(Side::Disk, Kind::Malformed, "geometry counts");
  const Geometry geometry(facts);
  if (geometry.end() > facts.size_bytes) {
    return fail(Side::Disk, Kind::Malformed, "geometry beyond the drive's end");
  }
  return geometry;
}

Result<Geometry> Geometry::plan(uint64_t size_bytes, DriveShares shares) {
  const std::array<uint32_t, kSizeClasses> parts{0, shares.k64, shares.k128, shares.k256};
  if (parts[1] + parts[2] + parts[3] != 100) {
    return fail(Side::Self, Kind::Unsupported, "shares do not add up to 100");
  }
  Facts facts{.size_bytes = size_bytes, .journal_pages = journal_pages_for(size_bytes)};
  const uint64_t fixed =
      (format::kSuperblockCopies + uint64_t{format::kJournalCopies} * facts.journal_pages) *
      format::kPageBytes;
  if (size_bytes <= fixed) return fail(Side::Self, Kind::Full, "drive too small");
  const std::array<uint64_t, kSizeClasses> wanted = share_out(size_bytes - fixed, parts);
  const uint64_t total = wanted[1] + wanted[2] + wanted[3];
  facts.shards = static_cast<uint32_t>(
      std::clamp<uint64_t>(total / kSlotsPerIndexShardMin, 1, kIndexShardsPerDriveMax));
  if (total / facts.shards > kSlotsPerShardMax) {
    return fail(Side::Self, Kind::Unsupported, "more slots than slot numbers");
  }
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    facts.slots_per_shard[c] = static_cast<uint32_t>(wanted[c] / facts.shards);
  }
  // Rounding up to whole pages may cost a few slots more than slot_cost() says.
  const auto largest =
      static_cast<size_t>(std::max_element(wanted.begin(), wanted.end()) - wanted.begin());
  while (true) {
    for (uint32_t c = 0; c < kSizeClasses; ++c) {
      if (parts[c] > 0 && facts.slots_per_shard[c] == 0) {
        return fail(Side::Self, Kind::Full, "drive too small");
      }
    }
    facts.records = static_cast<uint32_t>(records_for(facts.slots_per_shard, facts.shards));
    auto geometry = from_facts(facts);
    if (geometry) return geometry;
    --facts.slots_per_shard[largest];
  }
}

SizeClass Geometry::class_of_local(uint32_t local) const noexcept {
  uint8_t c = 0;
  while (local >= local_first_[c + 1]) ++c;
  return static_cast<SizeClass>(c);
}

std::optional<SizeClass> Geometry::class_for(uint32_t length) const noexcept {
  for (SizeClass c : {SizeClass::K64, SizeClass::K128, SizeClass::K256}) {
    if (length <= bytes_of(c) && per_shard(c) > 0) return c;
  }
  return std::nullopt;
}

uint32_t Geometry::slot_number(SlotPlace place) const noexcept {
  const auto c = static_cast<uint8_t>(class_of_local(place.local));
  return class_first_[c] + place.shard * facts_.slots_per_shard[c] + place.local - local_first_[c];
}

SlotPlace Geometry::place_of(uint32_t slot) const noexcept {
  uint32_t c = 0;
  while (slot >= class_first_[c + 1]) ++c;
  const uint32_t within = slot - class_first_[c];
  return {.shard = within / facts_.slots_per_shard[c],
          .local = local_first_[c] + within % facts_.slots_per_shard[c]};
}

uint64_t Geometry::slot_offset(uint32_t slot) const noexcept {
  uint32_t c = 0;
  while (slot >= class_first_[c + 1]) ++c;
  return slots_offset_[c] + uint64_t{slot - class_first_[c]} * slot_bytes(c);
}

}  // namespace segue::cache
