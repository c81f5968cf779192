// cache/aligned_bytes.h - memory that O_DIRECT takes, and a pool of single pages of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "cache/format.h"

namespace segue::cache {

/// Bytes aligned to kDiskAlignBytes. Move-only.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(size_t bytes)
      : memory_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kDiskAlignBytes}))),
        bytes_(bytes) {}
  [[nodiscard]] std::span<std::byte> span() const noexcept { return {memory_.get(), bytes_}; }
  [[nodiscard]] format::PageBytes page(size_t number) const noexcept {
    return span().subspan(number * format::kPageBytes).first<format::kPageBytes>();
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept {
      ::operator delete(memory, std::align_val_t{kDiskAlignBytes});
    }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t bytes_ = 0;
};

/// Pages for slot headers and records of the operations in flight, kept warm. Grows to the most
/// that were ever in flight at once (kDriveOpsInFlightMax per loop). Any thread.
class PagePool {
 public:
  /// A page out of the pool; back in it when dropped. The pool outlives it.
  class [[nodiscard]] Page {
   public:
    Page(PagePool& pool, AlignedBytes bytes) noexcept : pool_(&pool), bytes_(std::move(bytes)) {}
    Page(Page&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), bytes_(std::move(other.bytes_)) {}
    Page& operator=(Page&&) = delete;
    ~Page() {
      if (pool_ != nullptr) pool_->give_back(std::move(bytes_));
    }
    [[nodiscard]] format::PageBytes bytes() const noexcept { return bytes_.page(0); }

   private:
    PagePool* pool_;
    AlignedBytes bytes_;
  };

  [[nodiscard]] Page take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return {*this, AlignedBytes(format::kPageBytes)};
    AlignedBytes bytes = std::move(free_.back());
    free_.pop_back();
    return {*this, std::move(bytes)};
  }

 private:
  void give_back(AlignedBytes bytes) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(bytes));
  }
  std::mutex mutex_;
  std::vector<AlignedBytes> free_;
};

}  // namespace segue::cache
