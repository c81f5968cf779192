// What goes to the drive in the background: dirty pages of the slot table, the access order.
#include <algorithm>
#include <vector>

#include "base/units.h"
#include "cache/drive_impl.h"
#include "cache/slot_table.h"

namespace segue::cache {
namespace {

constexpr uint32_t kAccessPagesPerWrite = 64;
constexpr std::chrono::minutes kAccessInterval{1};

}  // namespace

/// The flush of one shard's changes, shared by its tasks; loop-owned.
struct Drive::Impl::TableFlush {
  IndexShard& shard;
  uint32_t shard_number;
  IndexShard::Changes changes;
  size_t next_page = 0;
  Result<Done> outcome = Done{};
};

/// Reads the page, changes what has changed, writes it. Entries that did not change stay as the
/// drive has them: the index keeps a fingerprint of each slot only.
Task<Result<Done>> Drive::Impl::flush_page(Disk& disk, TableFlush& flush,
                                           const IndexShard::DirtyPage& dirty) {
  const uint32_t number = geometry.table().page_of_shard(flush.shard_number, dirty.page_in_shard);
  const Geometry::PagedArray::Page slots = geometry.table().page_at(number);
  const PagePool::Page bytes = pages.take();
  const uint64_t offset = geometry.table().offset_of(number);
  const auto read = co_await disk.read(offset, bytes.bytes(), {});
  if (!read && read.error().side != Side::Disk) co_return fail(read.error());
  format::TablePage page;
  if (read && table_page_is_valid(bytes.bytes(), device_id, number)) {
    page = format::load<format::TablePage>(bytes.bytes());
  } else {
    clear_table_page(page, device_id, number);
  }
  for (uint32_t i = 0; i < format::kEntriesPerTablePage; ++i) {
    if ((dirty.changed >> i & 1) != 0) page.entries[i] = {};
  }
  const auto by_local = [](const IndexShard::Change& a, uint32_t local) { return a.local < local; };
  const auto& entries = flush.changes.entries;
  for (auto it = std::lower_bound(entries.begin(), entries.end(), slots.first_local, by_local);
       it != entries.end() && it->local < slots.first_local + slots.count; ++it) {
    const uint32_t i = it->local - slots.first_local;
    if ((dirty.live >> i & 1) != 0) page.entries[i] = encode_entry(it->entry);
  }
  format::store(std::span<std::byte>(bytes.bytes()), page);
  format::seal_page(bytes.bytes());
  co_return co_await disk.write(offset, bytes.bytes(), {});
}

Task<void> Drive::Impl::flush_pages(Impl& impl, Disk& disk, TableFlush& flush) {
  const auto& entries = flush.changes.entries;
  while (flush.next_page < flush.changes.pages.size()) {
    const IndexShard::DirtyPage dirty = flush.changes.pages[flush.next_page++];
    const auto done = co_await impl.flush_page(disk, flush, dirty);
    if (done) continue;
    flush.outcome = done;
    const Geometry::PagedArray& table = impl.geometry.table();
    const Geometry::PagedArray::Page slots =
        table.page_at(table.page_of_shard(flush.shard_number, dirty.page_in_shard));
    const auto by_local = [](const IndexShard::Change& a, uint32_t local) {
      return a.local < local;
    };
    const auto from = std::lower_bound(entries.begin(), entries.end(), slots.first_local, by_local);
    const auto to =
        std::lower_bound(from, entries.end(), slots.first_local + slots.count, by_local);
    flush.shard.give_back(dirty, std::span(from, to));
  }
}

Task<Result<Done>> Drive::Impl::flush_dirty_pages(Disk& disk) {
  const Turnstile::Turn turn = co_await table_turns.enter();
  Result<Done> outcome = Done{};
  bool payloads_durable = false;
  for (uint32_t number = 0; number < shards.size(); ++number) {
    TableFlush flush{.shard = *shards[number],
                     .shard_number = number,
                     .changes = shards[number]->take_changes()};
    if (flush.changes.pages.empty()) continue;
    if (!payloads_durable) {
      // What an entry names is durable before the entry: else a power cut leaves entries that name
      // slots of old bytes by the hundred.
      const auto flushed = co_await disk.flush();
      payloads_durable = flushed.has_value();
      if (!flushed) outcome = flushed;
    }
    TaskGroup group(*Loop::current(), kUpkeepTasksMax);
    uint32_t started = 0;
    while (outcome && started < kUpkeepTasksMax &&
           group.try_spawn(flush_pages(*this, disk, flush))) {
      ++started;
    }
    co_await group.drain();
    for (; flush.next_page < flush.changes.pages.size(); ++flush.next_page) {
      shards[number]->give_back(flush.changes.pages[flush.next_page], flush.changes.entries);
    }
    if (!flush.outcome) outcome = flush.outcome;
  }
  if (!outcome && outcome.error().side == Side::Disk) {
    counters.io_errors.fetch_add(1, std::memory_order_relaxed);
    count_error("table errors");
  }
  if (outcome) counters.table_flushes.fetch_add(1, std::memory_order_relaxed);
  co_return outcome;
}

Task<Result<Done>> Drive::Impl::write_access_order(Disk& disk) {
  const Geometry::PagedArray& area = geometry.access();
  const AlignedBytes bytes(size_t{kAccessPagesPerWrite} * format::kPageBytes);
  std::array<uint32_t, format::kSecondsPerAccessPage> seconds{};
  for (uint32_t first = 0; first < area.pages(); first += kAccessPagesPerWrite) {
    const uint32_t count = std::min(kAccessPagesPerWrite, area.pages() - first);
    for (uint32_t i = 0; i < count; ++i) {
      const Geometry::PagedArray::Page page = area.page_at(first + i);
      const std::span<uint32_t> of_page = std::span(seconds).first(page.count);
      shards[page.shard]->copy_last_touch(page.first_local, of_page);
      encode_access_page(of_page, first + i, device_id, bytes.page(i));
    }
    const auto written = co_await disk.write(
        area.offset_of(first), bytes.span().first(size_t{count} * format::kPageBytes), {});
    if (!written) co_return fail(written.error());
  }
  co_return Done{};
}

Task<Result<Done>> Drive::flush_table(Disk& disk) {
  Impl& impl = *impl_;
  const InFlight working(impl.under_way);
  if (impl.is_offline()) co_return fail(Side::Disk, Kind::Closed, "drive offline");
  const auto flushed = co_await impl.flush_dirty_pages(disk);
  if (!flushed) co_return fail(flushed.error());
  const MonoTime now = impl.clock.mono();
  {
    const std::lock_guard lock(impl.mutex);
    if (now - impl.access_written_at < kAccessInterval) co_return Done{};
    impl.access_written_at = now;
  }
  co_return co_await impl.write_access_order(disk);
}

bool Drive::wants_flush() const noexcept {
  return std::ranges::any_of(impl_->shards, [](const auto& shard) { return shard->wants_flush(); });
}

Task<Result<Done>> Drive::forget_everything(Disk& disk) {
  Impl& impl = *impl_;
  std::vector<RecordNumber> unnamed;
  for (const std::unique_ptr<IndexShard>& shard : impl.shards) shard->forget_all(unnamed);
  for (const RecordNumber record : unnamed) impl.records.unname(record);
  // Representations remember the numbers of their records, and statements that name them may be
  // retired by now: who loads one learns that there is none.
  impl.records.forget_keys();
  {
    const std::lock_guard lock(impl.mutex);
    impl.found.clear();
  }
  const auto flushed = co_await impl.flush_dirty_pages(disk);
  if (!flushed) co_return fail(flushed.error());
  co_return co_await disk.flush();
}

}  // namespace segue::cache
