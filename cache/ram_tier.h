// cache/ram_tier.h - the slices in RAM: where each is, who lands it, who waits for it, which leaves
// first.
//
// Split into shards by slice, one short mutex each, never held across a wait. A hit takes one of
// them. Buffers belong to no shard while free: any slice may take any. Nothing is allocated after
// create().
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/counter.h"
#include "base/loop/clock.h"
#include "cache/buffer_pool.h"
#include "cache/eviction.h"
#include "cache/generation.h"
#include "cache/start_counts.h"
#include "cache/types.h"
#include "cache/wait_list.h"

namespace segue::cache {

/// What the RAM tier asks of the drives when a slice has landed or must leave.
class SliceKeeper {
 public:
  /// Whether the slice shall be written to a drive. `needed`: it must leave RAM and a running
  /// response has not passed it yet, so no ghost list has a say. Called under a shard mutex.
  [[nodiscard]] virtual bool wants_to_keep(const Buffer& buffer, bool needed) noexcept = 0;
  /// The buffer is Writing now; the keeper calls RamTier::end_write() when done. No lock held.
  /// False: cannot be done now.
  [[nodiscard]] virtual bool start_keep(Buffer& buffer) noexcept = 0;

 protected:
  ~SliceKeeper() = default;
};

class RamTier final : public WaitQueue {
 public:
  explicit RamTier(const Clock& clock) : clock_(clock) {}
  ~RamTier();
  /// Start-up, once. `keeper` may be null (no drives).
  [[nodiscard]] Result<Done> create(uint64_t ram_bytes, const uint8_t (&shares)[kSizeClasses],
                                    EvictionPolicy policy, bool huge_pages, SliceKeeper* keeper,
                                    uint8_t probation_share = 0, uint8_t heads_share = 0,
                                    Payload payload = Payload::Kept);

  // --- reading ---
  struct Found {
    Buffer* buffer = nullptr;  // pinned; null: not here
    bool resident = false;
    bool hung = false;  // not here, and a drive read of it hangs: do not start another
  };
  [[nodiscard]] Found find(const SliceKey& key, UseId use) noexcept;
  enum class Peek : uint8_t { Absent, Filling, Resident, Hung };
  [[nodiscard]] Peek peek(const SliceKey& key) const noexcept;
  /// See Store::start_wait_slice().
  [[nodiscard]] bool start_wait_slice(const SliceKey& key, uint32_t beyond,
                                      WaitTicket& ticket) noexcept;

  // --- buffers ---
  /// Up to `wanted` buffers of kSliceBytes, linked through next, each Reserved; the count given.
  [[nodiscard]] uint32_t try_reserve(uint32_t wanted, Priority priority, Buffer*& first) noexcept;
  [[nodiscard]] bool start_wait_buffer(Priority priority, WaitTicket& ticket) noexcept;
  [[nodiscard]] uint32_t demand_waiting() const noexcept {
    return demand_waiting_.load(std::memory_order_relaxed);
  }
  void give_back(Buffer& buffer) noexcept;
  void pass_on() noexcept override;

  // --- landing ---
  enum class Source : uint8_t { Origin, Drive };
  /// Makes `slice` Filling in a buffer of its class, else in `reserved` (a buffer of kSliceBytes),
  /// which is given back if it was not needed. Null if the slice is here already; `reserved` is
  /// then still the caller's.
  [[nodiscard]] Buffer* try_claim(const Ref<Generation>& generation, SliceIndex slice,
                                  Buffer* reserved, Source source, UseId use,
                                  Priority priority = Priority::Demand) noexcept;
  /// See Store::set_probation_share().
  void set_probation_share(uint8_t share) noexcept;
  /// See Store::drop_unasked().
  bool drop_unasked(const SliceKey& key) noexcept;
  void publish(Buffer& buffer, uint32_t bytes) noexcept;
  enum class Landed : uint8_t {
    Stays,
    Wanted,  // and a drive wants it: Writing now; the caller starts the write, or end_write()s
    Gone,    // its generation is out of force and nobody reads it
  };
  /// Filling -> Resident.
  [[nodiscard]] Landed commit(Buffer& buffer) noexcept;
  /// Filling -> gone; its waiters are woken and look again.
  void abandon(Buffer& buffer) noexcept;
  /// As abandon(), but the kernel may still write into the buffer: it is freed by end_quarantine().
  /// Until then find() reports the slice as hung.
  void quarantine(Buffer& buffer) noexcept;
  void end_quarantine(Buffer& buffer) noexcept;
  /// Writing -> Resident, or gone if it was to leave.
  void end_write(Buffer& buffer, bool written) noexcept;

  // --- state ---
  struct Counts {
    uint64_t payload_bytes = 0, buffer_waiters = 0, evictions = 0, refetched = 0;
    uint64_t probation_bytes = 0, probation_evictions = 0;
    uint64_t kept_heads = 0, kept_head_bytes = 0, kept_head_hits = 0;
  };
  [[nodiscard]] Counts counts() const noexcept;
  [[nodiscard]] BufferPool& pool() noexcept { return pool_; }
  [[nodiscard]] const BufferPool& pool() const noexcept { return pool_; }
  [[nodiscard]] uint32_t shard_count() const noexcept {
    return static_cast<uint32_t>(shards_.size());
  }
  /// Takes every lock. Asserts each buffer is in exactly one place. `idle`: nothing filling,
  /// pinned, reserved or waiting is left.
  void check_invariants(bool idle) const;

 private:
  /// The resident buffers of one size class in one shard, in the order they leave. What was
  /// prefetched and not asked for yet stands in a queue of its own: in it first in, first out, and
  /// before all others as long as it is over its share. First slices of what starts often do too,
  /// once they would have to leave: up to their share they stay on, least recently used first. They
  /// live on what prefetch has earned, so that with it no fewer bytes are hits than without: each
  /// prefetched slice that was asked for is worth one credit, a head that stays in another's place
  /// costs one, and one more for each time that all of the set could have been replaced meanwhile.
  class ResidentSet final : public EvictionOwner {
   public:
    void create(EvictionPolicy policy, uint32_t entries, uint32_t probation_max, uint32_t heads_max,
                uint32_t usual_size);
    void set_probation_max(uint32_t entries) noexcept { probation_max_ = entries; }
    [[nodiscard]] bool full() const noexcept { return free_.empty(); }
    void insert(Buffer& buffer, uint32_t now_seconds) noexcept;
    void touch(Buffer& buffer, UseId use, uint32_t now_seconds) noexcept;
    /// Something that was prefetched was asked for.
    void earn() noexcept { credit_ = std::min(credit_ + 1, heads_max_ * kCreditPerHeadMax); }
    /// A client asked for it: it stands among the others from here on, as the newest.
    void end_probation(Buffer& buffer, uint32_t now_seconds) noexcept;
    void remove(Buffer& buffer) noexcept;
    [[nodiscard]] Buffer* take_victim(const StartCounts& starts, uint32_t now_seconds) noexcept;
    [[nodiscard]] uint32_t size() const noexcept {
      return order_ ? order_->size() + probation_->size() + heads_->size() : 0;
    }
    /// Heads that stay, and uses that found one of them. Written under the shard's mutex, read by
    /// any thread.
    struct Kept {
      Counter heads, bytes, hits;
    };
    [[nodiscard]] const Kept& kept() const noexcept { return kept_; }
    /// It is used anew, by a client.
    void count_use(const Buffer& buffer) noexcept {
      if (buffer.kept_head) kept_.hits.add();
    }
    [[nodiscard]] bool may_evict(uint32_t entry) const noexcept override;
    [[nodiscard]] uint64_t fingerprint_of(uint32_t entry) const noexcept override;

   private:
    [[nodiscard]] EvictionOrder& order_of(const Buffer& buffer) noexcept {
      return buffer.probation ? *probation_ : buffer.kept_head ? *heads_ : *order_;
    }
    static constexpr uint32_t kCreditPerHeadMax = 4;
    [[nodiscard]] bool pay_rent() noexcept;
    [[nodiscard]] uint32_t take_entry() noexcept;
    [[nodiscard]] uint32_t keep_head(uint32_t entry, const StartCounts& starts,
                                     uint32_t now_seconds) noexcept;
    void stop_keeping(Buffer& buffer) noexcept;

    std::unique_ptr<EvictionOrder> order_;
    std::unique_ptr<EvictionOrder> probation_;
    std::unique_ptr<EvictionOrder> heads_;
    uint32_t probation_max_ = 0;
    uint32_t heads_max_ = 0;
    uint32_t usual_size_ = 1;
    uint32_t credit_ = 0;
    uint64_t rent_ = 0;  // evictions times heads, of which usual_size_ are one credit
    Kept kept_;
    std::vector<Buffer*> buffers_;  // by entry; null: free
    std::vector<uint32_t> free_;    // reserved for all entries: never grows
  };
  struct Shard {
    mutable std::mutex mutex;
    std::vector<Buffer*> buckets;
    Buffer* hung = nullptr;
    StartCounts starts{0};  // of first slices
    ResidentSet resident[kSizeClasses];
  };

  [[nodiscard]] Shard& shard_of(uint64_t hash) noexcept {
    return *shards_[hash >> 32 & shard_mask_];
  }
  [[nodiscard]] static Buffer*& bucket_of(Shard& shard, uint64_t hash) noexcept {
    return shard.buckets[hash & (shard.buckets.size() - 1)];
  }
  [[nodiscard]] static Buffer* find_in(Shard& shard, uint64_t hash, const SliceKey& key) noexcept;
  [[nodiscard]] static bool is_hung(const Shard& shard, const SliceKey& key) noexcept;
  static void unlink(Shard& shard, Buffer& buffer) noexcept;
  [[nodiscard]] uint32_t now_seconds() const noexcept;
  /// Entries of one class in one shard.
  [[nodiscard]] uint32_t probation_max(uint32_t size_class, uint8_t share) const noexcept {
    return pool_.total(static_cast<SizeClass>(size_class)) * share / 100 / (shard_mask_ + 1);
  }
  /// A buffer of exactly `size_class`, Reserved, evicting if need be; null if all are busy.
  [[nodiscard]] Buffer* try_obtain(SizeClass size_class) noexcept;
  [[nodiscard]] Buffer* try_evict(SizeClass size_class) noexcept;
  [[nodiscard]] Buffer* try_evict_in(Shard& shard, SizeClass size_class) noexcept;
  [[nodiscard]] Buffer* try_obtain_smaller(SizeClass size_class) noexcept;
  [[nodiscard]] bool available(Priority priority) noexcept;
  /// A drive that hangs holds what is being written to it: the other half goes on serving.
  [[nodiscard]] bool may_write() const noexcept {
    return pool_.in_state(BufferState::Writing) < pool_.total(SizeClass::K256) / 2;
  }
  /// Enters a buffer that is Resident already into its shard's order; the buffer that had to make
  /// room, if any (Reserved). False in `entered`: every other one is held.
  [[nodiscard]] Buffer* enter_order(Shard& shard, Buffer& buffer, bool& entered) noexcept;
  /// A client asked for it. Caller holds the shard mutex.
  void end_probation(Shard& shard, Buffer& buffer) noexcept;
  /// Takes `buffer` (Resident, unpinned, out of the order) out of the map: Reserved.
  void evict_locked(Shard& shard, Buffer& buffer, bool needed) noexcept;
  void check_shard(const Shard& shard, bool idle) const;
  /// Takes the buffer's ties to its slice; the caller lets them go after unlocking.
  struct Untied {
    Ref<Generation> generation;
    WaitList waiters;
  };
  [[nodiscard]] static Untied untie(Buffer& buffer) noexcept;
  void remember_dropped(uint64_t hash) noexcept;
  void count_refetch(uint64_t hash) noexcept;

  // constant after create()
  const Clock& clock_;
  SliceKeeper* keeper_ = nullptr;
  uint32_t shard_mask_ = 0;
  uint32_t prefetch_busy_max_ = 0;
  std::vector<std::unique_ptr<Shard>> shards_;
  // Slices dropped while a running response still needed them: a small direct-mapped memory, so
  // that fetching one again is counted (and nothing else).
  static constexpr uint32_t kDroppedRemembered = 4096;
  std::unique_ptr<std::atomic<uint64_t>[]> dropped_;
  BufferPool pool_;
  // guarded by queue_mutex_
  mutable std::mutex queue_mutex_;
  WaitList demand_;
  WaitList prefetch_;
  uint32_t queued_ = 0;
  // serialises prefetch reservations, so that the demand quarter is exact
  std::mutex prefetch_mutex_;
  // atomic, any thread
  std::atomic<uint32_t> cursor_{0};
  std::atomic<uint32_t> demand_waiting_{0};
  std::atomic<uint64_t> payload_bytes_{0}, evictions_{0}, refetched_{0};
  std::atomic<uint64_t> probation_bytes_{0}, probation_evictions_{0};
};

/// Mixes all of a slice's name; its low half picks a bucket, its high half a shard.
[[nodiscard]] uint64_t hash_of(const SliceKey& key) noexcept;
/// Whether two names are the same slice.
[[nodiscard]] bool same_slice(const SliceKey& a, const SliceKey& b) noexcept;

}  // namespace segue::cache
