// cache/purge_journal.h - what has been purged and must stay purged after a crash: a ring of pages
// in two copies. Pure: encodes, decodes and keeps account; the drive does the I/O. Layout:
// cache/FORMAT.md.
//
// A page that holds an acknowledged statement is never written again before it is retired, so a
// torn write can only hurt what nobody was promised. Not thread-safe: the drive's journal turnstile
// guards it.
#pragma once
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/result.h"
#include "cache/format.h"
#include "cache/purge_statement.h"

namespace segue::cache {

/// One page as it was written.
struct JournalPage {
  uint64_t page_number = 0;
  uint64_t tail_page = 0;
  Sequence retired_before;
  std::vector<PurgeStatement> statements;
};

/// The most bytes a statement takes in a page.
[[nodiscard]] uint32_t encoded_bytes(const PurgeStatement& statement) noexcept;
/// Writes a page; the statements fit it.
void encode_journal_page(const JournalPage& page, uint64_t device_id,
                         format::PageBytes bytes) noexcept;
/// Errors: {Disk, ChecksumMismatch}: not a whole page of this drive; {Disk, Malformed}: whole, but
/// not a journal page.
[[nodiscard]] Result<JournalPage> decode_journal_page(format::PageView bytes, uint64_t device_id);

class PurgeJournal {
 public:
  /// The journal of a newly formatted drive: pages 0..pages-1 are written, all empty.
  explicit PurgeJournal(uint32_t pages);

  /// Writes the empty page 0 <= `number` < pages of a new drive.
  static void encode_empty(uint64_t device_id, uint32_t number, format::PageBytes bytes) noexcept;

  /// Rebuilds the journal from its two copies (each `pages` pages; an unreadable one as zeros).
  /// Errors: {Disk, ChecksumMismatch}: a page that may have held statements in force is lost in
  /// both copies; nothing the drive holds can be trusted to be unpurged.
  [[nodiscard]] static Result<PurgeJournal> recover(uint64_t device_id, uint32_t pages,
                                                    std::span<const std::byte> first_copy,
                                                    std::span<const std::byte> second_copy);

  /// Pages to write before anything is acknowledged, in order: each is durable before the next is
  /// begun, so that a cut leaves no gap. commit() when all are.
  struct Batch {
    std::vector<JournalPage> pages;
    bool compaction = false;
  };
  /// A batch that adds `statements`. Errors: {Disk, Full}: compact() first, or wait for a sweep.
  [[nodiscard]] Result<Batch> plan_append(std::span<const PurgeStatement> statements) const;
  /// A batch that writes all statements in force again, packed; after its commit plan_retire()
  /// gives their old pages back. Errors: {Disk, Full}: it would not help.
  [[nodiscard]] Result<Batch> plan_compaction() const;
  /// A batch that retires statements with a sequence < `before`, and gives back pages. Errors:
  /// {Disk, Full}: it would give back none, and few are left.
  [[nodiscard]] Result<Batch> plan_retire(Sequence before) const;
  /// Whether pages are done with that plan_retire() would give back without retiring anything.
  [[nodiscard]] bool tail_lags() const noexcept { return tail_after(retired_before_) > tail_page_; }
  /// Whether any statement in force has a sequence < `before`.
  [[nodiscard]] bool would_retire(Sequence before) const noexcept;
  void commit(const Batch& batch);

  [[nodiscard]] uint32_t place_of(const JournalPage& page) const noexcept {
    return static_cast<uint32_t>(page.page_number % pages_);
  }
  [[nodiscard]] std::vector<PurgeStatement> statements() const;
  [[nodiscard]] Sequence retired_before() const noexcept { return retired_before_; }
  [[nodiscard]] uint32_t free_pages() const noexcept {
    return pages_ - static_cast<uint32_t>(next_page_ - tail_page_);
  }

 private:
  struct Kept {
    PurgeStatement statement;
    uint64_t page_number;
  };
  [[nodiscard]] Batch pack(std::span<const PurgeStatement> statements) const;
  [[nodiscard]] uint64_t tail_after(Sequence retired) const noexcept;

  uint32_t pages_;
  uint64_t next_page_;
  uint64_t tail_page_;  // as the newest durable page says
  Sequence retired_before_;
  std::deque<Kept> kept_;  // statements in force, by page number; a compaction moves them on
};

}  // namespace segue::cache
