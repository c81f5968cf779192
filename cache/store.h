// cache/store.h - finds, pins and admits slices in RAM and on the drives; knows which generation of
// a representation is in force.
//
// Store is shared by all loops: split into shards, one short mutex each, never held across a wait.
// LocalStore is one loop's door to it: its disks, its waiters, its counters. Layout on the drives:
// cache/FORMAT.md.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/counter.h"
#include "base/loop/disk.h"
#include "base/loop/task.h"
#include "base/result.h"
#include "cache/drive.h"
#include "cache/generation.h"
#include "cache/purge_statement.h"
#include "cache/types.h"
#include "cache/wait_list.h"

namespace segue::cache {

struct Buffer;  // cache/buffer_pool.h
class Store;
class LocalStore;

/// Keeps a buffer from being recycled while it lives. Never kept across a wait for a client. Any
/// loop.
class [[nodiscard]] PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(PinnedBuffer&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  PinnedBuffer& operator=(PinnedBuffer&&) = delete;  // a pin is never re-aimed
  ~PinnedBuffer();                                   // fetch_sub(acq_rel)

  explicit operator bool() const noexcept { return buffer_ != nullptr; }
  /// The bytes landed so far, from the slice's first: all of them once resident. They never change;
  /// valid while this lives.
  [[nodiscard]] std::span<const std::byte> landed() const noexcept;

 private:
  friend class Store;
  explicit PinnedBuffer(Buffer* buffer) noexcept : buffer_(buffer) {}
  Buffer* buffer_ = nullptr;
};

enum class Where : uint8_t {
  Resident,  // in RAM, whole; pinned
  Filling,   // somebody lands it now (from the origin or a drive); pinned, landed() grows
  OnDrive,   // start_read() brings it
  Absent,    // the origin has it
};
struct Found {
  Where where = Where::Absent;
  PinnedBuffer buffer;
};

/// Buffers set aside for a run that is about to be asked for, not yet named. Dropping gives back
/// what is left. Move-only.
class [[nodiscard]] BufferReservation {
 public:
  BufferReservation() = default;
  BufferReservation(BufferReservation&& other) noexcept;
  BufferReservation& operator=(BufferReservation&& other) noexcept;
  ~BufferReservation();
  /// Buffers of kSliceBytes left.
  [[nodiscard]] uint32_t count() const noexcept { return count_; }

 private:
  friend class Store;
  friend class FillPermit;
  Store* store_ = nullptr;
  Buffer* first_ = nullptr;  // linked through the buffers themselves
  uint32_t count_ = 0;
};

/// While it lives, this fill alone lands bytes for its slice. Dropped = abandoned: readers are
/// woken and look again.
class [[nodiscard]] FillPermit {
 public:
  FillPermit() = default;
  FillPermit(FillPermit&& other) noexcept;
  FillPermit& operator=(FillPermit&& other) noexcept;
  ~FillPermit();

  explicit operator bool() const noexcept { return buffer_ != nullptr; }
  [[nodiscard]] SliceIndex slice() const noexcept;
  /// Length of the slice.
  [[nodiscard]] uint32_t length() const noexcept;
  /// Where the next bytes go: the rest of the slice. Empty when full.
  [[nodiscard]] std::span<std::byte> writable() noexcept;
  /// Says that `bytes` more have been written at writable(): readers on every loop see them and are
  /// woken. Owner's loop; never waits.
  void publish(uint32_t bytes) noexcept;
  /// The slice is whole and right: it becomes Resident, and the drive is considered. Asserts that
  /// writable() is empty. On a detached generation the bytes serve those who pinned them and are
  /// forgotten.
  void commit(LocalStore& local) &&;

 private:
  friend class Store;
  Store* store_ = nullptr;
  Buffer* buffer_ = nullptr;
};

/// While it lives, its owner alone asks the origin about this key's header (first contact or
/// revalidation); others wait for it. Dropped without a commit = abandoned: waiters are woken, one
/// of them becomes the next contact.
class [[nodiscard]] ContactPermit {
 public:
  ContactPermit() = default;
  ContactPermit(ContactPermit&& other) noexcept;
  ContactPermit& operator=(ContactPermit&& other) noexcept;
  ~ContactPermit();
  explicit operator bool() const noexcept { return store_ != nullptr; }
  [[nodiscard]] const KeyHash& key() const noexcept { return key_; }
  /// Taken when the permit was: the id of the generation this contact may bring. Take the permit
  /// before sending.
  [[nodiscard]] Sequence sequence() const noexcept { return sequence_; }

 private:
  friend class Store;
  friend class LocalStore;
  Store* store_ = nullptr;
  KeyHash key_;
  Sequence sequence_;
};

class Store {
 public:
  struct Options {
    uint64_t ram_bytes = 256 * MiB;                 // of the buffers alone
    uint8_t shares[kSizeClasses] = {4, 6, 10, 80};  // per SizeClass, in parts of 100 of ram_bytes
    EvictionPolicy policy = EvictionPolicy::Lru;
    /// In parts of 100 of each class: how much of it prefetched slices that nobody has asked for
    /// yet may fill before they leave before all others.
    uint8_t probation_share = 10;
    /// Of it, for first slices of what starts often: they stay on when they would have to leave.
    uint8_t heads_share = 0;
    uint64_t hash_seed = 0;                         // of the drives; random without drives
    uint64_t representations_bytes_max = 64 * MiB;  // generations and facts held in RAM
    bool huge_pages = true;
    /// Errors: a sentence for the operator, with the needed figure.
    [[nodiscard]] std::optional<std::string> invalid() const;
  };
  /// Start-up. `codec` and `clock` outlive the store. `drives` are mounted already, the same in
  /// every LocalStore's disks.
  [[nodiscard]] static Result<std::unique_ptr<Store>> create(
      Options options, const FactsCodec& codec, const Clock& clock,
      std::vector<std::unique_ptr<Drive>> drives);
  ~Store();

  [[nodiscard]] KeyHash hash(std::string_view key_text) const noexcept;
  /// A new sequence; see types.h. Any loop; never waits: blocks are leased ahead by upkeep().
  [[nodiscard]] Sequence next_sequence() noexcept;

  // --- representations: cannot wait, cannot allocate; any loop ---
  enum class Known : uint8_t { Yes, OnDrive, No };
  struct LookUp {
    Known known = Known::No;
    Selected selected;  // if Yes
  };
  /// The generation and facts in force for `key`. A generation that a purge covers is not found;
  /// OnDrive: LocalStore::load() first.
  [[nodiscard]] LookUp look_up(const KeyHash& key, std::string_view key_text) noexcept;
  /// nullopt: another contact of this key is under way; start_wait_contact() and look up again.
  [[nodiscard]] std::optional<ContactPermit> try_start_contact(const KeyHash& key) noexcept;
  /// False: no contact is under way any more (look up again), or the waiter's slab is full.
  [[nodiscard]] bool start_wait_contact(const KeyHash& key, WaitTicket& ticket) noexcept;
  /// Whether somebody waits for the contact of this key that is under way.
  [[nodiscard]] bool is_awaited(const KeyHash& key) noexcept;

  struct Install {
    Selected selected;  // generation id == permit.sequence()
    std::vector<uint64_t> tag_hashes;
    bool ram_only = false;  // negative answers, pass markers, variant lists
  };
  /// Puts a new generation in force, detaches the one before, wakes those who wait for the contact.
  /// False: a purge made after the permit covers it (or the table is full): it is detached; whoever
  /// has it may finish serving, nothing is stored.
  bool commit(ContactPermit permit, Install install) noexcept;
  /// Puts new facts in force for the generation that was selected (304). False if it is no longer
  /// in force.
  bool freshen(ContactPermit permit, const Ref<Generation>& generation,
               Ref<const StoredFacts> facts) noexcept;
  /// Takes a generation out of force (the origin showed another validator, or said 404): its
  /// readers may finish.
  void detach(const Ref<Generation>& generation) noexcept;

  // --- slices ---
  /// Pins the buffer that holds `slice`, or says where its bytes are to come from. Counts the use,
  /// which ends the probation of a prefetched slice; UseId{} is nobody's use (a prefetch looks).
  /// Never waits, never allocates.
  [[nodiscard]] Found find(const Generation& generation, SliceIndex slice, UseId use) noexcept;
  /// As find() without counting a use or pinning: planning a run.
  [[nodiscard]] Where where(const Generation& generation, SliceIndex slice) const noexcept;
  /// Sets aside up to `wanted` buffers of kSliceBytes, at least one. Errors: {Self, Overloaded}
  /// when none is free for this priority: start_wait_buffer(). A quarter of the pool is kept for
  /// demand fills and SSD reads.
  [[nodiscard]] Result<BufferReservation> try_reserve(uint32_t wanted, Priority priority) noexcept;
  /// Queues for a buffer (bounded, demand before prefetch). False if the queue is full: shed.
  [[nodiscard]] bool start_wait_buffer(Priority priority, WaitTicket& ticket) noexcept;
  /// Claims `slice` for a fill, with a buffer out of `reservation` (swapped for a smaller class
  /// where one does). Empty permit: it is Resident, Filling or OnDrive already, or the reservation
  /// is used up. With Priority::Prefetch the slice is in probation until a client asks for it: it
  /// leaves RAM before others once such slices are over their share, and no drive is written for
  /// it.
  [[nodiscard]] FillPermit try_start_fill(const Ref<Generation>& generation, SliceIndex slice,
                                          BufferReservation& reservation,
                                          Priority priority = Priority::Demand) noexcept;
  /// Options::probation_share from here on (at most 75); what is over it leaves when something has
  /// to. Any thread; takes the locks of all shards, one after the other.
  void set_probation_share(uint8_t share) noexcept;
  /// Lets go of a prefetched slice that nobody has asked for (its prefetch was revoked). False: it
  /// is not here, or somebody has.
  bool drop_unasked(const Generation& generation, SliceIndex slice) noexcept;
  /// Waits for more than `beyond` landed bytes of `slice`, its commit or its abandonment. False: it
  /// is not Filling any more, or has more already (find again), or the slab is full.
  [[nodiscard]] bool start_wait_slice(const SliceKey& key, uint32_t beyond,
                                      WaitTicket& ticket) noexcept;

  // --- purge: the statement is in force for every look-up that starts after this returns; durable
  // by LocalStore::purge() ---
  /// False: the table of prefixes or tags is full and nothing was purged.
  bool apply(const PurgeStatement& statement, bool cut) noexcept;

  /// Demand that is queued for a buffer now. Any loop; takes no lock.
  [[nodiscard]] uint32_t demand_waiting() const noexcept;
  /// The same of the buffers that fills and drive reads need, of kSliceBytes: those that are
  /// neither free nor evictable, who waits for one, and how many there are.
  struct BufferPressure {
    uint32_t busy = 0, waiting = 0, total = 0;
  };
  [[nodiscard]] BufferPressure buffer_pressure() const noexcept;
  struct Usage {
    // The sum of buffers == the sum of free + reserved + filling + resident + writing + draining;
    // exact while nothing changes. Pinned ones are counted in their state too.
    uint64_t buffers[kSizeClasses] = {}, free[kSizeClasses] = {}, reserved = 0, filling = 0,
             resident = 0, writing = 0, draining = 0, pinned = 0;
    uint64_t payload_bytes = 0;
    uint64_t representations = 0, representation_bytes = 0, contacts = 0, buffer_waiters = 0;
    uint64_t evictions = 0, refetched = 0, ram_bytes_mapped = 0;
    uint64_t probation_bytes = 0, probation_evictions = 0;
    // First slices that stay in RAM though they would have had to leave, and uses that found one.
    uint64_t kept_heads = 0, kept_head_bytes = 0, kept_head_hits = 0;
    bool huge_pages = false;
    bool hugetlb = false;  // set aside by the operator: not part of the process's resident memory
  };
  /// For scrapes and tests; takes no shard's lock.
  [[nodiscard]] Usage usage() const;
  /// Takes all locks; asserts that each buffer is in exactly one state and every list is
  /// consistent, and, if `idle`, that no permit, pin, reservation or waiter is left.
  void check_invariants(bool idle = false) const;
  [[nodiscard]] std::span<const std::unique_ptr<Drive>> drives() const noexcept;

 private:
  friend class PinnedBuffer;
  friend class BufferReservation;
  friend class FillPermit;
  friend class ContactPermit;
  friend class LocalStore;
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct LocalStoreCounters {
  Counter ram_hits, drive_reads, drive_read_bytes, drive_read_failures, drive_hangs, admitted,
      admitted_bytes, not_admitted, records_loaded, record_failures;
};

/// One loop's door to the store. Loop-owned.
class LocalStore {
 public:
  /// `disks[i]` is this loop's Disk of drives()[i] (null: not opened here).
  LocalStore(Store& store, Loop& loop, std::vector<Disk*> disks);
  ~LocalStore();
  LocalStore(const LocalStore&) = delete;
  LocalStore& operator=(const LocalStore&) = delete;

  [[nodiscard]] Store& store() noexcept { return store_; }
  [[nodiscard]] WaitSlab& waiters() noexcept;

  /// Reads the record of `key` (look_up said OnDrive) and puts its generation in force; collapsed
  /// over all loops. Waits until `deadline`. Whatever it returns, look up again: on any error the
  /// key is unknown.
  [[nodiscard]] Task<Result<Done>> load(KeyHash key, MonoTime deadline);
  /// Starts the one shared read of a slice that find() said is OnDrive; it is Filling when this
  /// returns Done. Does not wait. Errors: {Self, Overloaded}: no buffer (start_wait_buffer) or too
  /// many operations; {Disk, NotFound}: it is not there any more.
  [[nodiscard]] Result<Done> start_read(const Ref<Generation>& generation, SliceIndex slice,
                                        UseId use) noexcept;
  /// Applies the statement, with a sequence taken now, then makes it durable on every online drive.
  /// When it returns Done the purge may be acknowledged. Waits; concurrent purges share flushes.
  /// Errors: {Self, Full}: the table of prefixes is full, nothing was purged; {Disk, IoError}: no
  /// drive could keep it (it is applied in RAM all the same).
  [[nodiscard]] Task<Result<Done>> purge(PurgeStatement statement, bool cut);
  /// Flushes tables, leases sequences, sweeps purged records: one pass. Called every second from
  /// loop 0.
  [[nodiscard]] Task<void> upkeep();
  /// Waits until no operation of this loop runs; then the LocalStore may be destroyed. Flushes
  /// tables first (a clean stop).
  [[nodiscard]] Task<void> drain();
  [[nodiscard]] const LocalStoreCounters& counters() const noexcept;

 private:
  friend class Store;
  friend class FillPermit;
  struct Impl;
  Store& store_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::cache
