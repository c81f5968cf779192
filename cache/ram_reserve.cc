// The RAM tier's way to a buffer: the free list, else what leaves first, else the queue.
#include <algorithm>

#include "cache/ram_tier.h"

namespace segue::cache {

namespace {
// Slices sent to a drive instead of being dropped before one eviction gives up on a shard: a drive
// that takes them all must not turn one reservation into a flood of writes.
constexpr uint32_t kKeptPerEvictionMax = 8;
}  // namespace

void RamTier::evict_locked(Shard& shard, Buffer& buffer, bool needed) noexcept {
  if (needed) remember_dropped(hash_of(buffer.key));
  unlink(shard, buffer);
  pool_.advance(buffer, BufferEvent::Evict);
  payload_bytes_.fetch_sub(buffer.length, std::memory_order_relaxed);
  evictions_.fetch_add(1, std::memory_order_relaxed);
  if (!buffer.probation) return;
  probation_bytes_.fetch_sub(buffer.length, std::memory_order_relaxed);
  probation_evictions_.fetch_add(1, std::memory_order_relaxed);
}

Buffer* RamTier::try_evict_in(Shard& shard, SizeClass size_class) noexcept {
  ResidentSet& set = shard.resident[static_cast<uint8_t>(size_class)];
  const uint32_t now = now_seconds();
  for (uint32_t kept = 0; kept <= kKeptPerEvictionMax; ++kept) {
    Buffer* buffer = nullptr;
    {
      const std::lock_guard lock(shard.mutex);
      buffer = set.take_victim(shard.starts, now);
      if (buffer == nullptr) return nullptr;
      // A running response has not passed it yet, as far as counting tells: it was found by fewer
      // uses than responses read the generation. Wrong guesses cost one write or one refetch.
      const Generation& generation = *buffer->generation;
      // What was prefetched and not asked for is never needed that much.
      const bool needed =
          !buffer->on_drive && !buffer->probation && buffer->uses < generation.readers();
      const bool keep = keeper_ != nullptr && kept < kKeptPerEvictionMax && !buffer->on_drive &&
                        !buffer->probation && !generation.detached() && may_write() &&
                        keeper_->wants_to_keep(*buffer, needed);
      if (!keep) {
        evict_locked(shard, *buffer, needed);
      } else {
        pool_.advance(*buffer, BufferEvent::StartWrite);
        buffer->leaving = true;
        buffer->needed = needed;
      }
    }
    if (buffer->state == BufferState::Reserved) {
      buffer->generation = {};  // may delete it: not under the lock
      return buffer;
    }
    // Writing: ours until end_write(), which frees it.
    if (keeper_->start_keep(*buffer)) continue;
    end_write(*buffer, false);
    if (Buffer* freed = pool_.try_take(size_class); freed != nullptr) return freed;
  }
  return nullptr;
}

Buffer* RamTier::try_evict(SizeClass size_class) noexcept {
  if (pool_.total(size_class) == 0) return nullptr;
  // Round robin: slices spread evenly over the shards, so the shards' ends are about equally old.
  const uint32_t start = cursor_.fetch_add(1, std::memory_order_relaxed);
  for (uint32_t i = 0; i <= shard_mask_; ++i) {
    Buffer* buffer = try_evict_in(*shards_[(start + i) & shard_mask_], size_class);
    if (buffer != nullptr) return buffer;
  }
  return nullptr;
}

Buffer* RamTier::try_obtain(SizeClass size_class) noexcept {
  if (Buffer* buffer = pool_.try_take(size_class); buffer != nullptr) return buffer;
  if (Buffer* buffer = try_evict(size_class); buffer != nullptr) {
    allow(buffer->memory, bytes_of(size_class));
    return buffer;
  }
  return pool_.try_take(size_class);  // a write that ended inside start_keep() freed one
}

Buffer* RamTier::try_obtain_smaller(SizeClass size_class) noexcept {
  for (auto c = static_cast<uint8_t>(size_class); c < static_cast<uint8_t>(SizeClass::K256); ++c) {
    if (Buffer* buffer = try_obtain(static_cast<SizeClass>(c)); buffer != nullptr) return buffer;
  }
  return nullptr;
}

uint32_t RamTier::try_reserve(uint32_t wanted, Priority priority, Buffer*& first) noexcept {
  std::unique_lock<std::mutex> one_prefetch(prefetch_mutex_, std::defer_lock);
  if (priority == Priority::Prefetch) {
    if (demand_waiting_.load(std::memory_order_seq_cst) != 0) return 0;
    one_prefetch.lock();
  }
  uint32_t count = 0;
  while (count < wanted) {
    if (priority == Priority::Prefetch && pool_.busy() >= prefetch_busy_max_) break;
    Buffer* buffer = try_obtain(SizeClass::K256);
    if (buffer == nullptr) break;
    buffer->next = first;
    first = buffer;
    ++count;
  }
  return count;
}

void RamTier::give_back(Buffer& buffer) noexcept {
  pool_.give_back(buffer);
  pool_.announce();
}

bool RamTier::available(Priority priority) noexcept {
  if (priority == Priority::Prefetch && pool_.busy() >= prefetch_busy_max_) return false;
  if (pool_.free_count(SizeClass::K256) != 0) return true;
  Buffer* buffer = try_obtain(SizeClass::K256);
  if (buffer == nullptr) return false;
  pool_.give_back(*buffer);  // for whoever is called
  return true;
}

bool RamTier::start_wait_buffer(Priority priority, WaitTicket& ticket) noexcept {
  {
    const std::lock_guard lock(queue_mutex_);
    if (queued_ == kBufferWaitersMax) return false;
    WaitList& list = priority == Priority::Demand ? demand_ : prefetch_;
    if (!list.try_enqueue(ticket, 0, this)) return false;
    ++queued_;
    if (priority == Priority::Demand) demand_waiting_.fetch_add(1, std::memory_order_seq_cst);
    pool_.waiting().fetch_add(1, std::memory_order_seq_cst);
  }
  // What became available before we stood in the list called nobody.
  if (available(priority)) pass_on();
  return true;
}

void RamTier::pass_on() noexcept {
  for (;;) {
    Priority priority{};
    {
      const std::lock_guard lock(queue_mutex_);
      if (queued_ == 0) return;
      priority = demand_.empty() ? Priority::Prefetch : Priority::Demand;
    }
    if (!available(priority)) return;
    WaitList called;
    {
      const std::lock_guard lock(queue_mutex_);
      called = (priority == Priority::Demand ? demand_ : prefetch_).take_one();
      const uint32_t taken = called.length();
      queued_ -= taken;
      if (priority == Priority::Demand) demand_waiting_.fetch_sub(taken, std::memory_order_seq_cst);
      pool_.waiting().fetch_sub(taken, std::memory_order_seq_cst);
    }
    const bool done = called.calls();
    called.wake();
    if (done) return;
  }
}

void RamTier::remember_dropped(uint64_t hash) noexcept {
  dropped_[hash % kDroppedRemembered].store(hash, std::memory_order_relaxed);
}

void RamTier::count_refetch(uint64_t hash) noexcept {
  auto& remembered = dropped_[hash % kDroppedRemembered];
  if (remembered.load(std::memory_order_relaxed) != hash) return;
  if (remembered.exchange(0, std::memory_order_relaxed) == hash) {
    refetched_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace segue::cache
