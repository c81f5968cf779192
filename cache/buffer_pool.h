// cache/buffer_pool.h - every RAM buffer there is: its memory, its state, its pins, and the free
// lists of the size classes.
//
// A buffer's fields say who guards them. Its place in the map, its order among the resident and its
// waiters belong to the RAM tier (ram_tier.h).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "cache/buffer_memory.h"
#include "cache/buffer_state.h"
#include "cache/generation.h"
#include "cache/types.h"
#include "cache/wait_list.h"

namespace segue::cache {

class BufferPool;

struct Buffer {
  // constant after construction
  BufferPool* pool = nullptr;
  std::byte* memory = nullptr;
  uint32_t number = 0;
  SizeClass size_class = SizeClass::K256;
  // Changed through BufferPool::advance() alone; Free and Draining under the pool's mutex, the
  // others under the mutex of the shard the key falls into.
  BufferState state = BufferState::Free;
  // shard mutex
  bool on_drive = false;        // its bytes are on a drive too
  bool leaving = false;         // evicted once its drive write ends
  bool needed = false;          // when it left, a running response had not passed it
  bool from_drive = false;      // a drive read lands it
  bool probation = false;       // prefetched, and nobody has asked for it yet
  bool kept_head = false;       // stands among the heads that are kept
  uint32_t uses = 0;            // finds by different uses since it landed
  uint32_t entry = UINT32_MAX;  // in the eviction order of its shard and class
  uint32_t length = 0;          // of the slice; constant while in the map
  UseId last_use;
  SliceKey key;                // constant while in the map
  Ref<Generation> generation;  // while in the map
  WaitList waiters;
  // free list and reservations: their owner; chains of the map: shard mutex
  Buffer* next = nullptr;
  // atomic, any thread
  std::atomic<uint32_t> pins{0};    // rises under the shard mutex only; the top bit means Draining
  std::atomic<uint32_t> landed{0};  // bytes below it never change while it is pinned
};

inline constexpr uint32_t kPinsDraining = uint32_t{1} << 31;

class BufferPool {
 public:
  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// Start-up, once. `shares` in parts of 100 of `ram_bytes`.
  [[nodiscard]] Result<Done> create(uint64_t ram_bytes, const uint8_t (&shares)[kSizeClasses],
                                    bool huge_pages, Payload payload = Payload::Kept);
  /// Who wants to hear that a buffer may have become available; before the first use.
  void set_queue(WaitQueue* queue) noexcept { queue_ = queue; }

  /// Takes a free one: Free -> Reserved. Null if none is free.
  [[nodiscard]] Buffer* try_take(SizeClass size_class) noexcept;
  /// Reserved -> Free.
  void give_back(Buffer& buffer) noexcept;
  /// For a buffer that has just left the map in state Draining (shard mutex released): frees it now
  /// if nobody has it pinned, else its last pin will.
  void start_drain(Buffer& buffer) noexcept;
  /// Caller holds the shard mutex.
  static void pin(Buffer& buffer) noexcept { buffer.pins.fetch_add(1, std::memory_order_relaxed); }
  /// Any thread, no lock held.
  void unpin(Buffer& buffer) noexcept;
  /// Caller holds the mutex that guards the state. Asserts that the edge exists.
  void advance(Buffer& buffer, BufferEvent event) noexcept;
  /// Tells the queue, if anybody waits in it. No lock held.
  void announce() noexcept {
    // seq_cst pairs with start_waiting(): either the waiter sees what became available, or we see
    // the waiter.
    if (waiting_.load(std::memory_order_seq_cst) != 0) queue_->pass_on();
  }
  std::atomic<uint32_t>& waiting() noexcept { return waiting_; }

  [[nodiscard]] uint32_t total(SizeClass size_class) const noexcept {
    return areas_[static_cast<uint8_t>(size_class)].count;
  }
  [[nodiscard]] uint32_t total() const noexcept { return count_; }
  [[nodiscard]] uint32_t free_count(SizeClass size_class) const noexcept {
    return areas_[static_cast<uint8_t>(size_class)].free_count.load(std::memory_order_relaxed);
  }
  /// Buffers in `state`; exact when nothing changes meanwhile.
  [[nodiscard]] uint32_t in_state(BufferState state) const noexcept {
    return states_[static_cast<uint8_t>(state)].load(std::memory_order_relaxed);
  }
  /// Buffers of kSliceBytes that are neither free nor evictable: reserved, filling, draining or
  /// quarantined.
  [[nodiscard]] uint32_t busy() const noexcept { return busy_.load(std::memory_order_seq_cst); }
  [[nodiscard]] uint32_t pinned() const noexcept;
  [[nodiscard]] uint64_t ram_bytes() const noexcept { return ram_bytes_; }
  [[nodiscard]] const BufferMemory& memory() const noexcept { return memory_; }
  /// By number, for checks.
  [[nodiscard]] const Buffer& at(uint32_t number) const noexcept { return buffers_[number]; }
  [[nodiscard]] std::mutex& mutex() const noexcept { return mutex_; }
  /// Asserts that the free lists hold exactly the free buffers. Caller holds mutex().
  void check_free_lists() const;

 private:
  struct Area {
    uint32_t first = 0;
    uint32_t count = 0;
    Buffer* free = nullptr;  // mutex_
    std::atomic<uint32_t> free_count{0};
  };
  void free_locked(Buffer& buffer) noexcept;

  // constant after create()
  BufferMemory memory_;
  std::unique_ptr<Buffer[]> buffers_;
  uint32_t count_ = 0;
  uint64_t ram_bytes_ = 0;
  WaitQueue* queue_ = nullptr;
  // guarded by mutex_, but for the counts
  mutable std::mutex mutex_;
  Area areas_[kSizeClasses];
  // atomic, any thread
  std::atomic<uint32_t> states_[kBufferStates] = {};
  std::atomic<uint32_t> busy_{0};
  std::atomic<uint32_t> waiting_{0};
};

}  // namespace segue::cache
