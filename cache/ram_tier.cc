#include "cache/ram_tier.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/loop/loop.h"

namespace segue::cache {

namespace {
constexpr uint32_t kShardsMax = 64;
constexpr uint32_t kBuffersPerShardMin = 64;
constexpr uint32_t kStartsOften = 2;
// Heads looked at before one eviction takes what comes: an eviction's time is bounded.
constexpr uint32_t kHeadsPerEvictionMax = 8;
}  // namespace

uint64_t hash_of(const SliceKey& key) noexcept {
#ifdef SEGUE_PLANTED_BUG_generation_not_compared
  return mix(key.key.low ^ mix(key.slice.value + 1));
#else
  return mix(key.key.low ^ mix(key.generation.value << 20 ^ (key.slice.value + 1)));
#endif
}

bool same_slice(const SliceKey& a, const SliceKey& b) noexcept {
#ifdef SEGUE_PLANTED_BUG_generation_not_compared
  return a.key == b.key && a.slice == b.slice;
#else
  return a == b;
#endif
}

// --- the order of one class in one shard ---

void RamTier::ResidentSet::create(EvictionPolicy policy, uint32_t entries, uint32_t probation_max,
                                  uint32_t heads_max, uint32_t usual_size) {
  if (entries == 0) return;
  order_ = make_eviction_order(policy, entries);
  probation_ = make_eviction_order(EvictionPolicy::Lru, entries);  // never touched: a FIFO
  heads_ = make_eviction_order(EvictionPolicy::Lru, entries);
  probation_max_ = probation_max;
  heads_max_ = heads_max;
  usual_size_ = std::max(1U, usual_size);
  buffers_.assign(entries, nullptr);
  free_.reserve(entries);
  for (uint32_t entry = entries; entry-- > 0;) free_.push_back(entry);
}

void RamTier::ResidentSet::insert(Buffer& buffer, uint32_t now_seconds) noexcept {
  SEGUE_ASSERT(!free_.empty());
  buffer.entry = free_.back();
  free_.pop_back();
  buffers_[buffer.entry] = &buffer;
  order_of(buffer).insert(buffer.entry, hash_of(buffer.key), now_seconds);
}

void RamTier::ResidentSet::touch(Buffer& buffer, UseId use, uint32_t now_seconds) noexcept {
  if (buffer.entry != kNoEntry) order_of(buffer).touch(buffer.entry, use, now_seconds);
}

void RamTier::ResidentSet::end_probation(Buffer& buffer, uint32_t now_seconds) noexcept {
  if (buffer.entry == kNoEntry) return;
  probation_->remove(buffer.entry);
  order_->insert(buffer.entry, hash_of(buffer.key), now_seconds);
}

void RamTier::ResidentSet::remove(Buffer& buffer) noexcept {
  order_of(buffer).remove(buffer.entry);
  stop_keeping(buffer);
  buffers_[buffer.entry] = nullptr;
  free_.push_back(buffer.entry);
  buffer.entry = kNoEntry;
}

/// What leaves first, of all queues.
uint32_t RamTier::ResidentSet::take_entry() noexcept {
  EvictionOrder* queues[] = {order_.get(), probation_.get(), heads_.get()};
  if (probation_->size() > probation_max_) std::swap(queues[0], queues[1]);
  for (EvictionOrder* queue : queues) {
    const uint32_t entry = queue->size() > 0 ? queue->take_victim(*this) : kNoEntry;
    if (entry != kNoEntry) return entry;
  }
  return kNoEntry;
}

/// False: the heads cannot pay for their places any more, and one has to go.
bool RamTier::ResidentSet::pay_rent() noexcept {
  rent_ += heads_->size();
  if (rent_ < usual_size_) return true;
  rent_ -= usual_size_;
  if (credit_ == 0) return false;
  --credit_;
  return true;
}

/// `entry` was to leave: it stays among the heads if it starts often. What leaves in its place;
/// kNoEntry: nothing had to, by now.
uint32_t RamTier::ResidentSet::keep_head(uint32_t entry, const StartCounts& starts,
                                         uint32_t now_seconds) noexcept {
  Buffer& buffer = *buffers_[entry];
  const bool may_stay =
      credit_ > 0 && !buffer.probation && !buffer.kept_head && buffer.key.slice.value == 0;
  if (!may_stay) return entry;
  const uint64_t hash = hash_of(buffer.key);
  const uint32_t often = starts.of(hash);
  if (often < kStartsOften) return entry;
  uint32_t leaves = kNoEntry;
  if (heads_->size() >= heads_max_) {
    leaves = heads_->take_victim(*this);
    if (leaves == kNoEntry) return entry;
    const uint64_t other = hash_of(buffers_[leaves]->key);
    if (starts.of(other) > often) {
      heads_->insert(leaves, other, now_seconds);
      return entry;
    }
  }
  --credit_;
  buffer.kept_head = true;
  kept_.heads.add();
  kept_.bytes.add(buffer.length);
  heads_->insert(entry, hash, now_seconds);
  return leaves;
}

void RamTier::ResidentSet::stop_keeping(Buffer& buffer) noexcept {
  if (!std::exchange(buffer.kept_head, false)) return;
  kept_.heads.sub();
  kept_.bytes.sub(buffer.length);
}

Buffer* RamTier::ResidentSet::take_victim(const StartCounts& starts,
                                          uint32_t now_seconds) noexcept {
  if (order_ == nullptr) return nullptr;
  uint32_t entry = pay_rent() ? kNoEntry : heads_->take_victim(*this);
  for (uint32_t looks = 0; entry == kNoEntry; ++looks) {
    const uint32_t next = take_entry();
    if (next == kNoEntry) return nullptr;
    entry = looks < kHeadsPerEvictionMax ? keep_head(next, starts, now_seconds) : next;
  }
  Buffer* buffer = std::exchange(buffers_[entry], nullptr);
  stop_keeping(*buffer);
  free_.push_back(entry);
  buffer->entry = kNoEntry;
  return buffer;
}

bool RamTier::ResidentSet::may_evict(uint32_t entry) const noexcept {
  const Buffer& buffer = *buffers_[entry];
  if (buffer.state != BufferState::Resident) return false;
#ifdef SEGUE_PLANTED_BUG_pin_dropped_early
  return true;
#else
  // Under the shard mutex no pin can come; seq_cst: see BufferPool::announce().
  return buffer.pins.load(std::memory_order_seq_cst) == 0;
#endif
}

uint64_t RamTier::ResidentSet::fingerprint_of(uint32_t entry) const noexcept {
  return hash_of(buffers_[entry]->key);
}

// --- set-up ---

Result<Done> RamTier::create(uint64_t ram_bytes, const uint8_t (&shares)[kSizeClasses],
                             EvictionPolicy policy, bool huge_pages, SliceKeeper* keeper,
                             uint8_t probation_share, uint8_t heads_share, Payload payload) {
  if (auto made = pool_.create(ram_bytes, shares, huge_pages, payload); !made)
    return fail(made.error());
  pool_.set_queue(this);
  keeper_ = keeper;
  dropped_ = std::make_unique<std::atomic<uint64_t>[]>(kDroppedRemembered);
  const uint32_t large = pool_.total(SizeClass::K256);
  prefetch_busy_max_ = large - std::max(1U, (large + 3) / 4);
  const uint32_t shards =
      std::clamp(std::bit_floor(std::max(1U, pool_.total() / kBuffersPerShardMin)), 1U, kShardsMax);
  shard_mask_ = shards - 1;
  const auto buckets = std::bit_ceil(std::max(2U, pool_.total() / shards));
  for (uint32_t i = 0; i < shards; ++i) {
    auto shard = std::make_unique<Shard>();
    shard->buckets.assign(buckets, nullptr);
    if (heads_share > 0) shard->starts = StartCounts(pool_.total() / shards);
    for (uint32_t c = 0; c < kSizeClasses; ++c) {
      // Slices spread evenly, so twice the mean is never reached by chance; a shard that does get
      // there evicts one of its own (enter_order).
      const uint32_t count = pool_.total(static_cast<SizeClass>(c));
      const bool is_small = static_cast<SizeClass>(c) == SizeClass::Small16;  // answers, not audio
      shard->resident[c].create(policy, std::min(count, 2 * (count / shards) + kBuffersPerShardMin),
                                probation_max(c, probation_share),
                                is_small ? 0 : count * heads_share / 100 / shards, count / shards);
    }
    shards_.push_back(std::move(shard));
  }
  return Done{};
}

void RamTier::set_probation_share(uint8_t share) noexcept {
  for (const auto& shard : shards_) {
    const std::scoped_lock lock(shard->mutex);
    for (uint32_t c = 0; c < kSizeClasses; ++c)
      shard->resident[c].set_probation_max(probation_max(c, share));
  }
}

RamTier::~RamTier() {
  for (auto& shard : shards_) {
    for (Buffer* buffer : shard->buckets) {
      for (; buffer != nullptr; buffer = buffer->next) {
        SEGUE_ASSERT(buffer->state == BufferState::Resident);
        SEGUE_ASSERT(buffer->pins.load(std::memory_order_acquire) == 0);
      }
    }
  }
}

uint32_t RamTier::now_seconds() const noexcept {
  const Loop* loop = Loop::current();  // its clock is read once a turn
  const MonoTime now = loop != nullptr ? loop->now() : clock_.mono();
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
}

// --- the map ---

Buffer* RamTier::find_in(Shard& shard, uint64_t hash, const SliceKey& key) noexcept {
  Buffer* buffer = bucket_of(shard, hash);
  while (buffer != nullptr && !same_slice(buffer->key, key)) buffer = buffer->next;
  return buffer;
}

bool RamTier::is_hung(const Shard& shard, const SliceKey& key) noexcept {
  for (const Buffer* buffer = shard.hung; buffer != nullptr; buffer = buffer->next) {
    if (same_slice(buffer->key, key)) return true;
  }
  return false;
}

void RamTier::unlink(Shard& shard, Buffer& buffer) noexcept {
  Buffer** at = &bucket_of(shard, hash_of(buffer.key));
  while (*at != &buffer) {
    SEGUE_ASSERT(*at != nullptr);
    at = &(*at)->next;
  }
  *at = buffer.next;
  buffer.next = nullptr;
}

RamTier::Untied RamTier::untie(Buffer& buffer) noexcept {
  Untied untied{std::move(buffer.generation), buffer.waiters.take()};
  buffer.generation = {};
  return untied;
}

RamTier::Found RamTier::find(const SliceKey& key, UseId use) noexcept {
  const uint64_t hash = hash_of(key);
  const uint32_t now = now_seconds();
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Buffer* buffer = find_in(shard, hash, key);
  if (buffer == nullptr) return {.hung = shard.hung != nullptr && is_hung(shard, key)};
  BufferPool::pin(*buffer);
  const bool resident = buffer->state != BufferState::Filling;
  if (use == UseId{}) return {.buffer = buffer, .resident = resident};  // a prefetch is no use
  if (buffer->uses == 0 || buffer->last_use != use) {
    buffer->last_use = use;
    if (buffer->uses < UINT32_MAX) ++buffer->uses;
    if (key.slice.value == 0) shard.starts.add(hash);
    shard.resident[static_cast<uint8_t>(buffer->size_class)].count_use(*buffer);
  }
  if (buffer->probation) end_probation(shard, *buffer);
  if (resident) shard.resident[static_cast<uint8_t>(buffer->size_class)].touch(*buffer, use, now);
  return {.buffer = buffer, .resident = resident};
}

RamTier::Peek RamTier::peek(const SliceKey& key) const noexcept {
  const uint64_t hash = hash_of(key);
  Shard& shard = *shards_[hash >> 32 & shard_mask_];
  const std::lock_guard lock(shard.mutex);
  const Buffer* buffer = find_in(shard, hash, key);
  if (buffer == nullptr) return is_hung(shard, key) ? Peek::Hung : Peek::Absent;
  return buffer->state == BufferState::Filling ? Peek::Filling : Peek::Resident;
}

bool RamTier::start_wait_slice(const SliceKey& key, uint32_t beyond, WaitTicket& ticket) noexcept {
  const uint64_t hash = hash_of(key);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Buffer* buffer = find_in(shard, hash, key);
  if (buffer == nullptr || buffer->state != BufferState::Filling) return false;
  if (buffer->landed.load(std::memory_order_relaxed) > beyond) return false;
  return buffer->waiters.try_enqueue(ticket, beyond);
}

void RamTier::end_probation(Shard& shard, Buffer& buffer) noexcept {
  shard.resident[static_cast<uint8_t>(buffer.size_class)].earn();
  if (buffer.state != BufferState::Filling) {
    shard.resident[static_cast<uint8_t>(buffer.size_class)].end_probation(buffer, now_seconds());
    probation_bytes_.fetch_sub(buffer.length, std::memory_order_relaxed);
  }
  buffer.probation = false;
}

bool RamTier::drop_unasked(const SliceKey& key) noexcept {
  const uint64_t hash = hash_of(key);
  Shard& shard = shard_of(hash);
  Buffer* buffer = nullptr;
  {
    const std::lock_guard lock(shard.mutex);
    buffer = find_in(shard, hash, key);
    if (buffer == nullptr || !buffer->probation || buffer->state != BufferState::Resident ||
        buffer->pins.load(std::memory_order_seq_cst) != 0)
      return false;
    shard.resident[static_cast<uint8_t>(buffer->size_class)].remove(*buffer);
    evict_locked(shard, *buffer, false);
  }
  buffer->generation = {};
  give_back(*buffer);
  return true;
}

// --- landing ---

Buffer* RamTier::try_claim(const Ref<Generation>& generation, SliceIndex slice, Buffer* reserved,
                           Source source, UseId use, Priority priority) noexcept {
  const SliceKey key = generation->slice_key(slice);
  const uint32_t length = generation->slice_bytes(slice);
  if (length == 0) return nullptr;
  const uint64_t hash = hash_of(key);
  Shard& shard = shard_of(hash);
  {
    const std::lock_guard lock(shard.mutex);
    if (find_in(shard, hash, key) != nullptr) return nullptr;
    if (source == Source::Drive && is_hung(shard, key)) return nullptr;
  }
  // Outside the lock: it may have to evict in another shard.
  Buffer* buffer = try_obtain_smaller(generation->slice_class(slice));
  if (buffer == nullptr) buffer = reserved;
  bool lost = false;
  {
    const std::lock_guard lock(shard.mutex);
    lost = find_in(shard, hash, key) != nullptr;  // somebody else was quicker
    if (!lost) {
      pool_.advance(*buffer, BufferEvent::Claim);
      buffer->key = key;
      buffer->generation = generation;
      buffer->length = length;
      buffer->landed.store(0, std::memory_order_relaxed);
      buffer->on_drive = buffer->from_drive = source == Source::Drive;
      buffer->leaving = false;
      buffer->probation = priority == Priority::Prefetch;
      buffer->last_use = use;
      buffer->uses = use == UseId{} ? 0 : 1;
      if (slice.value == 0 && use != UseId{}) shard.starts.add(hash);
      buffer->next = bucket_of(shard, hash);
      bucket_of(shard, hash) = buffer;
    }
  }
  if (lost) {
    if (buffer != reserved) give_back(*buffer);
    return nullptr;
  }
  if (buffer != reserved) give_back(*reserved);
  if (source == Source::Origin) count_refetch(hash);
  return buffer;
}

void RamTier::publish(Buffer& buffer, uint32_t bytes) noexcept {
  const uint32_t landed = buffer.landed.load(std::memory_order_relaxed) + bytes;
  SEGUE_ASSERT(landed <= buffer.length);
  // release: whoever acquires this count sees the bytes below it.
  buffer.landed.store(landed, std::memory_order_release);
  Shard& shard = shard_of(hash_of(buffer.key));
  WaitList called;
  {
    // Also without waiters: one of them may be between its check and its place in the list.
    const std::lock_guard lock(shard.mutex);
    if (!buffer.waiters.empty()) called = buffer.waiters.take_beyond(landed);
  }
  called.wake();
}

Buffer* RamTier::enter_order(Shard& shard, Buffer& buffer, bool& entered) noexcept {
  ResidentSet& set = shard.resident[static_cast<uint8_t>(buffer.size_class)];
  Buffer* evicted = nullptr;
  if (set.full()) {
    evicted = set.take_victim(shard.starts, now_seconds());
    if (evicted != nullptr) evict_locked(shard, *evicted, false);
  }
  entered = !set.full();
  if (entered) set.insert(buffer, now_seconds());
  return evicted;
}

RamTier::Landed RamTier::commit(Buffer& buffer) noexcept {
  SEGUE_ASSERT(buffer.landed.load(std::memory_order_relaxed) == buffer.length);
  Shard& shard = shard_of(hash_of(buffer.key));
  Untied untied;
  Buffer* evicted = nullptr;
  bool stays = true;
  bool wanted = false;
  {
    const std::lock_guard lock(shard.mutex);
    // A generation out of force serves those who read it already, so that a purge cuts nobody.
    stays = !buffer.generation->detached() || buffer.generation->readers() > 0;
    if (stays) {
      pool_.advance(buffer, BufferEvent::Commit);
      evicted = enter_order(shard, buffer, stays);
    }
    if (stays) {
      untied.waiters = buffer.waiters.take();
      payload_bytes_.fetch_add(buffer.length, std::memory_order_relaxed);
      if (buffer.probation) probation_bytes_.fetch_add(buffer.length, std::memory_order_relaxed);
      // No admission credit until a client asks.
      wanted = keeper_ != nullptr && !buffer.on_drive && !buffer.probation &&
               !buffer.generation->detached() && may_write() &&
               keeper_->wants_to_keep(buffer, false);
      if (wanted) pool_.advance(buffer, BufferEvent::StartWrite);
    } else {
      unlink(shard, buffer);
      untied = untie(buffer);
      pool_.advance(buffer, BufferEvent::Drop);
    }
  }
  untied.waiters.wake();
  if (!stays) pool_.start_drain(buffer);
  if (evicted != nullptr) {
    evicted->generation = {};
    pool_.give_back(*evicted);
  }
  pool_.announce();  // it may be evicted now
  if (wanted) return Landed::Wanted;
  return stays ? Landed::Stays : Landed::Gone;
}

void RamTier::abandon(Buffer& buffer) noexcept {
#ifdef SEGUE_PLANTED_BUG_permit_leaked
  return;
#endif
  Shard& shard = shard_of(hash_of(buffer.key));
  Untied untied;
  {
    const std::lock_guard lock(shard.mutex);
    unlink(shard, buffer);
    untied = untie(buffer);
    pool_.advance(buffer, BufferEvent::Drop);
  }
  untied.waiters.wake();
  pool_.start_drain(buffer);
  pool_.announce();
}

void RamTier::quarantine(Buffer& buffer) noexcept {
  Shard& shard = shard_of(hash_of(buffer.key));
  Untied untied;
  {
    const std::lock_guard lock(shard.mutex);
    unlink(shard, buffer);
    untied = untie(buffer);
    pool_.advance(buffer, BufferEvent::Hang);
    buffer.next = shard.hung;
    shard.hung = &buffer;
  }
  untied.waiters.wake();
}

void RamTier::end_quarantine(Buffer& buffer) noexcept {
  Shard& shard = shard_of(hash_of(buffer.key));
  {
    const std::lock_guard lock(shard.mutex);
    Buffer** at = &shard.hung;
    while (*at != &buffer) {
      SEGUE_ASSERT(*at != nullptr);
      at = &(*at)->next;
    }
    *at = std::exchange(buffer.next, nullptr);
    pool_.advance(buffer, BufferEvent::OperationDone);
  }
  pool_.start_drain(buffer);
  pool_.announce();
}

void RamTier::end_write(Buffer& buffer, bool written) noexcept {
  Shard& shard = shard_of(hash_of(buffer.key));
  Untied untied;
  Buffer* evicted = nullptr;
  bool dropped = false;
  {
    const std::lock_guard lock(shard.mutex);
    pool_.advance(buffer, BufferEvent::EndWrite);
    buffer.on_drive = buffer.on_drive || written;
    if (std::exchange(buffer.leaving, false)) {
      bool entered = true;
      if (buffer.pins.load(std::memory_order_seq_cst) == 0) {
        evict_locked(shard, buffer, buffer.needed && !buffer.on_drive);
        evicted = &buffer;
      } else {
        evicted = enter_order(shard, buffer, entered);  // in use again
      }
      if (!entered) {
        unlink(shard, buffer);
        untied = untie(buffer);
        pool_.advance(buffer, BufferEvent::Drop);
        payload_bytes_.fetch_sub(buffer.length, std::memory_order_relaxed);
        if (buffer.probation) probation_bytes_.fetch_sub(buffer.length, std::memory_order_relaxed);
        dropped = true;
      }
    }
  }
  untied.waiters.wake();
  if (dropped) pool_.start_drain(buffer);
  if (evicted != nullptr) {
    evicted->generation = {};
    pool_.give_back(*evicted);
  }
  pool_.announce();
}

}  // namespace segue::cache
