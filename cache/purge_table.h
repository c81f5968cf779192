// cache/purge_table.h - the purge statements in force that name more than one key.
//
// A statement by key is applied to its representation, or to the contact under way, on the spot;
// prefixes, tags and "everything" stay here until every representation has been checked against
// them and no contact older than they is under way. Bounded: a full table refuses the purge, it
// never purges more than it was asked to.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/purge_statement.h"
#include "cache/types.h"

namespace segue::cache {

/// The latest hard and soft statements that match something; Sequence{0}: none.
struct PurgeMarks {
  Sequence hard;
  Sequence soft;
  void raise(const PurgeMarks& other) noexcept;
  void raise(bool is_soft, Sequence sequence) noexcept;
};

class PurgeTable {
 public:
  /// False: the table of prefixes or tags is full. Not for PurgeScope::Key.
  [[nodiscard]] bool try_add(const PurgeStatement& statement);
  /// Start-up: a statement from a journal, which has its own bound.
  void restore(const PurgeStatement& statement);
  /// Counts a statement by key: it is not kept here, but stands in the journals.
  void note_key(Sequence sequence) noexcept;
  /// Statements ever added or noted.
  [[nodiscard]] uint64_t added() const noexcept { return added_.load(std::memory_order_acquire); }
  /// The highest sequence of any statement added so far: who was checked at it need not look again.
  /// A statement is in the table before its sequence is here.
  [[nodiscard]] Sequence latest() const noexcept {
    return Sequence{latest_.load(std::memory_order_acquire)};
  }
  /// What matches `key_text` and `tags`; cannot allocate.
  [[nodiscard]] PurgeMarks match(std::string_view key_text,
                                 std::span<const uint64_t> tags) const noexcept;
  /// What matches `key_text`, leaving tags aside (they are not known yet).
  [[nodiscard]] PurgeMarks match(std::string_view key_text) const noexcept {
    return match(key_text, {});
  }

  /// A pass over all representations begins, to check them against what has been added so far.
  void start_pass() noexcept;
  /// What may be retired once the pass has ended: `before`, or less if a statement with a lower
  /// sequence was added since the pass began.
  [[nodiscard]] Sequence retire_bound(Sequence before) const noexcept;
  /// Drops statements with a sequence below retire_bound(before).
  void retire(Sequence before);
  struct Usage {
    uint32_t prefixes = 0;
    uint32_t tags = 0;
    bool everything = false;
    [[nodiscard]] bool empty() const noexcept { return prefixes == 0 && tags == 0 && !everything; }
  };
  [[nodiscard]] Usage usage() const;

 private:
  [[nodiscard]] bool add(const PurgeStatement& statement, bool bounded);
  struct Prefix {
    std::string text;
    PurgeMarks marks;
  };
  struct Tag {
    uint64_t hash = 0;
    PurgeMarks marks;
  };
  // guarded by mutex_
  mutable std::mutex mutex_;
  std::vector<Prefix> prefixes_;  // sorted by text
  std::vector<Tag> tags_;         // sorted by hash
  PurgeMarks everything_;
  Sequence lowest_since_pass_{UINT64_MAX};
  // atomic, any thread
  std::atomic<uint64_t> latest_{0};
  std::atomic<uint64_t> added_{0};
};

}  // namespace segue::cache
