// cache/slot_header.h - the page before each slot's payload: the truth about what lies there. Pure;
// layout: cache/FORMAT.md.
#pragma once
#include <cstdint>
#include <span>

#include "base/result.h"
#include "cache/format.h"
#include "cache/types.h"

namespace segue::cache {

/// What a slot should hold.
struct SlotExpectation {
  uint64_t device_id = 0;
  uint32_t slot = 0;
  SliceKey key;
  uint32_t length = 0;
};

/// Writes the header page of a slot with `payload` (its length rounded up to 4 KiB, zero-filled).
void encode_slot_header(const SlotExpectation& slot, std::span<const std::byte> payload,
                        format::PageBytes page) noexcept;

/// What is wrong with a slot that was read.
enum class SlotFault : uint8_t {
  None,
  BadHeader,   // not a sealed header: never written, torn or rotten
  Foreign,     // a good header that says something else: overwritten since the table was flushed,
               // misdirected, or of an earlier format
  BadPayload,  // a good header, and other bytes than were written
};
/// `payload` as read: the expected length rounded up to 4 KiB.
[[nodiscard]] SlotFault verify_slot(const SlotExpectation& expected, format::PageView page,
                                    std::span<const std::byte> payload) noexcept;

}  // namespace segue::cache
