#include "cache/buffer_pool.h"

namespace segue::cache {

namespace {
constexpr bool is_busy(BufferState state) noexcept {
  return state == BufferState::Reserved || state == BufferState::Filling ||
         state == BufferState::Draining || state == BufferState::Quarantined;
}
}  // namespace

Result<Done> BufferPool::create(uint64_t ram_bytes, const uint8_t (&shares)[kSizeClasses],
                                bool huge_pages, Payload payload) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < kSizeClasses; ++i) {
    const uint32_t each = bytes_of(static_cast<SizeClass>(i));
    areas_[i].first = count_;
    areas_[i].count = static_cast<uint32_t>(ram_bytes * shares[i] / 100 / each);
    count_ += areas_[i].count;
    bytes += uint64_t{areas_[i].count} * each;
  }
  if (auto mapped = memory_.map(bytes, huge_pages, payload); !mapped) return fail(mapped.error());
  ram_bytes_ = bytes;
  buffers_ = std::make_unique<Buffer[]>(count_);
  // Largest class first: their addresses stay aligned to huge pages.
  std::byte* at = memory_.base();
  for (uint32_t i = kSizeClasses; i-- > 0;) {
    Area& area = areas_[i];
    const auto size_class = static_cast<SizeClass>(i);
    for (uint32_t j = 0; j < area.count; ++j) {
      buffers_[area.first + j].memory = at;
      at += bytes_of(size_class);
    }
    for (uint32_t j = area.count; j-- > 0;) {  // the lowest address is taken first
      Buffer& buffer = buffers_[area.first + j];
      buffer.pool = this;
      buffer.number = area.first + j;
      buffer.size_class = size_class;
      buffer.next = area.free;
      area.free = &buffer;
      forbid(buffer.memory, bytes_of(size_class));
    }
    area.free_count.store(area.count, std::memory_order_relaxed);
  }
  states_[static_cast<uint8_t>(BufferState::Free)].store(count_, std::memory_order_relaxed);
  return Done{};
}

BufferPool::~BufferPool() = default;

void BufferPool::advance(Buffer& buffer, BufferEvent event) noexcept {
  const auto to = next(buffer.state, event);
  SEGUE_ASSERT(to.has_value());
  states_[static_cast<uint8_t>(buffer.state)].fetch_sub(1, std::memory_order_relaxed);
  states_[static_cast<uint8_t>(*to)].fetch_add(1, std::memory_order_relaxed);
  if (buffer.size_class == SizeClass::K256) {
    const bool was = is_busy(buffer.state);
    if (!was && is_busy(*to)) busy_.fetch_add(1, std::memory_order_seq_cst);
    if (was && !is_busy(*to)) busy_.fetch_sub(1, std::memory_order_seq_cst);
  }
  buffer.state = *to;
}

Buffer* BufferPool::try_take(SizeClass size_class) noexcept {
  Area& area = areas_[static_cast<uint8_t>(size_class)];
  if (area.free_count.load(std::memory_order_seq_cst) == 0) return nullptr;
  Buffer* buffer = nullptr;
  {
    const std::lock_guard lock(mutex_);
    buffer = area.free;
    if (buffer == nullptr) return nullptr;
    area.free = buffer->next;
    buffer->next = nullptr;
    area.free_count.fetch_sub(1, std::memory_order_relaxed);
    advance(*buffer, BufferEvent::Reserve);
  }
  allow(buffer->memory, bytes_of(size_class));
  return buffer;
}

void BufferPool::free_locked(Buffer& buffer) noexcept {
  Area& area = areas_[static_cast<uint8_t>(buffer.size_class)];
  forbid(buffer.memory, bytes_of(buffer.size_class));
  buffer.next = area.free;
  area.free = &buffer;
  area.free_count.fetch_add(1, std::memory_order_seq_cst);
}

void BufferPool::give_back(Buffer& buffer) noexcept {
  const std::lock_guard lock(mutex_);
  advance(buffer, BufferEvent::GiveBack);
  free_locked(buffer);
}

void BufferPool::start_drain(Buffer& buffer) noexcept {
  // One atomic decides who frees it: we, if it has no pin now, else the pin that leaves last.
  if (buffer.pins.fetch_or(kPinsDraining, std::memory_order_acq_rel) != 0) return;
  buffer.pins.store(0, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  advance(buffer, BufferEvent::LastPinGone);
  free_locked(buffer);
}

void BufferPool::unpin(Buffer& buffer) noexcept {
  // seq_cst is acq_rel and more: what was read happens before the reuse, and announce() below sees
  // a waiter that did not see this pin go. On x86 it costs the same.
  const uint32_t before = buffer.pins.fetch_sub(1, std::memory_order_seq_cst);
  SEGUE_DEBUG_ASSERT((before & ~kPinsDraining) != 0);
  if (before == (kPinsDraining | 1)) {
    buffer.pins.store(0, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    advance(buffer, BufferEvent::LastPinGone);
    free_locked(buffer);
  }
  if ((before & ~kPinsDraining) == 1) announce();
}

uint32_t BufferPool::pinned() const noexcept {
  uint32_t count = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    if (buffers_[i].pins.load(std::memory_order_relaxed) != 0) ++count;
  }
  return count;
}

void BufferPool::check_free_lists() const {
  uint32_t listed = 0;
  for (const Area& area : areas_) {
    uint32_t in_area = 0;
    for (const Buffer* buffer = area.free; buffer != nullptr; buffer = buffer->next) {
      SEGUE_ASSERT(buffer->state == BufferState::Free);
      SEGUE_ASSERT(buffer->pins.load(std::memory_order_relaxed) == 0);
      SEGUE_ASSERT(buffer->number - area.first < area.count);
      ++in_area;
    }
    SEGUE_ASSERT(in_area == area.free_count.load(std::memory_order_relaxed));
    listed += in_area;
  }
  SEGUE_ASSERT(listed == in_state(BufferState::Free));
}

}  // namespace segue::cache
