// Checks of the RAM tier's invariants (ARCHITECTURE.md, invariant 2: conservation).
#include "cache/ram_tier.h"

namespace segue::cache {

RamTier::Counts RamTier::counts() const noexcept {
  Counts counts;
  counts.payload_bytes = payload_bytes_.load(std::memory_order_relaxed);
  counts.evictions = evictions_.load(std::memory_order_relaxed);
  counts.refetched = refetched_.load(std::memory_order_relaxed);
  counts.probation_bytes = probation_bytes_.load(std::memory_order_relaxed);
  counts.probation_evictions = probation_evictions_.load(std::memory_order_relaxed);
  for (const auto& shard : shards_) {
    for (const ResidentSet& set : shard->resident) {
      counts.kept_heads += set.kept().heads.get();
      counts.kept_head_bytes += set.kept().bytes.get();
      counts.kept_head_hits += set.kept().hits.get();
    }
  }
  const std::lock_guard lock(queue_mutex_);
  counts.buffer_waiters = queued_;
  return counts;
}

void RamTier::check_shard(const Shard& shard, bool idle) const {
  uint32_t in_order[kSizeClasses] = {};
  uint64_t kept_heads[kSizeClasses] = {}, kept_bytes[kSizeClasses] = {};
  for (size_t bucket = 0; bucket < shard.buckets.size(); ++bucket) {
    for (const Buffer* buffer = shard.buckets[bucket]; buffer != nullptr; buffer = buffer->next) {
      const uint64_t hash = hash_of(buffer->key);
      SEGUE_ASSERT((hash & (shard.buckets.size() - 1)) == bucket);
      SEGUE_ASSERT(shards_[hash >> 32 & shard_mask_].get() == &shard);
      for (const Buffer* other = buffer->next; other != nullptr; other = other->next) {
        SEGUE_ASSERT(!same_slice(other->key, buffer->key));  // one buffer per slice
      }
      SEGUE_ASSERT(buffer->generation);
      SEGUE_ASSERT((buffer->pins.load(std::memory_order_relaxed) & kPinsDraining) == 0);
      const uint32_t landed = buffer->landed.load(std::memory_order_relaxed);
      SEGUE_ASSERT(landed <= buffer->length);
      SEGUE_ASSERT(buffer->length <= bytes_of(buffer->size_class));
      if (buffer->state == BufferState::Filling) {
        SEGUE_ASSERT(!idle);
        SEGUE_ASSERT(buffer->entry == kNoEntry);
      } else {
        SEGUE_ASSERT(buffer->state == BufferState::Resident ||
                     buffer->state == BufferState::Writing);
        SEGUE_ASSERT(landed == buffer->length);
        SEGUE_ASSERT(buffer->waiters.empty());
        SEGUE_ASSERT((buffer->entry == kNoEntry) == buffer->leaving);
        const auto size_class = static_cast<uint8_t>(buffer->size_class);
        if (!buffer->leaving) ++in_order[size_class];
        kept_heads[size_class] += buffer->kept_head ? 1 : 0;
        kept_bytes[size_class] += buffer->kept_head ? buffer->length : 0;
      }
      if (idle) SEGUE_ASSERT(buffer->state == BufferState::Resident);
    }
  }
  for (uint32_t c = 0; c < kSizeClasses; ++c) {
    SEGUE_ASSERT(in_order[c] == shard.resident[c].size());
    SEGUE_ASSERT(kept_heads[c] == shard.resident[c].kept().heads.get());
    SEGUE_ASSERT(kept_bytes[c] == shard.resident[c].kept().bytes.get());
  }
  for (const Buffer* buffer = shard.hung; buffer != nullptr; buffer = buffer->next) {
    SEGUE_ASSERT(buffer->state == BufferState::Quarantined);
  }
}

void RamTier::check_invariants(bool idle) const {
  std::vector<std::unique_lock<std::mutex>> locks;
  locks.reserve(shards_.size());
  for (const auto& shard : shards_) locks.emplace_back(shard->mutex);
  const std::lock_guard queue_lock(queue_mutex_);
  const std::lock_guard pool_lock(pool_.mutex());
  for (const auto& shard : shards_) check_shard(*shard, idle);
  pool_.check_free_lists();
  uint32_t states[kBufferStates] = {};
  uint32_t busy = 0;
  uint64_t payload_bytes = 0;
  uint64_t probation_bytes = 0;
  for (uint32_t i = 0; i < pool_.total(); ++i) {
    const Buffer& buffer = pool_.at(i);
    ++states[static_cast<uint8_t>(buffer.state)];
    const bool in_map = buffer.state == BufferState::Filling ||
                        buffer.state == BufferState::Resident ||
                        buffer.state == BufferState::Writing;
    SEGUE_ASSERT(in_map == static_cast<bool>(buffer.generation));
    if (buffer.state == BufferState::Reserved) {
      // Nobody can have found it since it was taken.
      SEGUE_ASSERT(buffer.pins.load(std::memory_order_relaxed) == 0);
    }
    if (in_map && buffer.state != BufferState::Filling) {
      payload_bytes += buffer.length;
      if (buffer.probation) probation_bytes += buffer.length;
    }
    if (buffer.size_class == SizeClass::K256 && buffer.state != BufferState::Free &&
        buffer.state != BufferState::Resident && buffer.state != BufferState::Writing) {
      ++busy;
    }
    if (idle) {
      SEGUE_ASSERT(buffer.pins.load(std::memory_order_relaxed) == 0);
      SEGUE_ASSERT(buffer.state == BufferState::Free || buffer.state == BufferState::Resident);
    }
  }
  uint32_t sum = 0;
  for (uint32_t i = 0; i < kBufferStates; ++i) {
    SEGUE_ASSERT(states[i] == pool_.in_state(static_cast<BufferState>(i)));
    sum += states[i];
  }
  SEGUE_ASSERT(sum == pool_.total());
  SEGUE_ASSERT(busy == pool_.busy());
  SEGUE_ASSERT(payload_bytes == payload_bytes_.load(std::memory_order_relaxed));
  SEGUE_ASSERT(probation_bytes == probation_bytes_.load(std::memory_order_relaxed));
  SEGUE_ASSERT(queued_ == demand_.length() + prefetch_.length());
  if (idle) SEGUE_ASSERT(queued_ == 0);
}

}  // namespace segue::cache
