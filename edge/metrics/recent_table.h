// edge/metrics/recent_table.h - two stamps for each of the keys seen last, in memory of fixed size.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace segue::edge {

/// A key has its place in one row of kWays entries. Where the row is full, what was seen longest
/// ago is forgotten: a newcomer is never refused. Keys are hashes of a secret salt, so nobody can
/// aim at a row. Owned by one thread.
class RecentTable {
 public:
  static constexpr uint32_t kWays = 8;

  struct Entry {
    uint64_t key = 0;   // 0: free
    uint32_t seen = 0;  // in the owner's unit of time; the oldest goes first
    uint32_t mark = 0;  // the owner's
  };
  static_assert(sizeof(Entry) == 16);

  /// `entries_max`: rounded up to whole rows.
  explicit RecentTable(uint32_t entries_max);

  /// Null: not known, or forgotten. Valid until the next put().
  [[nodiscard]] const Entry* find(uint64_t key) const noexcept;
  /// Adds or replaces.
  void put(Entry entry) noexcept;

 private:
  [[nodiscard]] size_t row_of(uint64_t key) const noexcept;

  std::vector<Entry> entries_;
};

}  // namespace segue::edge
