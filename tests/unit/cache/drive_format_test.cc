// Goal: the bytes are those of cache/FORMAT.md, and whatever else lies there is refused. Method:
// pages are made, changed field by field (with the checksum made right again) and read back.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "cache/aligned_bytes.h"
#include "cache/format.h"
#include "cache/geometry.h"
#include "cache/index_shard.h"
#include "cache/purge_journal.h"
#include "cache/record.h"
#include "cache/slot_header.h"
#include "cache/slot_table.h"
#include "cache/superblock.h"
#include "tests/support/random.h"

namespace segue::cache {
namespace {

std::string text_at(std::span<const std::byte> bytes, size_t offset, size_t count) {
  return {reinterpret_cast<const char*>(bytes.data()) + offset, count};
}
template <class T>
T number_at(std::span<const std::byte> bytes, size_t offset) {
  return format::load<T>(bytes.subspan(offset));
}

TEST(Format, SuperblockHasItsFieldsWhereTheDocumentSays) {
  const AlignedBytes page(format::kPageBytes);
  const Geometry geometry = *Geometry::plan(1 * GiB, {});
  encode_superblock({.write_number = 11,
                     .device_id = 12,
                     .hash_seed = 13,
                     .membership_epoch = 14,
                     .sequence_end = 15,
                     .geometry = geometry.facts()},
                    2, page.page(0));
  const auto bytes = page.span();
  EXPECT_EQ(text_at(bytes, 0, 8), "SegueDrv");
  EXPECT_EQ(number_at<uint64_t>(bytes, 8), checksum(bytes.subspan(16)));
  EXPECT_EQ(number_at<uint32_t>(bytes, 16), 1);
  EXPECT_EQ(number_at<uint32_t>(bytes, 20), 2);
  EXPECT_EQ(number_at<uint64_t>(bytes, 24), 11);
  EXPECT_EQ(number_at<uint64_t>(bytes, 32), 12);
  EXPECT_EQ(number_at<uint64_t>(bytes, 40), 13);
  EXPECT_EQ(number_at<uint64_t>(bytes, 48), 14);
  EXPECT_EQ(number_at<uint64_t>(bytes, 56), 15);
  EXPECT_EQ(number_at<uint64_t>(bytes, 64), 1 * GiB);
  EXPECT_EQ(number_at<uint32_t>(bytes, 72), 262'144);
  EXPECT_EQ(number_at<uint32_t>(bytes, 76), geometry.shards());
  EXPECT_EQ(number_at<uint32_t>(bytes, 80), 0);
  EXPECT_EQ(number_at<uint32_t>(bytes, 92), geometry.per_shard(SizeClass::K256));
  EXPECT_EQ(number_at<uint32_t>(bytes, 96), geometry.records());
  EXPECT_EQ(number_at<uint32_t>(bytes, 100), geometry.journal_pages());
}

TEST(Format, OtherStructsHaveTheirFieldsWhereTheDocumentSays) {
  const AlignedBytes page(size_t{2} * format::kPageBytes);
  const auto bytes = page.span().first(format::kPageBytes);
  const auto sealed = [&bytes] {
    return number_at<uint64_t>(bytes, 0) == checksum(bytes.subspan(8));
  };

  encode_journal_page({.page_number = 20,
                       .tail_page = 18,
                       .retired_before = Sequence{17},
                       .statements = {{.scope = PurgeScope::Prefix,
                                       .soft = true,
                                       .sequence = Sequence{16},
                                       .key = {.high = 5, .low = 6},
                                       .prefix = "music:/"}}},
                      9, page.page(0));
  EXPECT_TRUE(sealed());
  EXPECT_EQ(text_at(bytes, 8, 4), "PJnl");
  EXPECT_EQ(number_at<uint32_t>(bytes, 12), 1);
  EXPECT_EQ(number_at<uint64_t>(bytes, 16), 9);
  EXPECT_EQ(number_at<uint64_t>(bytes, 24), 20);
  EXPECT_EQ(number_at<uint64_t>(bytes, 32), 18);
  EXPECT_EQ(number_at<uint64_t>(bytes, 40), 17);
  EXPECT_EQ(number_at<uint32_t>(bytes, 48), 56 + 40);
  EXPECT_EQ(number_at<uint64_t>(bytes, 56), 16);
  EXPECT_EQ(number_at<uint64_t>(bytes, 56 + 8), 5);
  EXPECT_EQ(number_at<uint8_t>(bytes, 56 + 24), 2);
  EXPECT_EQ(number_at<uint8_t>(bytes, 56 + 25), 1);
  EXPECT_EQ(number_at<uint16_t>(bytes, 56 + 26), 7);
  EXPECT_EQ(text_at(bytes, 56 + 32, 8), std::string("music:/\0", 8));

  encode_record({.key = {.high = 1, .low = 2},
                 .key_text = "abc",
                 .generation = Sequence{3},
                 .complete_length = 4,
                 .tag_hashes = {5},
                 .facts = {std::byte{6}, std::byte{7}}},
                9, RecordNumber{8}, page.page(0));
  EXPECT_TRUE(sealed());
  EXPECT_EQ(text_at(bytes, 8, 4), "Recd");
  EXPECT_EQ(number_at<uint32_t>(bytes, 12), 8);
  EXPECT_EQ(number_at<uint64_t>(bytes, 16), 9);
  EXPECT_EQ(number_at<uint64_t>(bytes, 24), 1);
  EXPECT_EQ(number_at<uint64_t>(bytes, 40), 3);
  EXPECT_EQ(number_at<uint64_t>(bytes, 48), 4);
  EXPECT_EQ(number_at<uint16_t>(bytes, 56), 3);
  EXPECT_EQ(number_at<uint16_t>(bytes, 58), 1);
  EXPECT_EQ(number_at<uint16_t>(bytes, 60), 2);
  EXPECT_EQ(text_at(bytes, 64, 3), "abc");
  EXPECT_EQ(number_at<uint64_t>(bytes, 67), 5);
  EXPECT_EQ(number_at<uint8_t>(bytes, 75), 6);

  const SlotExpectation slot{
      .device_id = 9,
      .slot = 8,
      .key = {.key = {.high = 1, .low = 2}, .generation = Sequence{3}, .slice = SliceIndex{4}},
      .length = 5};
  const auto payload = page.span().subspan(format::kPageBytes);
  std::ranges::fill(payload, std::byte{0});
  encode_slot_header(slot, payload, page.page(0));
  EXPECT_TRUE(sealed());
  EXPECT_EQ(text_at(bytes, 8, 4), "Slot");
  EXPECT_EQ(number_at<uint32_t>(bytes, 12), 8);
  EXPECT_EQ(number_at<uint64_t>(bytes, 24), 1);
  EXPECT_EQ(number_at<uint64_t>(bytes, 40), 3);
  EXPECT_EQ(number_at<uint32_t>(bytes, 48), 4);
  EXPECT_EQ(number_at<uint32_t>(bytes, 52), 5);
  EXPECT_EQ(number_at<uint64_t>(bytes, 56), checksum(payload));

  format::TablePage table;
  clear_table_page(table, 9, 7);
  table.entries[1] = encode_entry({.key = slot.key, .record = RecordNumber{6}, .length = 5});
  format::store(bytes, table);
  format::seal_page(page.page(0));
  EXPECT_TRUE(table_page_is_valid(page.page(0), 9, 7));
  EXPECT_EQ(text_at(bytes, 8, 4), "Tabl");
  EXPECT_EQ(number_at<uint32_t>(bytes, 12), 7);
  EXPECT_EQ(number_at<uint64_t>(bytes, 128), 1);
  EXPECT_EQ(number_at<uint64_t>(bytes, 144), 3);
  EXPECT_EQ(number_at<uint32_t>(bytes, 152), 4);
  EXPECT_EQ(number_at<uint32_t>(bytes, 156), 5);
  EXPECT_EQ(number_at<uint32_t>(bytes, 160), 6);
  EXPECT_EQ(text_at(bytes, 164, 4), "Live");

  const std::array<uint32_t, 2> seconds{77, 78};
  encode_access_page(seconds, 7, 9, page.page(0));
  EXPECT_EQ(number_at<uint64_t>(bytes, 0), checksum(bytes.subspan(8)) ^ mix(9));
  EXPECT_EQ(text_at(bytes, 8, 4), "Accs");
  EXPECT_EQ(number_at<uint32_t>(bytes, 12), 7);
  EXPECT_EQ(number_at<uint32_t>(bytes, 20), 78);
}

TEST(Format, FingerprintsAreTheOnesOfTheDocument) {
  // Part of the format: another formula would put every slice into another shard's part.
  const SliceKey key{
      .key = {.high = 1, .low = 2}, .generation = Sequence{3}, .slice = SliceIndex{4}};
  const uint64_t expected = mix(2 ^ mix(1 ^ mix(3 * 0x9e3779b97f4a7c15ULL + 4)));
  EXPECT_EQ(fingerprint_of(key), expected);
  EXPECT_EQ(shard_of(expected, 64), expected >> 58);
  EXPECT_EQ(shard_of(UINT64_MAX, 7), 6);
  EXPECT_EQ(shard_of(0, 7), 0);
}

class SuperblockTest : public ::testing::Test {
 protected:
  SuperblockTest() {
    for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) write(copy, 5, 1);
  }
  void write(uint32_t copy, uint64_t number, uint64_t device) const {
    SuperblockFacts facts{.write_number = number,
                          .device_id = device,
                          .hash_seed = 0,
                          .membership_epoch = 0,
                          .sequence_end = number * 100,
                          .geometry = {}};
    facts.geometry = Geometry::plan(1 * GiB, {})->facts();
    encode_superblock(facts, copy, pages_.page(copy));
  }
  void change(uint32_t copy, size_t offset, uint32_t value, bool reseal) const {
    const auto page = pages_.page(copy);
    format::store(page.subspan(offset), value);
    if (reseal) format::store(page.subspan(8), checksum(page.subspan(16)));
  }
  [[nodiscard]] Result<SuperblockFacts> choose() const {
    return choose_superblock(pages_.span().first<kSuperblockBytes>());
  }
  AlignedBytes pages_{kSuperblockBytes};
};

TEST_F(SuperblockTest, NewestWholeCopyIsChosen) {
  write(2, 9, 1);
  EXPECT_EQ(choose()->write_number, 9);
  change(2, 500, 1, false);  // torn
  EXPECT_EQ(choose()->write_number, 5);
  for (uint32_t copy : {0U, 1U}) change(copy, 500, 1, false);
  EXPECT_EQ(choose()->write_number, 5);
  change(3, 500, 1, false);
  EXPECT_EQ(choose().error().kind, Kind::Malformed);
}

TEST_F(SuperblockTest, CopyInAnothersPlaceIsPassedOver) {
  write(1, 9, 1);
  change(1, offsetof(format::Superblock, copy), 3, true);
  EXPECT_EQ(choose()->write_number, 5);
}

TEST_F(SuperblockTest, UnknownVersionIsUnsupportedEvenBesideKnownOnes) {
  change(3, offsetof(format::Superblock, version), 2, true);
  EXPECT_EQ(choose().error().kind, Kind::Unsupported);
  // One flipped bit in a version is no upgrade.
  write(3, 5, 1);
  change(3, offsetof(format::Superblock, version), 2, false);
  EXPECT_EQ(choose()->write_number, 5);
  // All unknown, with a checksum of another kind perhaps: still none of our business.
  for (uint32_t copy = 0; copy < 4; ++copy)
    change(copy, offsetof(format::Superblock, version), 2, false);
  EXPECT_EQ(choose().error().kind, Kind::Unsupported);
}

TEST_F(SuperblockTest, CopiesOfTwoDrivesAreAMismatch) {
  write(1, 9, 2);
  EXPECT_EQ(choose().error().kind, Kind::Mismatch);
}

TEST_F(SuperblockTest, OtherSliceSizeIsUnsupported) {
  for (uint32_t copy = 0; copy < 4; ++copy) {
    change(copy, offsetof(format::Superblock, slice_bytes), 1 << 20, true);
  }
  EXPECT_EQ(choose().error().kind, Kind::Unsupported);
}

TEST(TableEntry, EntriesThatCannotBeAreFree) {
  const SlotEntry right{
      .key = {.key = {.high = 1, .low = 2}, .generation = Sequence{3}, .slice = SliceIndex{4}},
      .record = RecordNumber{9},
      .length = 65'536};
  ASSERT_TRUE(decode_entry(encode_entry(right), 65'536, 10).has_value());
  EXPECT_FALSE(decode_entry(encode_entry(right), 65'535, 10).has_value());  // longer than its slot
  EXPECT_FALSE(decode_entry(encode_entry(right), 65'536, 9).has_value());   // no such record
  format::TableEntry raw = encode_entry(right);
  raw.length = 0;
  EXPECT_FALSE(decode_entry(raw, 65'536, 10).has_value());
  raw = encode_entry(right);
  raw.slice = UINT32_MAX;
  EXPECT_FALSE(decode_entry(raw, 65'536, 10).has_value());
  raw = encode_entry(right);
  raw.state = static_cast<format::EntryState>(1);
  EXPECT_FALSE(decode_entry(raw, 65'536, 10).has_value());
}

TEST(TablePage, PageOfAnotherDriveOrPlaceIsNotTaken) {
  const AlignedBytes page(format::kPageBytes);
  format::TablePage table;
  clear_table_page(table, 9, 7);
  format::store(page.span(), table);
  format::seal_page(page.page(0));
  EXPECT_TRUE(table_page_is_valid(page.page(0), 9, 7));
  EXPECT_FALSE(table_page_is_valid(page.page(0), 8, 7));
  EXPECT_FALSE(table_page_is_valid(page.page(0), 9, 6));
  page.span()[4000] = std::byte{1};
  EXPECT_FALSE(table_page_is_valid(page.page(0), 9, 7));
}

TEST(AccessPage, PageOfAnotherDriveOrPlaceIsNotTaken) {
  const AlignedBytes page(format::kPageBytes);
  const std::array<uint32_t, 3> seconds{1, 2, 3};
  encode_access_page(seconds, 7, 9, page.page(0));
  std::array<uint32_t, 3> out{};
  EXPECT_TRUE(decode_access_page(page.page(0), 7, 9, out));
  EXPECT_EQ(out, seconds);
  EXPECT_FALSE(decode_access_page(page.page(0), 6, 9, out));
  EXPECT_FALSE(decode_access_page(page.page(0), 7, 8, out));
  page.span()[20] = std::byte{99};
  EXPECT_FALSE(decode_access_page(page.page(0), 7, 9, out));
  EXPECT_EQ(out, seconds);
}

TEST(Record, HostileLengthsAreMalformed) {
  const AlignedBytes page(format::kPageBytes);
  const RecordFacts facts{.key = {},
                          .key_text = "abc",
                          .generation = Sequence{1},
                          .complete_length = 5,
                          .tag_hashes = {},
                          .facts = {}};
  const auto with = [&](auto change) {
    encode_record(facts, 1, RecordNumber{2}, page.page(0));
    auto header = format::load<format::RecordHeader>(page.span());
    change(header);
    format::store(page.span(), header);
    format::seal_page(page.page(0));
    const auto got = decode_record(page.page(0), 1, RecordNumber{2});
    return got ? Kind::Timeout : got.error().kind;
  };
  EXPECT_EQ(with([](auto&) {}), Kind::Timeout);  // unchanged: decodes
  EXPECT_EQ(with([](auto& h) { h.key_bytes = 2049; }), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.tags = 33; }), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.facts_bytes = 4096 - 64 - 2; }), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.complete_length = kCompleteLengthMax + 1; }), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.record = 3; }), Kind::NotFound);
  EXPECT_EQ(with([](auto& h) { h.device_id = 3; }), Kind::NotFound);
  EXPECT_EQ(with([](auto& h) { h.magic = 3; }), Kind::NotFound);
  encode_record(facts, 1, RecordNumber{2}, page.page(0));
  page.span()[65] ^= std::byte{1};
  EXPECT_EQ(decode_record(page.page(0), 1, RecordNumber{2}).error().kind, Kind::ChecksumMismatch);
}

TEST(SlotHeader, EveryFieldIsCompared) {
  const SlotExpectation right{
      .device_id = 9,
      .slot = 8,
      .key = {.key = {.high = 1, .low = 2}, .generation = Sequence{3}, .slice = SliceIndex{4}},
      .length = 5};
  const AlignedBytes page(format::kPageBytes);
  const AlignedBytes payload(format::kPageBytes);
  std::ranges::fill(payload.span(), std::byte{0});
  encode_slot_header(right, payload.span(), page.page(0));
  const auto expecting = [&](auto change) {
    SlotExpectation other = right;
    change(other);
    return verify_slot(other, page.page(0), payload.span());
  };
  EXPECT_EQ(expecting([](auto&) {}), SlotFault::None);
  EXPECT_EQ(expecting([](auto& e) { e.device_id = 1; }), SlotFault::Foreign);
  EXPECT_EQ(expecting([](auto& e) { e.slot = 1; }), SlotFault::Foreign);
  EXPECT_EQ(expecting([](auto& e) { e.key.key.high = 9; }), SlotFault::Foreign);
  EXPECT_EQ(expecting([](auto& e) { e.key.key.low = 9; }), SlotFault::Foreign);
  EXPECT_EQ(expecting([](auto& e) { e.key.generation = Sequence{9}; }), SlotFault::Foreign);
  EXPECT_EQ(expecting([](auto& e) { e.key.slice = SliceIndex{9}; }), SlotFault::Foreign);
  EXPECT_EQ(expecting([](auto& e) { e.length = 9; }), SlotFault::Foreign);
  payload.span()[4000] = std::byte{1};
  EXPECT_EQ(expecting([](auto&) {}), SlotFault::BadPayload);
  page.span()[4000] = std::byte{1};
  EXPECT_EQ(expecting([](auto&) {}), SlotFault::BadHeader);
}

TEST(JournalPage, HostilePagesAreMalformed) {
  const AlignedBytes page(format::kPageBytes);
  const auto with = [&](auto change, auto change_statement) {
    encode_journal_page({.page_number = 20,
                         .tail_page = 18,
                         .retired_before = Sequence{17},
                         .statements = {{.scope = PurgeScope::Key,
                                         .soft = false,
                                         .sequence = Sequence{1},
                                         .key = {},
                                         .prefix = "a"}}},
                        9, page.page(0));
    auto header = format::load<format::JournalPageHeader>(page.span());
    auto statement = format::load<format::JournalStatement>(page.span().subspan(sizeof(header)));
    change(header);
    change_statement(statement);
    format::store(page.span(), header);
    format::store(page.span().subspan(sizeof(header)), statement);
    format::seal_page(page.page(0));
    const auto got = decode_journal_page(page.page(0), 9);
    return got ? Kind::Timeout : got.error().kind;
  };
  const auto same = [](auto&) {};
  EXPECT_EQ(with(same, same), Kind::Timeout);  // unchanged: decodes
  EXPECT_EQ(with([](auto& h) { h.device_id = 1; }, same), Kind::ChecksumMismatch);
  EXPECT_EQ(with([](auto& h) { h.statements = 2; }, same), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.statements = UINT32_MAX; }, same), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.used_bytes = 55; }, same), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.used_bytes = 4097; }, same), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.tail_page = 21; }, same), Kind::Malformed);
  EXPECT_EQ(with([](auto& h) { h.page_number = UINT64_MAX; }, same), Kind::Malformed);
  EXPECT_EQ(with(same, [](auto& s) { s.scope = 0; }), Kind::Malformed);
  EXPECT_EQ(with(same, [](auto& s) { s.scope = 5; }), Kind::Malformed);
  EXPECT_EQ(with(same, [](auto& s) { s.soft = 2; }), Kind::Malformed);
  EXPECT_EQ(with(same, [](auto& s) { s.prefix_bytes = 2049; }), Kind::Malformed);
  EXPECT_EQ(with(same, [](auto& s) { s.prefix_bytes = 9; }), Kind::Malformed);
}

TEST(PurgeJournal, RingGoesRoundAndRoundWithNothingLost) {
  constexpr uint32_t kPages = 16;
  constexpr uint64_t kDevice = 3;
  PurgeJournal journal(kPages);
  const AlignedBytes ring(size_t{kPages} * format::kPageBytes);
  for (uint32_t page = 0; page < kPages; ++page) {
    PurgeJournal::encode_empty(kDevice, page, ring.page(page));
  }
  const auto write = [&](const PurgeJournal::Batch& batch) {
    for (const JournalPage& page : batch.pages) {
      encode_journal_page(page, kDevice, ring.page(journal.place_of(page)));
    }
    journal.commit(batch);
  };
  testing::Random random(8);
  std::vector<uint64_t> model;
  uint64_t sequence = 1;
  uint32_t refused = 0;
  for (uint32_t step = 0; step < 3000; ++step) {
    const auto compact = [&] {
      if (!journal.tail_lags()) {
        const auto packed = journal.plan_compaction();
        if (!packed) return;
        write(*packed);
      }
      const auto moved = journal.plan_retire(journal.retired_before());
      if (moved) write(*moved);
    };
    if (random.one_in(20)) {
      const uint64_t before = sequence - random.below(std::min<uint64_t>(sequence, 8));
      auto batch = journal.plan_retire(Sequence{before});
      if (!batch) {
        compact();
        batch = journal.plan_retire(Sequence{before});
      }
      if (!batch) continue;
      write(*batch);
      std::erase_if(model, [before](uint64_t one) { return one < before; });
    } else {
      const std::vector<PurgeStatement> one = {{.scope = PurgeScope::Prefix,
                                                .soft = false,
                                                .sequence = Sequence{sequence},
                                                .key = {},
                                                .prefix = std::string(random.below(700), 'p')}};
      auto batch = journal.plan_append(one);
      if (!batch) {
        compact();
        batch = journal.plan_append(one);
      }
      if (!batch) {
        ++refused;
        continue;
      }
      write(*batch);
      model.push_back(sequence++);
    }
    if (step % 7 != 0) continue;
    const auto again = PurgeJournal::recover(kDevice, kPages, ring.span(), ring.span());
    ASSERT_TRUE(again.has_value()) << step;
    std::set<uint64_t> kept;
    for (const PurgeStatement& statement : again->statements())
      kept.insert(statement.sequence.value);
    ASSERT_EQ(kept, std::set<uint64_t>(model.begin(), model.end())) << step;
    ASSERT_EQ(journal.statements().size(), model.size());
  }
  EXPECT_GT(sequence, 1000);
  EXPECT_GT(refused, 0);  // the ring did fill up
}

}  // namespace
}  // namespace segue::cache
