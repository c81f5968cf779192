// cache/drive_index.h - which slices a drive holds and which it takes: shards and write budget.
//
// No I/O and no clock (the time is passed in): a Drive adds the bytes, and `segue replay` runs the
// same decisions without any. Any thread.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "cache/index_shard.h"
#include "cache/write_budget.h"

namespace segue::cache {

class DriveIndex {
 public:
  /// `geometry` outlives it. `write_bytes_per_second` 0: no limit.
  DriveIndex(const Geometry& geometry, EvictionPolicy policy, uint64_t write_bytes_per_second,
             MonoTime now);

  [[nodiscard]] std::vector<std::unique_ptr<IndexShard>>& shards() noexcept { return shards_; }
  [[nodiscard]] IndexShard& shard_for(uint64_t fingerprint) noexcept {
    return *shards_[shard_of(fingerprint, geometry_.shards())];
  }
  [[nodiscard]] bool contains(const SliceKey& key) const noexcept;
  /// Whether a slice that is not here should be written now: free slots or write budget to spare,
  /// or its second use (ghost).
  [[nodiscard]] bool should_admit(const SliceKey& key, SizeClass size_class, UseId use,
                                  MonoTime now) noexcept;

  /// What the write of so many payload bytes costs.
  [[nodiscard]] static uint64_t write_bytes(uint32_t length) noexcept {
    return kSlotHeaderBytes + round_up(length, kDiskAlignBytes);
  }
  /// False: the write budget is spent.
  [[nodiscard]] bool try_spend(uint32_t length, MonoTime now) noexcept {
    return budget_.try_take(write_bytes(length), now);
  }
  void give_back(uint32_t length) noexcept { budget_.give_back(write_bytes(length)); }
  /// See IndexShard::take(). Besides: {Self, Full} if no class has slots so large.
  [[nodiscard]] Result<IndexShard::Taken> take(const SliceKey& key, RecordNumber record,
                                               uint32_t length) noexcept;

 private:
  // constant after construction
  const Geometry& geometry_;
  // any thread, each with its own mutex
  std::vector<std::unique_ptr<IndexShard>> shards_;
  WriteBudget budget_;
};

}  // namespace segue::cache
