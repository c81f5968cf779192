// base/ref.h - intrusive reference counting for the few things several loops read at once
// (generations, facts, settings).
#pragma once
#include <atomic>
#include <concepts>
#include <cstdint>
#include <utility>

#include "base/assert.h"

namespace segue {

/// Base of what Ref<> counts. The count starts at 0; the first Ref makes it 1; the last one
/// deletes.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

 protected:
  virtual ~RefCounted() = default;

 private:
  template <class T>
  friend class Ref;
  void add_ref() const noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void drop_ref() const noexcept {
    // acq_rel: what other owners did to the object happens before its destructor.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  mutable std::atomic<uint32_t> refs_{0};
};

/// An owning reference. Copying is one relaxed increment; any thread.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) noexcept : object_(object) {
    if (object_ != nullptr) object_->add_ref();
  }
  Ref(const Ref& other) noexcept : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
    requires std::convertible_to<U*, T*>
  Ref(const Ref<U>& other) noexcept
      : Ref(other.get()) {}  // NOLINT(google-explicit-constructor): as a pointer would
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->drop_ref();
  }

  [[nodiscard]] T* get() const noexcept { return object_; }
  T* operator->() const noexcept {
    SEGUE_DEBUG_ASSERT(object_ != nullptr);
    return object_;
  }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  bool operator==(const Ref& other) const noexcept { return object_ == other.object_; }

 private:
  T* object_ = nullptr;
};

template <class T, class... Args>
[[nodiscard]] Ref<T> make_ref(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace segue
