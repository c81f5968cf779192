// cache/representations.h - which generation of each representation is in force, with which facts.
//
// Split into shards by key, one short mutex each; a look-up takes one and allocates nothing. An
// entry is at most kEntryBytesMax; texts and facts live in the Generation and StoredFacts objects,
// whose bytes are bounded: what was looked up longest ago leaves first. With a record on a drive
// the entry stays and is loaded again when asked for; without one the representation is forgotten.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/contacts.h"
#include "cache/generation.h"
#include "cache/purge_statement.h"
#include "cache/purge_table.h"
#include "cache/types.h"

namespace segue::cache {

class Representations {
 public:
  static constexpr uint32_t kEntryBytesMax = 96;

  /// `records`: how many the drives may hold. `purges` outlives this.
  Representations(uint64_t bytes_max, uint64_t records, PurgeTable& purges);
  ~Representations();
  Representations(const Representations&) = delete;
  Representations& operator=(const Representations&) = delete;

  enum class Known : uint8_t { Yes, OnDrive, No };
  struct LookUp {
    Known known = Known::No;
    Selected selected;
  };
  [[nodiscard]] LookUp look_up(const KeyHash& key, std::string_view key_text,
                               uint32_t now_seconds) noexcept;

  // --- contacts: `sequence` names the one who has it ---
  /// False: one is under way. `next_sequence` is called under the lock, so that a purge of this key
  /// either sees the contact or has the lower number.
  template <class NextSequence>
  [[nodiscard]] bool try_start_contact(const KeyHash& key, NextSequence next_sequence,
                                       Sequence& sequence) {
    Shard& shard = shard_of(key);
    const std::lock_guard lock(shard.mutex);
    if (shard.contacts.find(key) != nullptr) return false;
    sequence = next_sequence();
    shard.contacts.add(key, sequence);
    contacts_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  [[nodiscard]] bool start_wait_contact(const KeyHash& key, WaitTicket& ticket) noexcept;
  [[nodiscard]] bool is_awaited(const KeyHash& key) noexcept;
  void abandon_contact(const KeyHash& key, Sequence sequence) noexcept;
  bool commit(const KeyHash& key, Sequence sequence, Selected selected,
              std::vector<uint64_t> tag_hashes, bool ram_only, uint8_t drive,
              uint32_t now_seconds) noexcept;
  bool freshen(const KeyHash& key, Sequence sequence, const Ref<Generation>& generation,
               Ref<const StoredFacts> facts) noexcept;
  void detach(const Ref<Generation>& generation) noexcept;

  // --- records ---
  // A record of something out of force is stale: it stays with the entry (a tombstone, if there is
  // nothing else) until upkeep has made the drive forget its slots, or a restart would bring it
  // back. Whoever writes, judges or forgets a key's record has the key's turn (Store::Impl).
  /// Start-up: a representation a drive holds. False: one as new is known from another drive.
  bool add_found(const KeyHash& key, Sequence generation, uint8_t drive, RecordNumber record);
  struct Record {
    uint8_t drive = 0;
    RecordNumber number = kNoRecord;
    Sequence generation;
    bool stale = false;
    bool in_ram = false;
  };
  /// What is known of the key's record; nullopt: nothing.
  [[nodiscard]] std::optional<Record> record_of(const KeyHash& key) const noexcept;
  /// The record of `generation`, if it is in force and its record written; else kNoRecord.
  [[nodiscard]] RecordNumber record_of(const Generation& generation) const noexcept;
  /// The facts in force with `generation`; null if it is not in force or must not be recorded.
  [[nodiscard]] Ref<const StoredFacts> facts_to_record(const Generation& generation) const noexcept;
  /// Notes that the record of `generation` has been written. False: it went out of force meanwhile.
  bool set_record(const Generation& generation, RecordNumber record) noexcept;
  /// The drive lost the record of `generation` (another key took it).
  void lose_record(const Generation& generation) noexcept;
  /// The drive has forgotten the stale record.
  void clear_record(const KeyHash& key, RecordNumber record) noexcept;
  /// A record read to be checked: it is stale from now on if a statement matches it.
  void judge_record(const KeyHash& key, Sequence generation, std::string_view key_text,
                    std::span<const uint64_t> tag_hashes) noexcept;
  /// Whether slots of this generation may stay on the drive.
  [[nodiscard]] bool may_stay(const KeyHash& key, Sequence generation) const noexcept;
  /// Puts what a record holds in force and ends the contact under which it was read. False: it is
  /// purged or replaced.
  bool commit_load(const KeyHash& key, Sequence sequence, Selected selected,
                   std::vector<uint64_t> tag_hashes, uint32_t now_seconds) noexcept;
  /// The record is no record: its representation is forgotten. Ends the contact.
  void fail_load(const KeyHash& key, Sequence sequence) noexcept;

  // --- purge ---
  /// A statement by key, applied on the spot.
  void purge_key(const KeyHash& key, const PurgeStatement& statement, bool cut) noexcept;
  struct Sweep {
    uint32_t shard = 0;
    uint32_t entry = 0;
  };
  /// Checks the next few entries in RAM against the purge table; false when all have been.
  /// A generation that `cut` names goes out of force with its running responses.
  bool sweep(Sweep& at, bool cut) noexcept;
  /// Keys from `at` on whose record must be read, to be checked or forgotten; at most out.size().
  /// Looks at a bounded number of entries.
  [[nodiscard]] uint32_t sweep_records(Sweep& at, std::span<KeyHash> out) const noexcept;
  /// Stale records that upkeep has not got to yet.
  [[nodiscard]] uint64_t stale_records() const noexcept {
    return stale_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool ended(const Sweep& at) const noexcept { return at.shard > shard_mask_; }
  /// The lowest sequence of a contact under way, or `none`.
  [[nodiscard]] Sequence oldest_contact(Sequence none) const noexcept;

  // --- state ---
  [[nodiscard]] uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t contacts() const noexcept {
    return contacts_.load(std::memory_order_relaxed);
  }
  void check_invariants(bool idle) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kEntriesPerBlock = 64;
  struct Entry {
    KeyHash key;
    Sequence generation_id;
    Sequence validated_at;       // asked of the origin last: what soft purges compare with
    Sequence checked_to;         // no statement up to this one matches, but for soft_purged
    Ref<Generation> generation;  // null: on a drive only
    Ref<const StoredFacts> facts;
    RecordNumber record = kNoRecord;
    uint32_t next = kNone;   // in the bucket, or in the free list
    uint32_t newer = kNone;  // among those in RAM
    uint32_t older = kNone;
    uint32_t bytes = 0;
    uint32_t touched_seconds = 0;
    bool used = false;
    bool soft_purged = false;
    bool ram_only = false;
    bool record_stale = false;
    uint8_t drive = 0;  // of the record
  };
  static_assert(sizeof(Entry) <= kEntryBytesMax);
  struct Shard {
    mutable std::mutex mutex;
    std::vector<uint32_t> buckets;
    std::vector<std::unique_ptr<Entry[]>> blocks;
    uint32_t free = kNone;
    uint32_t entries = 0;
    uint32_t newest = kNone;
    uint32_t oldest = kNone;
    uint64_t bytes = 0;
    ContactTable contacts;
  };
  [[nodiscard]] Shard& shard_of(const KeyHash& key) const noexcept {
    return *shards_[mix(key.low) & shard_mask_];
  }
  [[nodiscard]] static Entry& at(const Shard& shard, uint32_t index) noexcept {
    return shard.blocks[index / kEntriesPerBlock][index % kEntriesPerBlock];
  }
  [[nodiscard]] static uint32_t bucket_of(const Shard& shard, const KeyHash& key) noexcept {
    return static_cast<uint32_t>(key.high & (shard.buckets.size() - 1));
  }
  [[nodiscard]] static uint32_t find_in(const Shard& shard, const KeyHash& key) noexcept;
  [[nodiscard]] uint32_t insert(Shard& shard, const KeyHash& key);  // kNone: full
  void erase(Shard& shard, uint32_t index) noexcept;
  void link_newest(Shard& shard, uint32_t index) noexcept;
  void unlink_order(Shard& shard, uint32_t index) noexcept;
  void put_in_ram(Shard& shard, uint32_t index, Selected selected) noexcept;
  [[nodiscard]] Selected take_from_ram(Shard& shard, uint32_t index) noexcept;
  /// Takes the entry out of force; it stays as a tombstone if a record is left.
  [[nodiscard]] Selected remove(Shard& shard, uint32_t index, bool cut) noexcept;
  /// Lets go what was looked up longest ago until the shard is within its bytes. The caller lets
  /// `dropped` go after unlocking.
  struct Dropped {
    Selected items[8];
  };
  void shrink(Shard& shard, uint32_t keep, Dropped& dropped) noexcept;
  /// False: a statement says it is gone.
  [[nodiscard]] bool is_in_force(Entry& entry, std::string_view key_text) noexcept;
  [[nodiscard]] static bool is(const Entry& entry, const Generation& generation) noexcept {
    return entry.generation.get() == &generation;
  }
  /// Whether the entry is on a drive only, and `generation` is what its record should hold.
  [[nodiscard]] static bool is_awaited(const Entry& entry, const Generation& generation) noexcept {
    return !entry.generation && !entry.record_stale && entry.record != kNoRecord &&
           entry.generation_id == generation.id();
  }
  void set_stale(Entry& entry, bool stale) noexcept;
  static void set_detached(Generation& generation, bool cut) noexcept;
  [[nodiscard]] WaitList end_contact(Shard& shard, const KeyHash& key, Sequence sequence,
                                     PurgeMarks& marks) noexcept;
  [[nodiscard]] static uint32_t charge(const Selected& selected) noexcept;

  // constant after construction
  PurgeTable& purges_;
  uint32_t shard_mask_ = 0;
  uint64_t shard_bytes_max_ = 0;
  uint32_t shard_entries_max_ = 0;
  std::vector<std::unique_ptr<Shard>> shards_;
  // atomic, any thread
  std::atomic<uint64_t> count_{0}, bytes_{0}, contacts_{0}, stale_{0};
};

}  // namespace segue::cache
