// cache/record_index.h - which records are in use, and by how many slots.
//
// A record without slots may be taken for another representation at any time, so a record number
// that somebody remembers is only good together with its key: 32 bits of the key's hash say whether
// the record is still the one it was. 8 1/8 bytes of DRAM per record. Any thread; one mutex, held
// for a few instructions on each write and eviction, never on a hit.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cache/types.h"

namespace segue::cache {

class RecordIndex {
 public:
  explicit RecordIndex(uint32_t records);

  /// Claims a record for a write: `wanted` if it is still that of `key`, else one without slots,
  /// the one unused for longest. nullopt: every record is in use.
  [[nodiscard]] std::optional<RecordNumber> claim(RecordNumber wanted, const KeyHash& key) noexcept;
  /// Ends a claim. After a failed write the record is nobody's.
  void finish(RecordNumber record, bool written) noexcept;

  /// Counts a slot that names `record`. False: it is not the record of `key` any more.
  [[nodiscard]] bool try_name(RecordNumber record, const KeyHash& key) noexcept;
  void unname(RecordNumber record) noexcept;
  /// Whether it is the record of `key` and nobody writes it now.
  [[nodiscard]] bool readable(RecordNumber record, const KeyHash& key) const noexcept;

  /// Every record is nobody's, also where somebody remembers its number: what it says of a
  /// representation may have been purged. Slots that name one keep counting.
  void forget_keys() noexcept;

  /// Start-up: a live slot of `key` names the record; the last key given is the record's.
  void restore(RecordNumber record, const KeyHash& key) noexcept;
  void prefetch(RecordNumber record) const noexcept {
    __builtin_prefetch(&entries_[record.value], 1);
  }

  [[nodiscard]] uint32_t records() const noexcept { return count_; }
  /// Records that slots name.
  [[nodiscard]] uint32_t named() const noexcept;
  [[nodiscard]] uint64_t bytes() const noexcept;

 private:
  struct Entry {
    uint32_t tag = 0;  // of the key; 0: nobody's
   uint32_t slots : 31 = 0;
    uint32_t writing : 1 = 0;
  };
  static_assert(sizeof(Entry) == 8);
  [[nodiscard]] static uint32_t tag_of(const KeyHash& key) noexcept;
  void set_free(uint32_t record, bool free) noexcept;
  [[nodiscard]] std::optional<uint32_t> find_free() noexcept;

  // constant after construction
  const uint32_t count_;
  // under mutex_
  mutable std::mutex mutex_;
  std::unique_ptr<Entry[]> entries_;
  std::vector<uint64_t> free_;  // a bit per record that no slot names and nobody writes
  uint32_t free_count_ = 0;
  uint32_t named_ = 0;
  uint32_t hand_ = 0;  // word of free_ where the next search begins
};

}  // namespace segue::cache
