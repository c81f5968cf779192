// The handles of the store: constructor takes, destructor gives back (EXAMPLES §5).
#include <cstring>
#include <utility>

#include "cache/local_store.h"
#include "cache/store.h"

namespace segue::cache {

// --- PinnedBuffer ---

PinnedBuffer::~PinnedBuffer() {
  if (buffer_ != nullptr) buffer_->pool->unpin(*buffer_);
}

std::span<const std::byte> PinnedBuffer::landed() const noexcept {
  // acquire pairs with publish(): the bytes below the count are there.
  return {buffer_->memory, buffer_->landed.load(std::memory_order_acquire)};
}

// --- BufferReservation ---

BufferReservation::BufferReservation(BufferReservation&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      first_(std::exchange(other.first_, nullptr)),
      count_(std::exchange(other.count_, 0)) {}

BufferReservation& BufferReservation::operator=(BufferReservation&& other) noexcept {
  BufferReservation former(std::move(*this));
  store_ = std::exchange(other.store_, nullptr);
  first_ = std::exchange(other.first_, nullptr);
  count_ = std::exchange(other.count_, 0);
  return *this;
}

BufferReservation::~BufferReservation() {
  while (count_ > 0) {
    Buffer* buffer = std::exchange(first_, first_->next);
    --count_;
    store_->impl_->ram.give_back(*buffer);
  }
}

// --- FillPermit ---

FillPermit::FillPermit(FillPermit&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      buffer_(std::exchange(other.buffer_, nullptr)) {}

FillPermit& FillPermit::operator=(FillPermit&& other) noexcept {
  FillPermit former(std::move(*this));
  store_ = std::exchange(other.store_, nullptr);
  buffer_ = std::exchange(other.buffer_, nullptr);
  return *this;
}

FillPermit::~FillPermit() {
  if (buffer_ != nullptr) store_->impl_->ram.abandon(*buffer_);
}

SliceIndex FillPermit::slice() const noexcept { return buffer_->key.slice; }
uint32_t FillPermit::length() const noexcept { return buffer_->length; }

std::span<std::byte> FillPermit::writable() noexcept {
  const uint32_t landed = buffer_->landed.load(std::memory_order_relaxed);
  return {buffer_->memory + landed, buffer_->length - landed};
}

void FillPermit::publish(uint32_t bytes) noexcept { store_->impl_->ram.publish(*buffer_, bytes); }

void FillPermit::commit(LocalStore& local) && {
  SEGUE_ASSERT(&local.store() == store_);
  Buffer* buffer = std::exchange(buffer_, nullptr);
  if (!store_->impl_->drives.empty()) {
    // A slot is written in whole pages; what lies behind the slice must not be another's bytes.
    const uint64_t padded = round_up(buffer->length, kDiskAlignBytes);
    std::memset(buffer->memory + buffer->length, 0, padded - buffer->length);
  }
  RamTier& ram = store_->impl_->ram;
  if (ram.commit(*buffer) != RamTier::Landed::Wanted) return;
  if (!local.impl_->start_write(*buffer)) {
    local.impl_->counters.not_admitted.add();
    ram.end_write(*buffer, false);
  }
}

// --- ContactPermit ---

ContactPermit::ContactPermit(ContactPermit&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)), key_(other.key_), sequence_(other.sequence_) {}

ContactPermit& ContactPermit::operator=(ContactPermit&& other) noexcept {
  ContactPermit former(std::move(*this));
  store_ = std::exchange(other.store_, nullptr);
  key_ = other.key_;
  sequence_ = other.sequence_;
  return *this;
}

ContactPermit::~ContactPermit() {
  if (store_ != nullptr) store_->impl_->representations.abandon_contact(key_, sequence_);
}

}  // namespace segue::cache
