#include "base/loop/frame_pool.h"

#include <cstdlib>
#include <new>

#include "base/assert.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SEGUE_FRAMES_FROM_MALLOC 1
#endif
#endif
#ifndef SEGUE_FRAMES_FROM_MALLOC
#define SEGUE_FRAMES_FROM_MALLOC 0
#endif

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
  FreeFrame* frame = nullptr;
  if constexpr (SEGUE_FRAMES_FROM_MALLOC) {
    if (in_use_ * kClassBytes[0] >= bytes_max_) return nullptr;
    void* memory = std::malloc(sizeof(Header) + bytes);
    if (memory == nullptr) return nullptr;
    auto* header = new (memory) Header{this, static_cast<uint32_t>(size_class)};
    ++in_use_;
    return header + 1;
  }
  frame = free_[size_class] != nullptr ? free_[size_class] : carve(size_class);
  if (frame == nullptr) return nullptr;
  free_[size_class] = frame->next;
  ++in_use_;
  return frame;
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
  if constexpr (SEGUE_FRAMES_FROM_MALLOC) {
    std::free(header);
    return;
  }
  pool->free_[header->size_class] = new (frame) FreeFrame{pool->free_[header->size_class]};
}

}  // namespace segue
