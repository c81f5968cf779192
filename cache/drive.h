// cache/drive.h - one drive of the SSD tier: superblocks, purge journal, records, slot table,
// slots. Layout: cache/FORMAT.md.
//
// Shared by all loops. The index is split into shards, one short mutex each, never held across a
// wait; what waits takes the calling loop's Disk. Bytes from the drive are hostile: everything read
// is checked, a mismatch is a miss and a counter.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/counter.h"
#include "base/loop/disk.h"
#include "base/result.h"
#include "cache/eviction.h"
#include "cache/geometry.h"
#include "cache/purge_statement.h"
#include "cache/record.h"
#include "cache/slot_state.h"
#include "cache/types.h"

namespace segue::cache {

struct FormatOptions {
  uint64_t size_bytes = 0;  // of the file or device
  uint64_t hash_seed = 0;   // secret; the same on all drives of a node
  uint64_t device_id = 0;   // random; catches a drive put into another's place
  uint64_t membership_epoch = 0;
  DriveShares shares;
};

struct DriveCounters {  // written under the shard's or the drive's own lock; any thread reads
  std::atomic<uint64_t> reads{0}, read_bytes{0}, writes{0}, written_bytes{0}, checksum_failures{0},
      io_errors{0}, evictions{0}, table_flushes{0}, journal_flushes{0}, records_read{0},
      records_written{0}, bad_slots{0},
      returns{0},      // times it was taken back after it had been offline
      stale_slots{0};  // named by the table of a crashed run, and written over since: plain misses
};

class Drive {
 public:
  /// A live slot held for one read; it is not reused while this lives. Move-only.
  class [[nodiscard]] SlotRead;
  /// A slot taken for one write; dropped without success it becomes free again (or Bad after a
  /// failed write).
  class [[nodiscard]] SlotWrite;

  struct Options {
    EvictionPolicy policy = EvictionPolicy::Lru;
    uint64_t write_bytes_per_second = 0;  // 0: no budget
    uint32_t errors_to_offline =
        16;  // EIO, bad payloads under good headers and hangs within a minute
  };

  /// Writes an empty drive: superblocks, empty journal, records and table. Waits. Errors: {Disk,
  /// ...}; {Self, Full} if the size is too small for one slot of each class with a share.
  [[nodiscard]] static Task<Result<Done>> format(Disk& disk, FormatOptions options);

  /// Reads superblocks, journal and slot table and builds the index; slots are verified when first
  /// read, records read when first needed. Waits. Errors: {Disk, Malformed} (no superblock of
  /// ours), {Disk, Unsupported} (a format version this program does not know: never rewritten),
  /// {Disk, Mismatch} (a torn or foreign superblock set), {Disk, IoError}.
  [[nodiscard]] static Task<Result<std::unique_ptr<Drive>>> mount(Disk& disk, Options options,
                                                                  const Clock& clock);
  ~Drive();

  [[nodiscard]] uint64_t hash_seed() const noexcept;
  [[nodiscard]] uint64_t device_id() const noexcept;
  [[nodiscard]] uint64_t membership_epoch() const noexcept;
  [[nodiscard]] Task<Result<Done>> set_membership_epoch(Disk& disk, uint64_t epoch);
  /// Puts a drive that holds nothing under another seed, durably; it is to be mounted anew. Errors:
  /// {Self, Unsupported}: it holds slices or records; {Disk, IoError}.
  [[nodiscard]] Task<Result<Done>> adopt_seed(Disk& disk, uint64_t hash_seed);
  /// The first sequence not covered by an earlier lease of this drive.
  [[nodiscard]] Sequence first_unleased() const noexcept;
  /// Makes durable that sequences below `end` may have been used. Waits (one superblock write and
  /// flush).
  [[nodiscard]] Task<Result<Done>> lease_sequences(Disk& disk, Sequence end);

  // --- what mount() found ---
  struct FoundRepresentation {
    KeyHash key;
    RecordNumber record;
    Sequence generation;
  };
  /// Visits each record that has live slots, once per key with its newest generation (mount() has
  /// freed the slots of older ones). Start-up only, once. The record on the drive may say a newer
  /// generation than the slots: it is written first; then none of its slots is here yet.
  void for_each_representation(void* context,
                               void (*visit)(void* context, const FoundRepresentation&));
  [[nodiscard]] std::vector<PurgeStatement> purge_statements() const;

  // --- index: cannot wait, cannot allocate; any loop ---
  /// Holds the slot of `key` for a read, and counts the use; nullopt if it is not here or the drive
  /// is offline.
  [[nodiscard]] std::optional<SlotRead> try_read(const SliceKey& key, UseId use) noexcept;
  [[nodiscard]] bool contains(const SliceKey& key) const noexcept;
  /// Whether a slice not yet on the drive should be written now: free slots or write budget to
  /// spare, or its second use (ghost).
  [[nodiscard]] bool should_admit(const SliceKey& key, SizeClass size_class, UseId use) noexcept;
  /// Takes a slot for `key` (evicting if need be). `record` must have been written. Errors: {Self,
  /// Overloaded} (budget spent, reads go first, every candidate held), {Disk, Closed} (offline),
  /// {Self, Mismatch} (already here, or being written), {Disk, NotFound} (`record` is not the key's
  /// any more, because no slot named it: write_record() again).
  [[nodiscard]] Result<SlotWrite> try_take_slot(const SliceKey& key, RecordNumber record,
                                                uint32_t length) noexcept;
  /// Unlinks all slices of one generation that are here (it was purged or replaced), and those
  /// being written now as soon as they are; a record that no slot names any more is free to be
  /// taken for another key.
  void forget_generation(const KeyHash& key, Sequence generation, uint32_t slices) noexcept;

  // --- I/O: waits ---
  /// Reads and verifies header, key, generation, slice, length and payload checksum into `payload`
  /// (at least the length rounded to kDiskAlignBytes; the tail is zeros). Errors: {Disk,
  /// ChecksumMismatch}, {Disk, Mismatch} (not what the index said), {Disk, IoError}. On any of them
  /// the slot is unlinked.
  [[nodiscard]] Task<Result<uint32_t>> read_slot(Disk& disk, SlotRead slot,
                                                 std::span<std::byte> payload);
  /// One vectored write of header and payload (zero-filled to kDiskAlignBytes by the caller's
  /// buffer); links the slot on success. `payload` has the length rounded up to kDiskAlignBytes.
  /// Errors: {Disk, IoError}: the slot is Bad; {Self, Purged}: forgotten meanwhile; {Self,
  /// Overloaded}, {Disk, Closed}: nothing was written.
  [[nodiscard]] Task<Result<Done>> write_slot(Disk& disk, SlotWrite slot,
                                              std::span<const std::byte> payload);
  /// Errors: {Disk, NotFound} (free or another key's), {Disk, ChecksumMismatch}, {Disk, IoError}.
  [[nodiscard]] Task<Result<RecordFacts>> read_record(Disk& disk, RecordNumber record, KeyHash key);
  /// Writes a record, into `record` if it is still the key's, else (or if kNoRecord) a free one.
  /// `facts` outlives the task. Errors: {Self, Unsupported} if it does not fit kRecordBytes, {Disk,
  /// Full} if every record is named by slots, {Disk, IoError}.
  [[nodiscard]] Task<Result<RecordNumber>> write_record(Disk& disk, RecordNumber record,
                                                        const RecordFacts& facts);
  /// Appends to the purge journal and flushes; statements appended at once share one flush. Errors:
  /// {Disk, Full}, {Disk, IoError}.
  [[nodiscard]] Task<Result<Done>> append_purge(Disk& disk, PurgeStatement statement);
  /// Drops statements that a finished sweep has made pointless: those with sequence < `before`.
  /// Flushes the table first: what the sweep forgot must stay forgotten without them. Errors:
  /// {Disk, IoError}; {Disk, Full}: they stay in force until a later call retires more.
  [[nodiscard]] Task<Result<Done>> retire_purges(Disk& disk, Sequence before);
  /// One pass of upkeep: flushes dirty table pages, and once a minute the access order. Call every
  /// few seconds from one loop. On an error the pages that could not be written stay dirty.
  [[nodiscard]] Task<Result<Done>> flush_table(Disk& disk);
  /// Whether flush_table() should not wait for its turn: much was written since the last one. Any
  /// loop.
  [[nodiscard]] bool wants_flush() const noexcept;
  /// Forgets all slices, durably, and all records (the purge journal stays): a drive that missed a
  /// membership epoch comes back empty. After mount() and before for_each_representation(), or
  /// while it is offline.
  [[nodiscard]] Task<Result<Done>> forget_everything(Disk& disk);

  // --- state ---
  [[nodiscard]] bool offline() const noexcept;
  void set_offline(const char* reason) noexcept;
  /// Operations of any loop that have not ended. Any thread.
  [[nodiscard]] uint32_t under_way() const noexcept;
  /// Looks whether a drive that is offline may be used again: it is the one it was, nobody else
  /// wrote it meanwhile, it reads in time and takes a write, by which it knows `epoch` and that
  /// sequences below `leased` may be used. If it has missed a membership epoch, it is emptied
  /// first. `disk` was opened anew. Then set_online() may be called. REQUIRES: nothing else is
  /// under way. Waits. Errors: {Disk, Mismatch}: it is not what it was; {Disk, Timeout}: a read
  /// took kDriveHangTimeout or longer; {Disk, IoError} and others.
  [[nodiscard]] Task<Result<Done>> come_back(Disk& disk, uint64_t epoch, Sequence leased);
  /// Whether `disk`, which another loop opened by the same path, is this drive: the path may name
  /// something else by now. Waits; any loop. Errors: as come_back().
  [[nodiscard]] Task<Result<Done>> recognise(Disk& disk);
  /// In use again. What it holds is not verified any more, and what is free is written to the table
  /// again: a drive that was pulled may have lost what it had not flushed.
  void set_online() noexcept;
  /// How often it was set online. A Disk that was opened before is dead. Any thread.
  [[nodiscard]] uint32_t times_back() const noexcept;
  /// An operation that has not completed within kDriveHangTimeout counts as an error.
  void count_hang() noexcept;
  struct Usage {
    uint64_t slots[kSizeClasses] = {};
    uint64_t live[kSizeClasses] = {};
    uint64_t payload_bytes = 0;
    uint64_t index_bytes = 0;    // DRAM of the index, all of it but the ghosts
    uint64_t ghost_entries = 0;  // 8 bytes each
    uint64_t records = 0, records_live = 0;
  };
  /// Takes every shard's lock in turn, each for a few sums: for scrapes.
  [[nodiscard]] Usage usage() const;
  struct Census {
    uint64_t in_state[kSlotStates] = {};  // by SlotState; their sum is that of slots
    uint64_t readers = 0;                 // reads that hold a slot
  };
  /// Counts slot by slot and asserts that what usage() says is so: tests.
  [[nodiscard]] Census census() const;
  [[nodiscard]] const DriveCounters& counters() const noexcept;

 private:
  struct Impl;
  explicit Drive(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Drive::SlotRead {
 public:
  SlotRead(SlotRead&& other) noexcept;
  SlotRead& operator=(SlotRead&&) = delete;
  ~SlotRead();
  [[nodiscard]] uint32_t length() const noexcept { return length_; }

 private:
  friend class Drive;
  SlotRead(Drive* drive, uint32_t slot, const SliceKey& key, uint32_t length) noexcept
      : drive_(drive), slot_(slot), key_(key), length_(length) {}
  Drive* drive_;
  uint32_t slot_;
  SliceKey key_;
  uint32_t length_;
};

class Drive::SlotWrite {
 public:
  SlotWrite(SlotWrite&& other) noexcept;
  SlotWrite& operator=(SlotWrite&&) = delete;
  ~SlotWrite();

 private:
  friend class Drive;
  SlotWrite(Drive* drive, uint32_t slot, const SliceKey& key, RecordNumber record,
            uint32_t length) noexcept
      : drive_(drive), slot_(slot), key_(key), record_(record), length_(length) {}
  Drive* drive_;
  uint32_t slot_;
  SliceKey key_;
  RecordNumber record_;
  uint32_t length_;
};

}  // namespace segue::cache
