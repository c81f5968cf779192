// cache/format.h - the bytes of a drive: structs, magic numbers, version. cache/FORMAT.md describes
// the same for people; both change in the same commit. Everything is little-endian and 4 KiB
// aligned; every page carries an XXH3-64 of itself and the device id, so that stale pages of an
// earlier format and misdirected writes are recognised.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/limits.h"
#include "cache/types.h"

namespace segue::cache::format {

static_assert(std::endian::native == std::endian::little);

/// The version this program writes. It reads this one and the one before (N reads N-1); 1 is the
/// first. Any other is Unsupported and never written to.
inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kPageBytes = 4 * KiB;
static_assert(kPageBytes == kDiskAlignBytes);

// --- superblock: four copies in the first four pages ---
inline constexpr uint32_t kSuperblockCopies = 4;
inline constexpr uint64_t kSuperblockMagic = 0x7672'4465'7567'6553;  // "SegueDrv"

/// The first 24 bytes keep their meaning in every version, so that an older program can tell a
/// newer drive from a foreign one.
struct Superblock {
  uint64_t magic;
  uint64_t checksum;  // XXH3-64 of the page from `version` on
  uint32_t version;
  uint32_t copy;          // 0..3: which page this is
  uint64_t write_number;  // the valid copy with the highest one is in force
  uint64_t device_id;
  uint64_t hash_seed;
  uint64_t membership_epoch;
  uint64_t sequence_end;  // sequences below it may have been used
  uint64_t size_bytes;
  uint32_t slice_bytes;
  uint32_t shards;
  uint32_t slots_per_shard[kSizeClasses];  // by SizeClass; [0] (Small16) is 0
  uint32_t records;
  uint32_t journal_pages;  // of each of the two copies
};
static_assert(sizeof(Superblock) == 104);

// --- purge journal: two copies of a ring of pages ---
inline constexpr uint32_t kJournalMagic = 0x6c6e'4a50;  // "PJnl"
inline constexpr uint32_t kJournalCopies = 2;

struct JournalPageHeader {
  uint64_t checksum;  // XXH3-64 of the page from `magic` on
  uint32_t magic;
  uint32_t statements;
  uint64_t device_id;
  uint64_t page_number;  // grows by one per page written; its place is page_number % journal_pages
  uint64_t tail_page;    // pages before it hold nothing that is still in force
  uint64_t retired_before;  // statements with a lower sequence are retired
  uint32_t used_bytes;      // of the page, header included
  uint32_t reserved;
};
static_assert(sizeof(JournalPageHeader) == 56);

struct JournalStatement {  // followed by prefix_bytes of text and zeros up to a multiple of 8
  uint64_t sequence;
  uint64_t key_high;
  uint64_t key_low;
  uint8_t scope;  // PurgeScope
  uint8_t soft;   // 0 or 1
  uint16_t prefix_bytes;
  uint32_t reserved;
};
static_assert(sizeof(JournalStatement) == 32);
static_assert(sizeof(JournalPageHeader) + sizeof(JournalStatement) + kKeyBytesMax <= kPageBytes);

// --- record: one page each ---
inline constexpr uint32_t kRecordMagic = 0x6463'6552;  // "Recd"

struct RecordHeader {  // followed by key text, tags (8 bytes each), facts, zeros
  uint64_t checksum;   // XXH3-64 of the page from `magic` on
  uint32_t magic;
  uint32_t record;  // its own number
  uint64_t device_id;
  uint64_t key_high;
  uint64_t key_low;
  uint64_t generation;
  uint64_t complete_length;
  uint16_t key_bytes;
  uint16_t tags;
  uint16_t facts_bytes;
  uint16_t reserved;
};
static_assert(sizeof(RecordHeader) == 64);
static_assert(kRecordBytes == kPageBytes);
inline constexpr uint32_t kRecordPayloadBytes = kPageBytes - sizeof(RecordHeader);

// --- slot table: pages of 63 entries; a page holds slots of one shard and one class ---
inline constexpr uint32_t kTableMagic = 0x6c62'6154;  // "Tabl"
inline constexpr uint32_t kEntriesPerTablePage = 63;

struct TablePageHeader {
  uint64_t checksum;  // XXH3-64 of the page from `magic` on
  uint32_t magic;
  uint32_t page;  // its own number within the table
  uint64_t device_id;
  uint8_t reserved[40];
};
static_assert(sizeof(TablePageHeader) == 64);

enum class EntryState : uint32_t { Free = 0, Live = 0x6576'694c };  // "Live"

struct TableEntry {
  uint64_t key_high;
  uint64_t key_low;
  uint64_t generation;
  uint32_t slice;
  uint32_t length;
  uint32_t record;
  EntryState state;
  uint8_t reserved[24];
};
static_assert(sizeof(TableEntry) == 64);

struct TablePage {
  TablePageHeader header;
  TableEntry entries[kEntriesPerTablePage];
};
static_assert(sizeof(TablePage) == kPageBytes);

// --- access order: pages of 1020 numbers, arranged like the table ---
inline constexpr uint32_t kAccessMagic = 0x7363'6341;  // "Accs"
inline constexpr uint32_t kSecondsPerAccessPage = 1020;

struct AccessPage {
  uint64_t checksum;  // XXH3-64 of the page from `magic` on
  uint32_t magic;
  uint32_t page;                            // its own number within the access order
  uint32_t seconds[kSecondsPerAccessPage];  // of the drive's own running time; 0: never used
};
static_assert(sizeof(AccessPage) == kPageBytes);

// --- slot: a page of header, then the payload ---
inline constexpr uint32_t kSlotMagic = 0x746f'6c53;  // "Slot"

struct SlotHeader {   // the rest of the page is zeros
  uint64_t checksum;  // XXH3-64 of the page from `magic` on
  uint32_t magic;
  uint32_t slot;  // its own number
  uint64_t device_id;
  uint64_t key_high;
  uint64_t key_low;
  uint64_t generation;  // the sequence taken before its bytes were asked of the origin
  uint32_t slice;
  uint32_t length;
  uint64_t payload_checksum;  // XXH3-64 of the payload, rounded up to 4 KiB with zeros
};
static_assert(sizeof(SlotHeader) == 64);
static_assert(kSlotHeaderBytes == kPageBytes);

using PageView = std::span<const std::byte, kPageBytes>;
using PageBytes = std::span<std::byte, kPageBytes>;

/// Pages come from the drive as bytes; copying a struct in and out is the defined way to read them.
template <class T>
[[nodiscard]] T load(std::span<const std::byte> bytes) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes.first(sizeof(T)).data(), sizeof(T));
  return value;
}
template <class T>
void store(std::span<std::byte> bytes, const T& value) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(bytes.first(sizeof(T)).data(), &value, sizeof(T));
}

/// The checksum of a page whose own checksum is its first eight bytes.
[[nodiscard]] inline uint64_t page_checksum(PageView page) noexcept {
  return checksum(page.subspan(sizeof(uint64_t)));
}
/// Fills in the checksum; the last step of every encoding.
inline void seal_page(PageBytes page) noexcept {
  store(std::span<std::byte>(page), page_checksum(page));
}
[[nodiscard]] inline bool page_is_sealed(PageView page) noexcept {
  return load<uint64_t>(page) == page_checksum(page);
}

}  // namespace segue::cache::format
