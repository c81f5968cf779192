// cache/drive_impl.h - what a Drive is made of; included by drive*.cc only.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/loop/clock.h"
#include "cache/aligned_bytes.h"
#include "cache/drive.h"
#include "cache/drive_index.h"
#include "cache/geometry.h"
#include "cache/purge_journal.h"
#include "cache/record_index.h"
#include "cache/slot_header.h"
#include "cache/superblock.h"
#include "cache/turnstile.h"

namespace segue::cache {

/// How many operations start-up and the table's flush keep in flight.
inline constexpr uint32_t kUpkeepTasksMax = 8;

/// Counts an operation while it lives.
class InFlight {
 public:
  explicit InFlight(std::atomic<uint32_t>& count) noexcept : count_(count) {
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  ~InFlight() { count_.fetch_sub(1, std::memory_order_relaxed); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::atomic<uint32_t>& count_;
};

struct Drive::Impl {
  Impl(const SuperblockFacts& facts, const Geometry& layout, PurgeJournal purges,
       const Options& wanted, const Clock& time);

  // --- drive.cc ---
  struct Place {
    IndexShard& shard;
    uint32_t local;
  };
  [[nodiscard]] Place place_of(uint32_t slot) noexcept;
  [[nodiscard]] IndexShard& shard_for(uint64_t fingerprint) noexcept {
    return index.shard_for(fingerprint);
  }
  [[nodiscard]] uint32_t now_seconds() const noexcept;
  /// Counts one error of the drive; too many within a minute take it offline.
  void count_error(const char* what) noexcept;
  void go_offline(const char* reason) noexcept;
  [[nodiscard]] bool is_offline() const noexcept { return offline.load(std::memory_order_acquire); }
  /// Claims a record for `key`; where every one is in use, evicts until one is not.
  [[nodiscard]] std::optional<RecordNumber> claim_record(RecordNumber wanted,
                                                         const KeyHash& key) noexcept;
  /// Unlinks a slot that could not be read, and says what its reader is told.
  Error read_failed(uint32_t slot, const Error& error) noexcept;
  Error slot_is_bad(uint32_t slot, SlotFault fault) noexcept;

  // --- drive_superblock.cc ---
  [[nodiscard]] static Task<Result<SuperblockFacts>> read_superblock(Disk& disk);
  /// Copies 0 and 1 are durable before 2 and 3 are touched.
  [[nodiscard]] static Task<Result<Done>> write_superblock_copies(Disk& disk,
                                                                  SuperblockFacts facts);
  /// As the drive's own; the caller is inside superblock_turns.
  [[nodiscard]] Task<Result<Done>> write_superblock(Disk& disk, SuperblockFacts facts);
  [[nodiscard]] SuperblockFacts superblock_facts() const noexcept;
  /// Empty journal, table and access order; durable when it returns.
  [[nodiscard]] static Task<Result<Done>> write_empty_areas(Disk& disk, Geometry layout,
                                                            uint64_t device_id);

  // --- drive_journal.cc ---
  [[nodiscard]] static Task<Result<PurgeJournal>> read_journal(Disk& disk, Geometry layout,
                                                               uint64_t device_id);
  [[nodiscard]] Task<Result<Done>> write_journal(Disk& disk, PurgeJournal::Batch batch);
  [[nodiscard]] Task<Result<Done>> write_purges(Disk& disk, std::vector<PurgeStatement> statements);
  [[nodiscard]] Task<Result<Done>> move_tail(Disk& disk, Sequence retired_before);
  [[nodiscard]] Task<Result<Done>> compact_journal(Disk& disk);

  // --- drive_mount.cc ---
  struct Loading;
  [[nodiscard]] Task<Result<Done>> load_index(Disk& disk);
  [[nodiscard]] static Task<void> load_pieces(Impl& impl, Disk& disk, Loading& loading);
  void load_page(Loading& loading, uint32_t page, format::PageView bytes);
  void load_table_page(Loading& loading, uint32_t page, format::PageView bytes);
  void load_entry(Loading& loading, uint32_t shard, uint32_t local, const SlotEntry& entry,
                  uint64_t fingerprint);
  void load_access_page(Loading& loading, uint32_t page, format::PageView bytes);
  void settle_found(Loading& loading);

  // --- drive_return.cc ---
  /// Reads `into` at `offset`; one that takes too long is {Disk, Timeout}.
  [[nodiscard]] Task<Result<Done>> read_in_time(Disk& disk, uint64_t offset,
                                                std::span<std::byte> into);
  /// Errors: {Disk, Mismatch}: not the drive that went offline, or not as it was then.
  [[nodiscard]] Result<Done> is_as_it_was(const SuperblockFacts& read) const noexcept;

  // --- drive_upkeep.cc ---
  struct TableFlush;
  [[nodiscard]] Task<Result<Done>> flush_dirty_pages(Disk& disk);
  [[nodiscard]] static Task<void> flush_pages(Impl& impl, Disk& disk, TableFlush& flush);
  [[nodiscard]] Task<Result<Done>> flush_page(Disk& disk, TableFlush& flush,
                                              const IndexShard::DirtyPage& dirty);
  [[nodiscard]] Task<Result<Done>> write_access_order(Disk& disk);

  // constant after construction
  const Options options;
  const Clock& clock;
  const Geometry geometry;
  const uint64_t device_id;
  const uint64_t hash_seed;
  const MonoTime mounted_at;
  uint32_t seconds_at_mount = 1;  // of the drive's own running time; set by mount()

  // any thread, each with its own mutex
  DriveIndex index;
  std::vector<std::unique_ptr<IndexShard>>& shards = index.shards();
  RecordIndex records;
  PagePool pages;
  DriveCounters counters;

  // atomic, any thread
  std::atomic<bool> offline{false};
  std::atomic<uint32_t> times_back{0};
  std::atomic<uint32_t> under_way{0};  // public operations, of all loops
  std::atomic<uint32_t> reads_in_flight{0};
  std::atomic<uint32_t> writes_in_flight{0};
  std::atomic<uint32_t> eviction_turn{0};  // whose turn it is to give up a slice for its record
  // A crash tears the slots that were being written then: so many bad payloads on slots not yet
  // verified say nothing about the drive.
  std::atomic<uint32_t> torn_slots_allowed{kDriveOpsInFlightMax};

  // one writer at a time, of any loop
  Turnstile superblock_turns;
  Turnstile journal_turns;
  Turnstile table_turns;
  std::array<Turnstile, 16> record_turns;  // by record number

  struct PurgeOutcome {
    std::optional<Result<Done>> result;
  };
  struct WaitingPurge {
    PurgeStatement statement;
    std::shared_ptr<PurgeOutcome> outcome;
  };
  // under mutex
  mutable std::mutex mutex;
  SuperblockFacts superblock;
  PurgeJournal journal;  // changed inside journal_turns only
  std::vector<WaitingPurge> waiting_purges;
  std::vector<MonoTime> error_times;  // the last errors_to_offline, a ring
  uint64_t errors = 0;
  std::vector<FoundRepresentation> found;
  MonoTime access_written_at;
};

}  // namespace segue::cache
