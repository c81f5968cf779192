#include "cache/slot_header.h"

namespace segue::cache {
namespace {

format::SlotHeader header_of(const SlotExpectation& slot) noexcept {
  return {.checksum = 0,
          .magic = format::kSlotMagic,
          .slot = slot.slot,
          .device_id = slot.device_id,
          .key_high = slot.key.key.high,
          .key_low = slot.key.key.low,
          .generation = slot.key.generation.value,
          .slice = slot.key.slice.value,
          .length = slot.length,
          .payload_checksum = 0};
}

}  // namespace

void encode_slot_header(const SlotExpectation& slot, std::span<const std::byte> payload,
                        format::PageBytes page) noexcept {
  std::memset(page.data(), 0, page.size());
  format::SlotHeader header = header_of(slot);
  header.payload_checksum = checksum(payload);
  format::store(std::span<std::byte>(page), header);
  format::seal_page(page);
}

SlotFault verify_slot(const SlotExpectation& expected, format::PageView page,
                      std::span<const std::byte> payload) noexcept {
  const auto header = format::load<format::SlotHeader>(page);
  if (header.magic != format::kSlotMagic || !format::page_is_sealed(page)) {
    return SlotFault::BadHeader;
  }
  format::SlotHeader wanted = header_of(expected);
  wanted.checksum = header.checksum;
  wanted.payload_checksum = header.payload_checksum;
  if (std::memcmp(&header, &wanted, sizeof(header)) != 0) return SlotFault::Foreign;
#ifndef SEGUE_PLANTED_BUG_checksum_not_checked
  if (checksum(payload) != header.payload_checksum) return SlotFault::BadPayload;
#else
  (void)payload;
#endif
  return SlotFault::None;
}

}  // namespace segue::cache
