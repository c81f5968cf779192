// cache/buffer_memory.h - the one contiguous mapping that all RAM buffers lie in.
//
// Huge pages spare the TLB: hugetlb if the operator set some aside, else transparent ones, else
// plain pages (huge() is false: a metric says so). Pages are touched in the background, so that a
// start does not wait for the kernel to clear gigabytes and the first hits do not either.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "base/result.h"

namespace segue::cache {

/// Whether buffers have bytes. `None`: addresses only, never to be read or written: a replay of a
/// trace moves buffers of hundreds of gigabytes about without having them.
enum class Payload : uint8_t { Kept, None };

class BufferMemory {
 public:
  BufferMemory() = default;
  ~BufferMemory();
  BufferMemory(const BufferMemory&) = delete;
  BufferMemory& operator=(const BufferMemory&) = delete;

  /// Start-up, once. Errors: {Self, IoError} if the address space cannot be had.
  [[nodiscard]] Result<Done> map(uint64_t bytes, bool huge_pages, Payload payload);
  [[nodiscard]] std::byte* base() const noexcept { return base_; }
  [[nodiscard]] bool huge() const noexcept { return huge_; }
  [[nodiscard]] bool hugetlb() const noexcept { return hugetlb_; }
  /// Bytes the background has touched so far. Any thread.
  [[nodiscard]] uint64_t populated_bytes() const noexcept {
    return populated_.load(std::memory_order_relaxed);
  }

 private:
  void populate(const std::stop_token& stop) noexcept;

  // constant after map()
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  std::byte* base_ = nullptr;
  uint64_t bytes_ = 0;
  bool huge_ = false;
  bool hugetlb_ = false;
  // atomic, any thread
  std::atomic<uint64_t> populated_{0};
  std::jthread populater_;
};

/// Tells AddressSanitizer that nobody may touch [memory, memory + bytes): a buffer on the free
/// list. Does nothing in other builds.
void forbid(std::byte* memory, size_t bytes) noexcept;
void allow(std::byte* memory, size_t bytes) noexcept;

}  // namespace segue::cache
