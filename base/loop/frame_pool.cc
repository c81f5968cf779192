#include "base/loop/frame_pool.h"

#include <cstdlib>
#include <new>

#include "base/assert.h"
#include "base/sanitizer.h"

namespace segue {

struct FramePool::FreeFrame {
  FreeFrame* next;
};
// In front of every frame, so that deallocate() needs no loop: a frame may be destroyed while
// another loop is current (the simulation runs several loops on one thread).
struct alignas(16) FramePool::Header {
  FramePool* pool;
  uint32_t size_class;
};
struct alignas(16) FramePool::Block {
  Block* next;
};

FramePool::~FramePool() {
  SEGUE_ASSERT(in_use_ == 0);
  while (blocks_ != nullptr) {
    Block* next = blocks_->next;
    std::free(blocks_);
    blocks_ = next;
  }
}

void* FramePool::allocate(size_t bytes) noexcept {
  size_t size_class = 0;
  while (size_class < kClassBytes.size() && kClassBytes[size_class] < bytes) ++size_class;
  if (size_class == kClassBytes.size()) return nullptr;
  if constexpr (kSanitized) {
    return allocate_alone(size_class, bytes);
  } else {
    FreeFrame* frame = free_[size_class] != nullptr ? free_[size_class] : carve(size_class);
    // Blocks never change their class, so a flood of small frames may have taken them all: a frame
    // of a larger class is better than none.
    while (frame == nullptr && ++size_class < kClassBytes.size()) frame = free_[size_class];
    if (frame == nullptr) return nullptr;
    free_[size_class] = frame->next;
    ++in_use_;
    return frame;
  }
}

void* FramePool::allocate_alone(size_t size_class, size_t bytes) noexcept {
  const uint64_t reserved = sizeof(Header) + kClassBytes[size_class];
  if (bytes_reserved_ + reserved > bytes_max_) return nullptr;
  void* memory = std::malloc(sizeof(Header) + bytes);
  if (memory == nullptr) return nullptr;
  auto* header = new (memory) Header{this, static_cast<uint32_t>(size_class)};
  bytes_reserved_ += reserved;
  ++in_use_;
  return header + 1;
}

FramePool::FreeFrame* FramePool::carve(size_t size_class) noexcept {
  constexpr size_t kBlockBytes = 64 * KiB;
  if (bytes_reserved_ + kBlockBytes > bytes_max_) return nullptr;
  void* memory = std::malloc(kBlockBytes);
  if (memory == nullptr) return nullptr;
  blocks_ = new (memory) Block{blocks_};
  bytes_reserved_ += kBlockBytes;
  const size_t stride = sizeof(Header) + kClassBytes[size_class];
  char* at = static_cast<char*>(memory) + sizeof(Block);
  char* end = static_cast<char*>(memory) + kBlockBytes;
  FreeFrame* list = nullptr;
  for (; at + stride <= end; at += stride) {
    auto* header = new (at) Header{this, static_cast<uint32_t>(size_class)};
    list = new (header + 1) FreeFrame{list};
  }
  return list;
}

void FramePool::deallocate(void* frame) noexcept {
  Header* header = static_cast<Header*>(frame) - 1;
  FramePool* pool = header->pool;
  SEGUE_ASSERT(pool->in_use_ > 0);
  --pool->in_use_;
  if constexpr (kSanitized) {
    pool->bytes_reserved_ -= sizeof(Header) + kClassBytes[header->size_class];
    std::free(header);
  } else {
    pool->free_[header->size_class] = new (frame) FreeFrame{pool->free_[header->size_class]};
  }
}

}  // namespace segue
