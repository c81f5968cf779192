// edge/metrics/byte_coverage.h - which bytes of a track were delivered, in fixed memory.
#pragma once
#include <array>
#include <cstdint>

namespace segue::edge {

/// A few disjoint spans in ascending order. When there are more than it can hold, the two that lie
/// nearest become one: then it covers a little more than was delivered, never less.
class ByteCoverage {
 public:
  static constexpr uint32_t kSpansMax = 8;

  /// Adds [first, end); returns how many bytes are new.
  uint64_t add(uint64_t first, uint64_t end) noexcept;
  /// Covered bytes within [first, end).
  [[nodiscard]] uint64_t within(uint64_t first, uint64_t end) const noexcept;
  [[nodiscard]] uint64_t total() const noexcept { return within(0, UINT64_MAX); }
  void clear() noexcept { count_ = 0; }

 private:
  struct Span {
    uint64_t first, end;
  };
  void join_nearest() noexcept;

  std::array<Span, kSpansMax + 1> spans_{};  // one more while a new one is put in
  uint32_t count_ = 0;
};

}  // namespace segue::edge
