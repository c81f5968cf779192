// edge/server/memory_pool.h - memory for things of one size that come and go with requests.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "base/assert.h"
#include "base/counter.h"
#include "base/sanitizer.h"

namespace segue::edge {

/// Loop-owned. Keeps up to `kept_max` free pieces for the next taker, so that steady traffic
/// allocates nothing, and gives the rest back, so that a flood's memory does not stay. In sanitizer
/// builds every piece is its own malloc.
template <class T>
class ObjectPool {
 public:
  explicit ObjectPool(uint32_t kept_max) : kept_max_(kSanitized ? 0 : kept_max) {}
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;
  ~ObjectPool() {
    SEGUE_ASSERT(in_use() == 0);
    while (free_ != nullptr) deallocate(std::exchange(free_, free_->next));
  }

  template <class... Args>
  [[nodiscard]] T* make(Args&&... args) {
    void* memory = free_;
    if (memory != nullptr) {
      free_ = free_->next;
      --kept_;
    } else {
      memory = ::operator new(kBytes, kAlignment);
    }
    in_use_.add();
    // Default- and not value-initialised: zeroing a read buffer would cost more than reading it.
    if constexpr (sizeof...(Args) == 0) return new (memory) T;
    return new (memory) T(std::forward<Args>(args)...);
  }
  void destroy(T* object) noexcept {
    SEGUE_ASSERT(in_use() > 0);
    in_use_.sub();
    object->~T();
    if (kept_ >= kept_max_) {
      deallocate(object);
      return;
    }
    free_ = new (static_cast<void*>(object)) Free{free_};
    ++kept_;
  }
  /// Any thread.
  [[nodiscard]] uint32_t in_use() const noexcept { return static_cast<uint32_t>(in_use_.get()); }

 private:
  struct Free {
    Free* next;
  };
  static constexpr size_t kBytes = sizeof(T) > sizeof(Free) ? sizeof(T) : sizeof(Free);
  static constexpr std::align_val_t kAlignment{alignof(T) > alignof(Free) ? alignof(T)
                                                                          : alignof(Free)};
  static void deallocate(void* memory) noexcept { ::operator delete(memory, kBytes, kAlignment); }

  const uint32_t kept_max_;
  Free* free_ = nullptr;
  uint32_t kept_ = 0;
  Counter in_use_;
};

}  // namespace segue::edge
