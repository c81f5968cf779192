#include "cache/purge_journal.h"

#include <algorithm>
#include <optional>

#include "base/assert.h"
#include "base/units.h"

namespace segue::cache {
namespace {

constexpr uint64_t kPageNumberMax = uint64_t{1} << 62;  // no drive lives to write that many
constexpr uint32_t kRoomBytes = format::kPageBytes - sizeof(format::JournalPageHeader);

// Appends leave a quarter of the ring free: room for a compaction, and for the pages that retire.
uint32_t reserve_of(uint32_t pages) { return pages / 4; }

Result<PurgeStatement> decode_statement(std::span<const std::byte>& rest) {
  if (rest.size() < sizeof(format::JournalStatement)) {
    return fail(Side::Disk, Kind::Malformed, "journal statement");
  }
  const auto raw = format::load<format::JournalStatement>(rest);
  const auto length = static_cast<size_t>(
      round_up(sizeof(format::JournalStatement) + uint64_t{raw.prefix_bytes}, 8));
  const bool scope_is_known = raw.scope >= static_cast<uint8_t>(PurgeScope::Key) &&
                              raw.scope <= static_cast<uint8_t>(PurgeScope::Everything);
  if (!scope_is_known || raw.soft > 1 || raw.prefix_bytes > kKeyBytesMax || length > rest.size()) {
    return fail(Side::Disk, Kind::Malformed, "journal statement");
  }
  PurgeStatement statement{.scope = static_cast<PurgeScope>(raw.scope),
                           .soft = raw.soft == 1,
                           .sequence = Sequence{raw.sequence},
                           .key = {.high = raw.key_high, .low = raw.key_low},
                           .prefix = {}};
  const auto text = rest.subspan(sizeof(raw), raw.prefix_bytes);
  statement.prefix.assign(reinterpret_cast<const char*>(text.data()), text.size());
  rest = rest.subspan(length);
  return statement;
}

/// The newest valid page at one place of the ring, out of its two copies.
std::optional<JournalPage> newest_at(uint32_t place, uint32_t pages, uint64_t device_id,
                                     std::span<const std::byte> first_copy,
                                     std::span<const std::byte> second_copy) {
  std::optional<JournalPage> newest;
  for (std::span<const std::byte> copy : {first_copy, second_copy}) {
    const auto bytes = copy.subspan(size_t{place} * format::kPageBytes).first<format::kPageBytes>();
    auto page = decode_journal_page(bytes, device_id);
    if (!page || page->page_number % pages != place) continue;
    if (!newest || newest->page_number < page->page_number) newest = std::move(*page);
  }
  return newest;
}

}  // namespace

uint32_t encoded_bytes(const PurgeStatement& statement) noexcept {
  return static_cast<uint32_t>(
      round_up(sizeof(format::JournalStatement) + statement.prefix.size(), 8));
}

void encode_journal_page(const JournalPage& page, uint64_t device_id,
                         format::PageBytes bytes) noexcept {
  std::memset(bytes.data(), 0, bytes.size());
  size_t used = sizeof(format::JournalPageHeader);
  for (const PurgeStatement& statement : page.statements) {
    SEGUE_ASSERT(statement.prefix.size() <= kKeyBytesMax);
    SEGUE_ASSERT(used + encoded_bytes(statement) <= bytes.size());
    const format::JournalStatement raw{
        .sequence = statement.sequence.value,
        .key_high = statement.key.high,
        .key_low = statement.key.low,
        .scope = static_cast<uint8_t>(statement.scope),
        .soft = static_cast<uint8_t>(statement.soft ? 1 : 0),
        .prefix_bytes = static_cast<uint16_t>(statement.prefix.size()),
        .reserved = 0};
    format::store(bytes.subspan(used), raw);
    if (!statement.prefix.empty()) {
      std::memcpy(bytes.data() + used + sizeof(raw), statement.prefix.data(),
                  statement.prefix.size());
    }
    used += encoded_bytes(statement);
  }
  format::store(
      std::span<std::byte>(bytes),
      format::JournalPageHeader{.checksum = 0,
                                .magic = format::kJournalMagic,
                                .statements = static_cast<uint32_t>(page.statements.size()),
                                .device_id = device_id,
                                .page_number = page.page_number,
                                .tail_page = page.tail_page,
                                .retired_before = page.retired_before.value,
                                .used_bytes = static_cast<uint32_t>(used),
                                .reserved = 0});
  format::seal_page(bytes);
}

Result<JournalPage> decode_journal_page(format::PageView bytes, uint64_t device_id) {
  const auto header = format::load<format::JournalPageHeader>(bytes);
  if (header.magic != format::kJournalMagic || header.device_id != device_id ||
      !format::page_is_sealed(bytes)) {
    return fail(Side::Disk, Kind::ChecksumMismatch, "journal page");
  }
  if (header.page_number >= kPageNumberMax || header.used_bytes < sizeof(header) ||
      header.used_bytes > format::kPageBytes || header.tail_page > header.page_number) {
    return fail(Side::Disk, Kind::Malformed, "journal page header");
  }
  JournalPage page{.page_number = header.page_number,
                   .tail_page = header.tail_page,
                   .retired_before = Sequence{header.retired_before},
                   .statements = {}};
  std::span<const std::byte> rest = bytes.first(header.used_bytes).subspan(sizeof(header));
  for (uint32_t i = 0; i < header.statements; ++i) {
    auto statement = decode_statement(rest);
    if (!statement) return fail(statement.error());
    page.statements.push_back(std::move(*statement));
  }
  return page;
}

PurgeJournal::PurgeJournal(uint32_t pages) : pages_(pages), next_page_(pages), tail_page_(pages) {}

void PurgeJournal::encode_empty(uint64_t device_id, uint32_t number,
                                format::PageBytes bytes) noexcept {
  // Its own tail: nothing at or before it is in force.
  encode_journal_page(
      {.page_number = number, .tail_page = number, .retired_before = {}, .statements = {}},
      device_id, bytes);
}

Result<PurgeJournal> PurgeJournal::recover(uint64_t device_id, uint32_t pages,
                                           std::span<const std::byte> first_copy,
                                           std::span<const std::byte> second_copy) {
  std::vector<std::optional<JournalPage>> ring(pages);
  const JournalPage* newest = nullptr;
  for (uint32_t place = 0; place < pages; ++place) {
    ring[place] = newest_at(place, pages, device_id, first_copy, second_copy);
    if (!ring[place]) continue;
    if (newest == nullptr || newest->page_number < ring[place]->page_number) {
      newest = &*ring[place];
    }
  }
  if (newest == nullptr || newest->page_number - newest->tail_page >= pages) {
    return fail(Side::Disk, Kind::ChecksumMismatch, "purge journal");
  }
  PurgeJournal journal(pages);
  journal.next_page_ = newest->page_number + 1;
  journal.tail_page_ = newest->tail_page;
  journal.retired_before_ = newest->retired_before;
  for (uint64_t number = newest->tail_page; number <= newest->page_number; ++number) {
    const std::optional<JournalPage>& page = ring[number % pages];
    // Only the page that was being written when the node stopped may be missing, and that would
    // have been the newest.
    if (!page || page->page_number != number) {
      return fail(Side::Disk, Kind::ChecksumMismatch, "purge journal page");
    }
    for (const PurgeStatement& statement : page->statements) {
      if (statement.sequence < journal.retired_before_) continue;
      journal.kept_.push_back({statement, number});
    }
  }
  return journal;
}

PurgeJournal::Batch PurgeJournal::pack(std::span<const PurgeStatement> statements) const {
  Batch batch;
  uint32_t room = 0;
  for (const PurgeStatement& statement : statements) {
    if (batch.pages.empty() || room < encoded_bytes(statement)) {
      batch.pages.push_back({.page_number = next_page_ + batch.pages.size(),
                             .tail_page = tail_page_,
                             .retired_before = retired_before_,
                             .statements = {}});
      room = kRoomBytes;
    }
    batch.pages.back().statements.push_back(statement);
    room -= encoded_bytes(statement);
  }
  return batch;
}

Result<PurgeJournal::Batch> PurgeJournal::plan_append(
    std::span<const PurgeStatement> statements) const {
  Batch batch = pack(statements);
  if (batch.pages.size() + reserve_of(pages_) > free_pages()) {
    return fail_retryable(Side::Disk, Kind::Full, "purge journal");
  }
  return batch;
}

Result<PurgeJournal::Batch> PurgeJournal::plan_compaction() const {
  Batch batch = pack(statements());
  batch.compaction = true;
  // It must free more than it takes, and leave the page that moves the tail, and one to spare.
  const uint64_t in_use = next_page_ - tail_page_;
  if (batch.pages.size() + 2 > free_pages() || batch.pages.size() + 1 > in_use / 2) {
    return fail_retryable(Side::Disk, Kind::Full, "purge journal");
  }
  return batch;
}

uint64_t PurgeJournal::tail_after(Sequence retired) const noexcept {
  for (const Kept& kept : kept_) {
    if (kept.statement.sequence >= retired) return kept.page_number;
  }
  return next_page_;
}

bool PurgeJournal::would_retire(Sequence before) const noexcept {
  return std::any_of(kept_.begin(), kept_.end(),
                     [before](const Kept& kept) { return kept.statement.sequence < before; });
}

Result<PurgeJournal::Batch> PurgeJournal::plan_retire(Sequence before) const {
  const Sequence retired = std::max(before, retired_before_);
  const uint64_t tail = tail_after(retired);
  // Each of these takes a page itself. One that frees none waits while pages are few: the last are
  // for those that do, or the ring could never be emptied again.
  const bool frees = tail > tail_page_;
  if (free_pages() == 0 || (!frees && free_pages() <= reserve_of(pages_) / 2)) {
    return fail_retryable(Side::Disk, Kind::Full, "purge journal");
  }
  Batch batch;
  batch.pages.push_back(
      {.page_number = next_page_, .tail_page = tail, .retired_before = retired, .statements = {}});
  return batch;
}

void PurgeJournal::commit(const Batch& batch) {
  if (batch.pages.empty()) return;
  if (batch.compaction) kept_.clear();  // each of them stands in the batch
  for (const JournalPage& page : batch.pages) {
    SEGUE_ASSERT(page.page_number == next_page_);
    ++next_page_;
    for (const PurgeStatement& statement : page.statements) {
      kept_.push_back({statement, page.page_number});
    }
  }
  tail_page_ = batch.pages.back().tail_page;
  retired_before_ = batch.pages.back().retired_before;
  std::erase_if(kept_,
                [this](const Kept& kept) { return kept.statement.sequence < retired_before_; });
}

std::vector<PurgeStatement> PurgeJournal::statements() const {
  std::vector<PurgeStatement> all;
  all.reserve(kept_.size());
  for (const Kept& kept : kept_) all.push_back(kept.statement);
  return all;
}

}  // namespace segue::cache
