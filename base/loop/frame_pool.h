// base/loop/frame_pool.h - where coroutine frames of one loop live: fixed size classes, bounded in
// total, no malloc when warm.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/limits.h"

namespace segue {

/// Loop-owned. A full pool returns null and the task resolves to Overloaded (task.h), so a flood of
/// requests costs a bounded amount of memory. In sanitizer builds every frame is its own malloc, or
/// a use after free would go unseen.
class FramePool {
 public:
  explicit FramePool(uint64_t bytes_max = kFramePoolBytesMax) noexcept : bytes_max_(bytes_max) {}
  ~FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  /// Null when the pool is full or the frame is larger than the largest class. Never throws.
  [[nodiscard]] void* allocate(size_t bytes) noexcept;
  /// Gives back what allocate() of any pool of this thread returned.
  static void deallocate(void* frame) noexcept;

  [[nodiscard]] uint64_t frames_in_use() const noexcept { return in_use_; }
  [[nodiscard]] uint64_t bytes_reserved() const noexcept { return bytes_reserved_; }

 private:
  struct FreeFrame;
  struct Header;
  struct Block;
  static constexpr std::array<uint32_t, 7> kClassBytes{256, 512, 1024, 2048, 4096, 8192, 16384};

  [[nodiscard]] FreeFrame* carve(size_t size_class) noexcept;
  [[nodiscard]] void* allocate_alone(size_t size_class, size_t bytes) noexcept;

  std::array<FreeFrame*, kClassBytes.size()> free_{};
  Block* blocks_ = nullptr;
  uint64_t bytes_max_;
  uint64_t bytes_reserved_ = 0;
  uint64_t in_use_ = 0;
};

}  // namespace segue
