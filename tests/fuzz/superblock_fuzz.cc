// Superblocks: whatever four pages say, either nothing is chosen or a drive whose every part lies
// inside its own size.
#include "cache/geometry.h"
#include "cache/superblock.h"
#include "tests/fuzz/drive_pages.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)

void check_geometry(const Geometry& geometry) {
  SEGUE_ASSERT(geometry.slots() > 0);
  SEGUE_ASSERT(geometry.shards() > 0);
  for (const uint32_t slot : {0U, geometry.slots() / 2, geometry.slots() - 1}) {
    const SlotPlace place = geometry.place_of(slot);
    SEGUE_ASSERT(place.shard < geometry.shards());
    SEGUE_ASSERT(place.local < geometry.slots_per_shard());
    SEGUE_ASSERT(geometry.slot_number(place) == slot);
    const uint64_t bytes = kSlotHeaderBytes + bytes_of(geometry.class_of_local(place.local));
    SEGUE_ASSERT(geometry.slot_offset(slot) >= geometry.access().end());
    SEGUE_ASSERT(geometry.slot_offset(slot) + bytes <= geometry.facts().size_bytes);
    const auto& table = geometry.table();
    const uint32_t page = table.page_of_shard(place.shard, table.page_in_shard_of(place.local));
    SEGUE_ASSERT(page < table.pages());
    const auto slots = table.page_at(page);
    SEGUE_ASSERT(slots.shard == place.shard);
    SEGUE_ASSERT(place.local >= slots.first_local);
    SEGUE_ASSERT(place.local < slots.first_local + slots.count);
  }
}

void check_set(const AlignedBytes& pages) {
  const auto facts = choose_superblock(pages.span().first<kSuperblockBytes>());
  if (!facts) {
    SEGUE_ASSERT(facts.error().side == Side::Disk);
    return;
  }
  const auto geometry = Geometry::from_facts(facts->geometry);
  if (geometry) check_geometry(*geometry);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A superblock is short: the input is cut into four, one for each page.
  constexpr size_t kPart = sizeof(format::Superblock);
  const AlignedBytes pages = fuzz::pages_of(nullptr, 0, format::kSuperblockCopies);
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    const size_t begin = std::min(size, copy * kPart);
    const size_t bytes = std::min(size - begin, kPart);
    if (bytes > 0) std::memcpy(pages.page(copy).data(), data + begin, bytes);
  }
  check_set(pages);
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    const auto page = pages.page(copy);
    format::store(page.subspan(offsetof(format::Superblock, checksum)),
                  checksum(page.subspan(offsetof(format::Superblock, version))));
  }
  check_set(pages);
  return 0;
}
