// cache/slot_table.h - the table that a restart builds the index from, and the access order. The
// table is a hint, the slot's header the truth. Pure; layout: cache/FORMAT.md.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "cache/format.h"
#include "cache/types.h"

namespace segue::cache {

/// What the table says of one live slot.
struct SlotEntry {
  SliceKey key;
  RecordNumber record;
  uint32_t length = 0;
};

[[nodiscard]] format::TableEntry encode_entry(const SlotEntry& entry) noexcept;
/// nullopt: free, or nothing that can be: a length no slot of `slot_bytes` holds, a record beyond
/// `records`, a slice beyond the longest representation.
[[nodiscard]] std::optional<SlotEntry> decode_entry(const format::TableEntry& entry,
                                                    uint32_t slot_bytes, uint32_t records) noexcept;

/// Whether the page is one of this drive's table, in its place, and whole.
[[nodiscard]] bool table_page_is_valid(format::PageView page, uint64_t device_id,
                                       uint32_t number) noexcept;
/// Makes `page` an empty page of the table, not yet sealed.
void clear_table_page(format::TablePage& page, uint64_t device_id, uint32_t number) noexcept;

/// Writes the page with the `seconds` of its slots (at most 1020), sealed.
void encode_access_page(std::span<const uint32_t> seconds, uint32_t number, uint64_t device_id,
                        format::PageBytes page) noexcept;
/// False (and `seconds` untouched) if the page is not whole or not of this drive and place.
[[nodiscard]] bool decode_access_page(format::PageView page, uint32_t number, uint64_t device_id,
                                      std::span<uint32_t> seconds) noexcept;

}  // namespace segue::cache
