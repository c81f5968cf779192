// cache/eviction.h - which entry leaves first: LRU or S3-FIFO, one small interface for the RAM tier
// and the drives.
//
// Intrusive over entry numbers 0..entries-1: nothing is allocated after construction. The owner
// holds its shard's mutex for every call. Memory: LRU 12 bytes per entry; S3-FIFO 13 bytes per
// entry, and 8 bytes per ghost (0.9 ghosts per entry).
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "cache/types.h"

namespace segue::cache {

enum class EvictionPolicy : uint8_t { Lru, S3Fifo };

inline constexpr uint32_t kNoEntry = UINT32_MAX;

/// What the order asks of whoever owns the entries. Called inside take_victim() only.
class EvictionOwner {
 public:
  /// False while somebody holds the entry (a pin, a read): it is passed over and stays.
  [[nodiscard]] virtual bool may_evict(uint32_t entry) const noexcept = 0;
  /// 64 well-mixed bits of what the entry holds: how S3-FIFO recognises it when it comes back.
  [[nodiscard]] virtual uint64_t fingerprint_of(uint32_t entry) const noexcept = 0;

 protected:
  ~EvictionOwner() = default;
};

class EvictionOrder {
 public:
  virtual ~EvictionOrder() = default;

  /// Enters `entry`, which is not in the order, as the newest. `now_seconds` never steps back.
  virtual void insert(uint32_t entry, uint64_t fingerprint, uint32_t now_seconds) noexcept = 0;
  /// Counts a use of an entry that is in the order. LRU: moves it to the front, at most once a
  /// second unless an eighth of the order is new within that one. S3-FIFO: counts it, once per use
  /// id (a play asks for one slice many times).
  virtual void touch(uint32_t entry, UseId use, uint32_t now_seconds) noexcept = 0;
  /// Takes `entry` out, as if it had never been in: its owner dropped it.
  virtual void remove(uint32_t entry) noexcept = 0;
  /// Takes out the entry to evict; kNoEntry if every entry is held. Held entries do not lose their
  /// place under LRU; under S3-FIFO one that would be evicted goes round once more.
  [[nodiscard]] virtual uint32_t take_victim(const EvictionOwner& owner) noexcept = 0;
  /// Start-up: enters `entry` as newer than all before, last used at `last_touch`.
  virtual void restore(uint32_t entry, uint32_t last_touch) noexcept = 0;

  /// Seconds of each entry's insert or of the last touch() that moved or counted it; of an entry
  /// that is not in the order: whatever it was last. The drive writes it as the access order.
  [[nodiscard]] virtual std::span<uint32_t> last_touch() noexcept = 0;
  [[nodiscard]] virtual uint32_t size() const noexcept = 0;
  /// Memory of the order itself and of its ghosts.
  [[nodiscard]] virtual uint64_t order_bytes() const noexcept = 0;
  [[nodiscard]] virtual uint64_t ghosts() const noexcept = 0;
};

/// Start-up; the one allocation.
[[nodiscard]] std::unique_ptr<EvictionOrder> make_eviction_order(EvictionPolicy policy,
                                                                 uint32_t entries);

}  // namespace segue::cache
