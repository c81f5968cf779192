// Memory that is not given: the nth allocation of this thread fails, once or from then on. Linking
// it replaces malloc and its kin for the whole binary, libraries included, so its tests are a
// binary of their own.
#pragma once
#include <cstdint>

namespace segue::testing {

/// Who asks: C++ by operator new, or C (the libraries, and pools of ours) by malloc.
enum class Whose : uint8_t { OperatorNew, Malloc };

struct MemoryPlan {
  Whose whose = Whose::OperatorNew;
  uint64_t nth = 0;  // 0: none fails
  bool for_ever = false;
};

/// Of this thread, from here on.
void set_memory_plan(const MemoryPlan& plan) noexcept;
/// How many allocations of this thread by `whose` were counted since the plan was set.
[[nodiscard]] uint64_t allocations_counted(Whose whose) noexcept;
/// Whether the plan has refused one.
[[nodiscard]] bool memory_was_refused() noexcept;

/// While one lives, allocations of this thread count, and may be refused.
class Counted {
 public:
  Counted() noexcept;
  ~Counted();
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

/// Within a Counted: what a test's own client or origin does.
class NotCounted {
 public:
  NotCounted() noexcept;
  ~NotCounted();
  NotCounted(const NotCounted&) = delete;
  NotCounted& operator=(const NotCounted&) = delete;

 private:
  bool before_;
};

/// Allocations of all threads that nobody has freed.
[[nodiscard]] int64_t live_allocations() noexcept;

}  // namespace segue::testing
