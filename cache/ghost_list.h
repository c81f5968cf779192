// cache/ghost_list.h - remembers what was seen lately without holding it: who asks for the second
// time is worth a write to the SSD (admission), or a place in the main queue (S3-FIFO).
//
// 8 bytes per ghost and nothing else: sets of eight (one cache line), first in first out within the
// set, no links. A full set forgets its oldest, so the list as a whole is a FIFO only on average;
// measured by its test: at least 85 % of the last capacity/2 additions are remembered. The owner
// holds its shard's mutex for every call.
#pragma once
#include <cstdint>
#include <memory>

#include "cache/types.h"

namespace segue::cache {

class GhostList {
 public:
  /// Room for at least `capacity` ghosts (0: remembers nothing). Start-up; the one allocation.
  explicit GhostList(uint32_t capacity);

  enum class Seen : uint8_t {
    Never,    // or long ago
    SameUse,  // by this very use: one play's many ranges are one use
    AnotherUse,
  };
  [[nodiscard]] Seen find(uint64_t fingerprint, UseId use) const noexcept;
  /// Enters it as the newest of its set; the oldest of a full set goes.
  void add(uint64_t fingerprint, UseId use) noexcept;
  /// Forgets it. True if it was here.
  bool take(uint64_t fingerprint) noexcept;

  [[nodiscard]] uint32_t capacity() const noexcept { return sets_ * kWays; }
  [[nodiscard]] uint32_t size() const noexcept { return size_; }

 private:
  static constexpr uint32_t kWays = 8;
  static constexpr uint32_t kUseBits = 24;
  [[nodiscard]] uint64_t* set_of(uint64_t mixed) const noexcept;
  [[nodiscard]] static uint64_t tag_of(uint64_t mixed) noexcept;
  [[nodiscard]] static uint64_t use_tag(UseId use) noexcept;

  // constant after construction
  const uint32_t sets_;
  // under the owner's mutex
  std::unique_ptr<uint64_t[]> entries_;  // tag in the high 40 bits, use in the low 24; 0: empty
  uint32_t size_ = 0;
};

}  // namespace segue::cache
