// cache/index_shard.h - one shard of a drive's index: a small complete cache of its own (slots,
// eviction order, ghosts, what the table does not know yet) behind one mutex.
//
// The mutex is held well under a microsecond and never across a wait; every public call takes it
// itself. Nothing is allocated after construction but by take_changes() and the start-up calls.
//
// DRAM per slot: fingerprint 8, record 4, packed state 4, hash table 5, LRU links and last touch 12
// (S3-FIFO 13), dirty bit 1/8, changes not yet flushed < 1: 34 bytes (S3-FIFO 35), and 8 per ghost;
// with the record's share (record_index.h) below 40. Measured by loadtest/bench/restart.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cache/eviction.h"
#include "cache/geometry.h"
#include "cache/ghost_list.h"
#include "cache/slot_map.h"
#include "cache/slot_state.h"
#include "cache/slot_table.h"
#include "cache/types.h"

namespace segue::cache {

/// What the index keeps of a slice's identity. Two slices with one fingerprint cost a miss: the
/// slot's header tells them apart. The top bits choose the shard.
[[nodiscard]] uint64_t fingerprint_of(const SliceKey& key) noexcept;
[[nodiscard]] uint32_t shard_of(uint64_t fingerprint, uint32_t shards) noexcept;

class IndexShard {
 public:
  /// `geometry` outlives the shard.
  IndexShard(const Geometry& geometry, uint32_t shard, EvictionPolicy policy);
  IndexShard(const IndexShard&) = delete;
  IndexShard& operator=(const IndexShard&) = delete;

  // --- any loop ---
  struct Held {
    uint32_t local = 0;
    uint32_t length = 0;
  };
  /// Holds a live slot for a read and counts the use. nullopt: not here, or too many readers.
  [[nodiscard]] std::optional<Held> hold(uint64_t fingerprint, UseId use,
                                         uint32_t now_seconds) noexcept;
  void release(uint32_t local) noexcept;
  [[nodiscard]] bool contains(uint64_t fingerprint) const noexcept;

  /// Whether a slice that is not here is worth a write: a slot is free, or there is budget to
  /// spare, or this is its second use.
  [[nodiscard]] bool should_admit(uint64_t fingerprint, SizeClass size_class, UseId use,
                                  bool budget_to_spare) noexcept;

  struct Taken {
    uint32_t local = 0;
    RecordNumber evicted = kNoRecord;  // of the slice that had to go
  };
  /// Takes a slot for a write: a free one, or that of the slice to evict. Never one that is read.
  /// Errors: {Self, Mismatch}: the slice is here, or being written; {Self, Overloaded}: every
  /// candidate is held, or too many changes wait for the table's flush.
  [[nodiscard]] Result<Taken> take(uint64_t fingerprint, SizeClass size_class, RecordNumber record,
                                   uint32_t length) noexcept;
  /// Unlinks the slice that would leave next, to free its record; its record, if there was one.
  [[nodiscard]] std::optional<RecordNumber> evict(SizeClass size_class) noexcept;
  /// The write is done: links the slot. False: its generation was forgotten meanwhile, so it is
  /// free again and its record no longer named.
  [[nodiscard]] bool written(uint32_t local, const SlotEntry& entry, uint32_t now_seconds) noexcept;
  /// The write failed: the slot is Bad.
  void failed(uint32_t local) noexcept;
  /// Nothing was written.
  void dropped(uint32_t local) noexcept;

  /// Unlinks a slice; of one being written, the link. The record that is no longer named, if any.
  [[nodiscard]] std::optional<RecordNumber> forget(uint64_t fingerprint) noexcept;
  /// Unlinks the slot that the caller holds for a read, unless it is unlinked already.
  [[nodiscard]] std::optional<RecordNumber> unlink_held(uint32_t local) noexcept;
  /// Unlinks everything live; appends the records no longer named. Walks over all slots under the
  /// lock: while nobody uses the drive.
  void forget_all(std::vector<RecordNumber>& unnamed);

  /// The slot's header has been seen since the start. Held by the caller.
  [[nodiscard]] bool verified(uint32_t local) const noexcept;
  void set_verified(uint32_t local) noexcept;
  /// No header counts as seen any more, and the table will say anew which slots are free: the drive
  /// may have lost what it had not flushed. As forget_all(): while nobody uses the drive.
  void doubt_everything() noexcept;

  // --- the table ---
  struct Change {
    uint32_t local = 0;
    uint32_t nth = 0;  // in the order the changes were made
    SlotEntry entry;
  };
  struct DirtyPage {
    uint32_t page_in_shard = 0;
    uint64_t changed = 0;  // by place in the page
    uint64_t live = 0;     // of these
  };
  /// The room for changes fills up: once it is full nothing is admitted until they are flushed.
  [[nodiscard]] bool wants_flush() const noexcept;
  struct Changes {
    std::vector<DirtyPage> pages;
    std::vector<Change> entries;  // sorted by slot, then nth: of one slot the last counts
  };
  /// What has changed since the last call. Waits for nothing, but allocates: upkeep only.
  [[nodiscard]] Changes take_changes();
  /// Gives back what could not be written. An entry that finds no room any more is lost at the next
  /// restart only.
  void give_back(const DirtyPage& page, std::span<const Change> entries) noexcept;
  /// Copies the last uses of the slots from `first_local` on; 0 for slots that are not live.
  void copy_last_touch(uint32_t first_local, std::span<uint32_t> into) const noexcept;

  // --- start-up, one thread ---
  /// The seconds of the slots of one access page, from `first_local` on: before finish_restore().
  [[nodiscard]] std::span<uint32_t> restored_seconds(uint32_t first_local, uint32_t count) noexcept;
  void prefetch(uint64_t fingerprint) const noexcept { map_.prefetch(fingerprint); }
  /// Links a slot that the table says is live. False: its slice has one already.
  [[nodiscard]] bool restore(uint32_t local, uint64_t fingerprint, RecordNumber record,
                             uint32_t length) noexcept;
  [[nodiscard]] RecordNumber restored_record(uint32_t local) const noexcept {
    return RecordNumber{records_[local]};
  }
  /// Frees a slot that restore() linked; the table will say so.
  void free_restored(uint32_t local) noexcept;
  /// The table says something else of the slot than this shard: it is written at the next flush.
  void mark_restored_dirty(uint32_t local) noexcept;
  /// Likewise of a whole page that could not be read.
  void mark_page_dirty(uint32_t page_in_shard) noexcept;
  /// Builds eviction order and free lists.
  void finish_restore();

  struct Usage {
    std::array<uint32_t, kSizeClasses> live{};
    uint64_t payload_bytes = 0;
    uint64_t index_bytes = 0;
    uint64_t ghosts = 0;
  };
  /// Sums that are kept, so that a scrape does not hold the lock for a walk over the slots.
  [[nodiscard]] Usage usage() const;
  struct Census {
    std::array<uint32_t, kSlotStates> states{};  // slots in each
    uint32_t readers = 0;
  };
  /// Counts slot by slot under the lock and asserts that the kept sums agree: tests.
  [[nodiscard]] Census census() const;

 private:
  /// The slots of one class; the eviction order numbers them from 0.
  struct Area final : EvictionOwner {
    Area(const IndexShard& owner, uint32_t first_local, uint32_t end_local, EvictionPolicy policy)
        : shard(owner),
          first(first_local),
          end(end_local),
          order(make_eviction_order(policy, end_local - first_local)) {}
    bool may_evict(uint32_t entry) const noexcept override;
    uint64_t fingerprint_of(uint32_t entry) const noexcept override;

    const IndexShard& shard;
    const uint32_t first;  // local numbers
    const uint32_t end;
    const std::unique_ptr<EvictionOrder> order;
    uint32_t free_first = kNoEntry;  // linked through the fingerprints of free slots
    uint32_t free_count = 0;
  };

  /// A slot in 32 bits.
  struct Packed {
    uint32_t length : 19;  // 0..kSliceBytes
    uint32_t state : 3;
    uint32_t readers : 8;
    uint32_t verified : 1;
    uint32_t doomed : 1;  // forgotten while it was being written
  };
  static_assert(sizeof(Packed) == 4);
  static_assert(kSliceBytes < (1U << 19));
  static constexpr uint32_t kReadersMax = 255;

  [[nodiscard]] Area& area_of(uint32_t local) noexcept;
  [[nodiscard]] SlotState state_of(uint32_t local) const noexcept {
    return static_cast<SlotState>(slots_[local].state);
  }
  void apply(uint32_t local, SlotEvent event) noexcept;
  void set_state(uint32_t local, SlotState to) noexcept;
  void mark_dirty(uint32_t local) noexcept;
  void push_free(Area& area, uint32_t local) noexcept;
  /// Live -> Retiring, and on to Free if nobody reads.
  void unlink(Area& area, uint32_t local) noexcept;
  void retire(Area& area, uint32_t local) noexcept;
  [[nodiscard]] bool has_room_for_change() const noexcept;
  /// Links of slots that have been taken again since.
  void drop_stale_changes() noexcept;

  // constant after construction
  const Geometry& geometry_;
  const uint32_t shard_;
  const uint32_t slot_count_;
  const uint32_t changes_max_;
  // under mutex_
  mutable std::mutex mutex_;
  std::unique_ptr<uint64_t[]> fingerprints_;
  std::unique_ptr<uint32_t[]> records_;
  std::unique_ptr<Packed[]> slots_;
  SlotMap map_;
  std::vector<std::unique_ptr<Area>> areas_;
  GhostList ghosts_;
  std::vector<uint64_t> dirty_;  // by page of the table: bits of the slots that changed
  std::vector<Change> changes_;  // links since the last flush; capacity changes_max_
  uint32_t writing_ = 0;
  std::array<uint32_t, kSizeClasses> live_{};
  uint64_t payload_bytes_ = 0;  // of the live slots
};

}  // namespace segue::cache
