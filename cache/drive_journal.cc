// The purge journal's I/O: statements appended at once share one flush.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cache/drive_impl.h"

namespace segue::cache {

Task<Result<PurgeJournal>> Drive::Impl::read_journal(Disk& disk, Geometry layout,
                                                     uint64_t device_id) {
  const size_t copy_bytes = size_t{layout.journal_pages()} * format::kPageBytes;
  const AlignedBytes copies[format::kJournalCopies] = {AlignedBytes(copy_bytes),
                                                       AlignedBytes(copy_bytes)};
  for (uint32_t copy = 0; copy < format::kJournalCopies; ++copy) {
    const AlignedBytes& bytes = copies[copy];
    const auto whole = co_await disk.read(layout.journal_offset(copy, 0), bytes.span(), {});
    if (whole) continue;
    // Page by page: what cannot be read of one copy may be whole in the other.
    for (uint32_t page = 0; page < layout.journal_pages(); ++page) {
      const auto read = co_await disk.read(layout.journal_offset(copy, page), bytes.page(page), {});
      if (!read) std::ranges::fill(bytes.page(page), std::byte{0});
    }
  }
  co_return PurgeJournal::recover(device_id, layout.journal_pages(), copies[0].span(),
                                  copies[1].span());
}

Task<Result<Done>> Drive::Impl::write_journal(Disk& disk, PurgeJournal::Batch batch) {
  const AlignedBytes page(format::kPageBytes);
  for (const JournalPage& one : batch.pages) {
    encode_journal_page(one, device_id, page.page(0));
    for (uint32_t copy = 0; copy < format::kJournalCopies; ++copy) {
      const auto written = co_await disk.write(geometry.journal_offset(copy, journal.place_of(one)),
                                               page.span(), {});
      if (!written) co_return fail(written.error());
    }
    const auto flushed = co_await disk.flush();
    if (!flushed) co_return fail(flushed.error());
    counters.journal_flushes.fetch_add(1, std::memory_order_relaxed);
  }
  const std::lock_guard lock(mutex);
  journal.commit(batch);
  co_return Done{};
}

Task<Result<Done>> Drive::Impl::move_tail(Disk& disk, Sequence retired_before) {
  auto batch = journal.plan_retire(retired_before);
  if (!batch) co_return fail(batch.error());
  co_return co_await write_journal(disk, std::move(*batch));
}

Task<Result<Done>> Drive::Impl::compact_journal(Disk& disk) {
  // A former attempt may have failed between its two halves.
  if (journal.tail_lags()) co_return co_await move_tail(disk, journal.retired_before());
  auto packed = journal.plan_compaction();
  if (!packed) co_return fail(packed.error());
  const auto written = co_await write_journal(disk, std::move(*packed));
  if (!written) co_return fail(written.error());
  // Only once the packed pages are durable may a page say that those before them are done with.
  co_return co_await move_tail(disk, journal.retired_before());
}

Task<Result<Done>> Drive::Impl::write_purges(Disk& disk, std::vector<PurgeStatement> statements) {
  if (is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  auto batch = journal.plan_append(statements);
  for (uint32_t tries = 0; !batch && tries < 2; ++tries) {
    const auto compacted = co_await compact_journal(disk);
    if (!compacted) co_return fail(compacted.error());
    batch = journal.plan_append(statements);
  }
  if (!batch) co_return fail(batch.error());
  co_return co_await write_journal(disk, std::move(*batch));
}

Task<Result<Done>> Drive::append_purge(Disk& disk, PurgeStatement statement) {
#ifdef SEGUE_PLANTED_BUG_purge_not_journalled
  co_return Done{};
#endif
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  if (statement.prefix.size() > kKeyBytesMax) {
    co_return fail(Side::Self, Kind::Unsupported, "purge prefix too long");
  }
  const auto outcome = std::make_shared<Impl::PurgeOutcome>();
  {
    const std::lock_guard lock(impl.mutex);
    impl.waiting_purges.push_back({statement, outcome});
  }
  // Whoever gets in first writes for all who wait by then; the others find it done.
  const Turnstile::Turn turn = co_await impl.journal_turns.enter();
  if (outcome->result) co_return *outcome->result;
  std::vector<Impl::WaitingPurge> together;
  {
    const std::lock_guard lock(impl.mutex);
    together.swap(impl.waiting_purges);
  }
  std::vector<PurgeStatement> statements;
  statements.reserve(together.size());
  for (const Impl::WaitingPurge& one : together) statements.push_back(one.statement);
  const auto written = co_await impl.write_purges(disk, std::move(statements));
  if (!written && written.error().kind == Kind::IoError) {
    impl.counters.io_errors.fetch_add(1, std::memory_order_relaxed);
    impl.count_error("journal errors");
  }
  // Read by the others only once they are inside the turnstile themselves.
  for (const Impl::WaitingPurge& one : together) one.outcome->result = written;
  co_return written;
}

Task<Result<Done>> Drive::retire_purges(Disk& disk, Sequence before) {
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  if (impl.is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  const auto flushed = co_await impl.flush_dirty_pages(disk);
  if (!flushed) co_return fail(flushed.error());
  const auto durable = co_await disk.flush();
  if (!durable) co_return fail(durable.error());
  const Turnstile::Turn turn = co_await impl.journal_turns.enter();
  if (!impl.journal.would_retire(before)) co_return Done{};
  const auto retired = co_await impl.move_tail(disk, before);
  if (retired || retired.error().kind != Kind::Full) co_return retired;
  const auto compacted = co_await impl.compact_journal(disk);
  if (!compacted) co_return fail(compacted.error());
  co_return co_await impl.move_tail(disk, before);
}

}  // namespace segue::cache
