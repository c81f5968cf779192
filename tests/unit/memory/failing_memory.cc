// With _FORTIFY_SOURCE glibc defines some of these inline, and what is defined here would be a
// second one.
#undef _FORTIFY_SOURCE

#include "tests/unit/memory/failing_memory.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#define BENEATH(name) __libc_##name

extern "C" {
void* BENEATH(malloc)(size_t bytes);
void* BENEATH(calloc)(size_t count, size_t bytes);
void* BENEATH(realloc)(void* memory, size_t bytes);
void* BENEATH(memalign)(size_t alignment, size_t bytes);
void BENEATH(free)(void* memory);
}

namespace segue::testing {
namespace {

struct ThisThread {
  MemoryPlan plan;
  bool counting = false;
  bool in_new = false;
  bool refused = false;
  uint64_t counted[2] = {};
};
// Of the executable, so no allocation is needed to reach it.
constinit thread_local ThisThread t;
// Of all threads: what one has allocated another may free.
constinit std::atomic<int64_t> live{0};

[[nodiscard]] bool refuses(Whose whose) noexcept {
  if (!t.counting) return false;
  const uint64_t number = ++t.counted[static_cast<size_t>(whose)];
  if (t.plan.nth == 0 || t.plan.whose != whose) return false;
  const bool refused = t.plan.for_ever ? number >= t.plan.nth : number == t.plan.nth;
  t.refused = t.refused || refused;
  return refused;
}

[[nodiscard]] bool refuses() noexcept {
  const bool refused = refuses(t.in_new ? Whose::OperatorNew : Whose::Malloc);
  if (refused) errno = ENOMEM;
  return refused;
}

[[nodiscard]] void* alive(void* memory) noexcept {
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

}  // namespace

void set_memory_plan(const MemoryPlan& plan) noexcept {
  t.plan = plan;
  t.refused = false;
  t.counted[0] = t.counted[1] = 0;
}
uint64_t allocations_counted(Whose whose) noexcept { return t.counted[static_cast<size_t>(whose)]; }
bool memory_was_refused() noexcept { return t.refused; }

Counted::Counted() noexcept { t.counting = true; }
Counted::~Counted() { t.counting = false; }
NotCounted::NotCounted() noexcept : before_(std::exchange(t.counting, false)) {}
NotCounted::~NotCounted() { t.counting = before_; }

int64_t live_allocations() noexcept { return live.load(std::memory_order_relaxed); }

namespace {

/// As the standard has it: what new_handler does decides.
void* made_new(size_t bytes, size_t alignment) {
  for (;;) {
    t.in_new = true;
    void* memory = alignment == 0 ? std::malloc(std::max<size_t>(bytes, 1))
                                  : memalign(alignment, std::max<size_t>(bytes, 1));
    t.in_new = false;
    if (memory != nullptr) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

}  // namespace
}  // namespace segue::testing

using namespace segue::testing;

extern "C" {
void* malloc(size_t bytes) { return refuses() ? nullptr : alive(BENEATH(malloc)(bytes)); }
void* calloc(size_t count, size_t bytes) {
  return refuses() ? nullptr : alive(BENEATH(calloc)(count, bytes));
}
void* memalign(size_t alignment, size_t bytes) {
  return refuses() ? nullptr : alive(BENEATH(memalign)(alignment, bytes));
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** into, size_t alignment, size_t bytes) {
  void* memory = memalign(alignment, bytes);
  if (memory == nullptr) return ENOMEM;
  *into = memory;
  return 0;
}
void* realloc(void* memory, size_t bytes) {
  if (memory == nullptr) return malloc(bytes);
  if (bytes == 0) return free(memory), nullptr;
  return refuses() ? nullptr : BENEATH(realloc)(memory, bytes);
}
void* reallocarray(void* memory, size_t count, size_t bytes) {
  size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return errno = ENOMEM, nullptr;
  return realloc(memory, all);
}
void free(void* memory) {
  if (memory == nullptr) return;
  live.fetch_sub(1, std::memory_order_relaxed);
  BENEATH(free)(memory);
}
}

void* operator new(size_t bytes) { return made_new(bytes, 0); }
void* operator new[](size_t bytes) { return made_new(bytes, 0); }
void* operator new(size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  return made_new(bytes, 0);
}
void* operator new[](size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  return made_new(bytes, 0);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return made_new(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return made_new(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t /*alignment*/) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
