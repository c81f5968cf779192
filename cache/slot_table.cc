#include "cache/slot_table.h"

#include <algorithm>

#include "base/assert.h"

namespace segue::cache {

format::TableEntry encode_entry(const SlotEntry& entry) noexcept {
  return {.key_high = entry.key.key.high,
          .key_low = entry.key.key.low,
          .generation = entry.key.generation.value,
          .slice = entry.key.slice.value,
          .length = entry.length,
          .record = entry.record.value,
          .state = format::EntryState::Live,
          .reserved = {}};
}

std::optional<SlotEntry> decode_entry(const format::TableEntry& entry, uint32_t slot_bytes,
                                      uint32_t records) noexcept {
  if (entry.state != format::EntryState::Live) return std::nullopt;
  if (entry.length == 0 || entry.length > slot_bytes || entry.record >= records) {
    return std::nullopt;
  }
  if (entry.slice >= slice_count(kCompleteLengthMax)) return std::nullopt;
  return SlotEntry{.key = {.key = {.high = entry.key_high, .low = entry.key_low},
                           .generation = Sequence{entry.generation},
                           .slice = SliceIndex{entry.slice}},
                   .record = RecordNumber{entry.record},
                   .length = entry.length};
}

bool table_page_is_valid(format::PageView page, uint64_t device_id, uint32_t number) noexcept {
  const auto header = format::load<format::TablePageHeader>(page);
  return header.magic == format::kTableMagic && header.page == number &&
         header.device_id == device_id && format::page_is_sealed(page);
}

void clear_table_page(format::TablePage& page, uint64_t device_id, uint32_t number) noexcept {
  std::memset(&page, 0, sizeof(page));
  page.header.magic = format::kTableMagic;
  page.header.page = number;
  page.header.device_id = device_id;
}

// The access page has no room for the device id; its checksum is seeded with it instead.
static uint64_t access_checksum(format::PageView page, uint64_t device_id) noexcept {
  return format::page_checksum(page) ^ mix(device_id);
}

void encode_access_page(std::span<const uint32_t> seconds, uint32_t number, uint64_t device_id,
                        format::PageBytes page) noexcept {
  SEGUE_ASSERT(seconds.size() <= format::kSecondsPerAccessPage);
  std::memset(page.data(), 0, page.size());
  format::AccessPage out{};
  out.magic = format::kAccessMagic;
  out.page = number;
  std::copy(seconds.begin(), seconds.end(), out.seconds);
  format::store(std::span<std::byte>(page), out);
  format::store(std::span<std::byte>(page), access_checksum(page, device_id));
}

bool decode_access_page(format::PageView page, uint32_t number, uint64_t device_id,
                        std::span<uint32_t> seconds) noexcept {
  SEGUE_ASSERT(seconds.size() <= format::kSecondsPerAccessPage);
  const auto in = format::load<format::AccessPage>(page);
  if (in.magic != format::kAccessMagic || in.page != number ||
      in.checksum != access_checksum(page, device_id)) {
    return false;
  }
  std::copy_n(in.seconds, seconds.size(), seconds.begin());
  return true;
}

}  // namespace segue::cache
