// cache/contacts.h - the keys whose header somebody is asking the origin (or a record) about now,
// and who waits for it.
//
// One per shard of the representation table, guarded by that shard's mutex. It grows only when more
// contacts are under way than ever before; their number is bounded by the tasks that hold them.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/purge_table.h"
#include "cache/types.h"
#include "cache/wait_list.h"

namespace segue::cache {

struct Contact {
  KeyHash key;
  Sequence sequence;  // taken when it began
  PurgeMarks marks;   // statements by this key made meanwhile
  WaitList waiters;
  Contact* next = nullptr;
};

class ContactTable {
 public:
  [[nodiscard]] Contact* find(const KeyHash& key) noexcept;
  /// `key` has none.
  Contact& add(const KeyHash& key, Sequence sequence);
  /// Takes it out; its waiters are to be woken and its marks are told.
  struct Ended {
    WaitList waiters;
    PurgeMarks marks;
  };
  [[nodiscard]] Ended remove(Contact& contact) noexcept;
  [[nodiscard]] uint32_t count() const noexcept { return count_; }
  /// The lowest sequence under way, or `none`.
  [[nodiscard]] Sequence oldest(Sequence none) const noexcept;

 private:
  static constexpr uint32_t kBuckets = 64;
  static constexpr uint32_t kPerBlock = 16;
  [[nodiscard]] static uint32_t bucket_of(const KeyHash& key) noexcept {
    return static_cast<uint32_t>(mix(key.high) % kBuckets);
  }
  Contact* buckets_[kBuckets] = {};
  Contact* free_ = nullptr;
  std::vector<std::unique_ptr<Contact[]>> blocks_;
  uint32_t count_ = 0;
};

}  // namespace segue::cache
