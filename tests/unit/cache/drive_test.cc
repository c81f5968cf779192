// Goal: a drive keeps what it is given and forgets what it is told to, across restarts.
// Method: a real Drive over a simulated disk and clock; crashes and faults have files of their own.
#include <set>

#include "cache/format.h"
#include "tests/unit/cache/drive_rig.h"

namespace segue::cache {
namespace {

TEST(Drive, WrittenSliceComesBackByteForByte) {
  DriveRig rig;
  rig.format_and_mount();
  for (const uint32_t length : {1U, 4095U, 4096U, 65'536U, 65'537U, 131'072U, 262'143U, 262'144U}) {
    ASSERT_TRUE(rig.put(length, 5, 0, length).has_value()) << length;
    const SliceKey key = DriveRig::slice_of(length, 5);
    EXPECT_TRUE(rig.drive->contains(key));
    const auto got = rig.get(key);
    ASSERT_TRUE(got.has_value()) << length;
    EXPECT_EQ(got->size(), length);
    EXPECT_TRUE(rig.get_is_right(key));
  }
  EXPECT_EQ(rig.drive->census().readers, 0);
}

TEST(Drive, ReadLeavesTheTailOfThePageZero) {
  DriveRig rig;
  rig.format_and_mount();
  ASSERT_TRUE(rig.put(1, 5, 0, 100).has_value());
  auto slot = rig.drive->try_read(DriveRig::slice_of(1, 5), UseId{1});
  ASSERT_TRUE(slot.has_value());
  EXPECT_EQ(slot->length(), 100);
  const AlignedBytes into(kDiskAlignBytes);
  std::ranges::fill(into.span(), std::byte{0xff});
  const auto length =
      rig.run([&] { return rig.drive->read_slot(rig.disk(), std::move(*slot), into.span()); });
  ASSERT_TRUE(length.has_value());
  EXPECT_TRUE(
      std::ranges::all_of(into.span().subspan(100), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(Drive, SlicesOfAnotherGenerationOrNumberAreNotFound) {
  DriveRig rig;
  rig.format_and_mount();
  ASSERT_TRUE(rig.put(1, 5, 2).has_value());
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 6, 2)));
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5, 1)));
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(2, 5, 2)));
  EXPECT_TRUE(rig.drive->contains(DriveRig::slice_of(1, 5, 2)));
}

TEST(Drive, SliceThatIsHereOrBeingWrittenIsNotTakenTwice) {
  DriveRig rig;
  rig.format_and_mount();
  const auto record = rig.put_record(1, 5);
  ASSERT_TRUE(record.has_value());
  const SliceKey key = DriveRig::slice_of(1, 5);
  {
    const auto first = rig.drive->try_take_slot(key, *record, 1000);
    ASSERT_TRUE(first.has_value());
    const auto second = rig.drive->try_take_slot(key, *record, 1000);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().kind, Kind::Mismatch);
    EXPECT_FALSE(rig.drive->contains(key));  // nobody reads what is being written
    EXPECT_FALSE(rig.drive->try_read(key, UseId{1}).has_value());
  }
  // Dropped without a write: the slot is free again, and so is the key.
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Writing)], 0);
  ASSERT_TRUE(rig.put_slice(key, *record, 1000).has_value());
  EXPECT_EQ(rig.drive->try_take_slot(key, *record, 1000).error().kind, Kind::Mismatch);
}

TEST(Drive, RestartFindsSlicesAndRecordsThatWereFlushed) {
  DriveRig rig;
  rig.format_and_mount();
  for (uint64_t number = 0; number < 20; ++number) {
    const auto record = rig.put_record(number, 100 + number);
    ASSERT_TRUE(record.has_value());
    for (uint32_t slice = 0; slice < 2; ++slice) {
      ASSERT_TRUE(
          rig.put_slice(DriveRig::slice_of(number, 100 + number, slice), *record).has_value());
    }
  }
  ASSERT_TRUE(rig.flush().has_value());
  ASSERT_TRUE(rig.mount().has_value());
  const auto found = rig.found();
  ASSERT_EQ(found.size(), 20);
  for (const auto& one : found) {
    const auto facts =
        rig.run([&] { return rig.drive->read_record(rig.disk(), one.record, one.key); });
    ASSERT_TRUE(facts.has_value());
    const uint64_t number = facts->generation.value - 100;
    EXPECT_EQ(facts->key_text, DriveRig::text_of(number));
    EXPECT_EQ(facts->generation, one.generation);
    const RecordFacts expected = DriveRig::facts_of(number, 100 + number);
    EXPECT_EQ(facts->facts, expected.facts);
    EXPECT_EQ(facts->tag_hashes, expected.tag_hashes);
    EXPECT_EQ(facts->complete_length, expected.complete_length);
    for (uint32_t slice = 0; slice < 2; ++slice) {
      EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(number, 100 + number, slice)));
    }
  }
  EXPECT_EQ(rig.drive->hash_seed(), DriveRig::kSeed);
  EXPECT_EQ(rig.drive->device_id(), DriveRig::kDevice);
  EXPECT_EQ(rig.drive->membership_epoch(), 3);
  EXPECT_TRUE(rig.found().empty());  // once only
}

TEST(Drive, SlicesNotYetFlushedAreMissesAfterARestart) {
  DriveRig rig;
  rig.format_and_mount();
  ASSERT_TRUE(rig.put(1, 5).has_value());
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5)));
  EXPECT_TRUE(rig.found().empty());
}

TEST(Drive, OverwrittenSlotThatTheTableStillNamesIsAPlainMiss) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  const auto slots = static_cast<uint32_t>(rig.drive->usage().slots[3]);
  for (uint32_t number = 0; number < slots; ++number) {
    ASSERT_TRUE(rig.put_nth(number, 5).has_value());
  }
  ASSERT_TRUE(rig.flush().has_value());
  // The oldest slices are overwritten, and the node stops before the table is flushed.
  for (uint32_t number = slots; number < slots + 5; ++number) {
    ASSERT_TRUE(rig.put_nth(number, 6).has_value());
  }
  EXPECT_EQ(rig.drive->counters().evictions.load(), 5);
  ASSERT_TRUE(rig.mount().has_value());
  uint64_t hits = 0;
  for (uint32_t number = 0; number < slots; ++number) {
    hits += rig.get_is_right(DriveRig::nth(number, 5)) ? 1U : 0U;
  }
  EXPECT_EQ(hits, slots - 5);
  EXPECT_EQ(rig.drive->counters().stale_slots.load(), 5);
  EXPECT_EQ(rig.drive->counters().checksum_failures.load(), 0);
  // The slots found stale are free again.
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Free)], 5);
}

TEST(Drive, OlderGenerationsOfAKeyAreFreedAtMount) {
  DriveRig rig;
  rig.format_and_mount();
  const auto first = rig.put_record(1, 5);
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, 0), *first).has_value());
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, 1), *first).has_value());
  // The same record rewritten for the next generation, and one key with two records.
  ASSERT_EQ(rig.put_record(1, 9, *first), *first);
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 9, 0), *first).has_value());
  ASSERT_TRUE(rig.put(2, 7).has_value());
  ASSERT_TRUE(rig.put(2, 8).has_value());
  ASSERT_TRUE(rig.flush().has_value());
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5, 0)));
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5, 1)));
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(2, 7)));
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(1, 9, 0)));
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(2, 8)));
  std::set<std::pair<uint64_t, uint64_t>> found;
  for (const auto& one : rig.found()) found.emplace(one.key.low, one.generation.value);
  EXPECT_EQ(found, (std::set<std::pair<uint64_t, uint64_t>>{{DriveRig::key_of(1).low, 9},
                                                            {DriveRig::key_of(2).low, 8}}));
  EXPECT_EQ(rig.drive->usage().records_live, 2);
  // Durable too: the next flush says so in the table.
  ASSERT_TRUE(rig.flush().has_value());
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->usage().live[3], 2);
}

TEST(Drive, LruOrderSurvivesARestartToTheMinute) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  const auto slots = static_cast<uint32_t>(rig.drive->usage().slots[3]);
  for (uint32_t number = 0; number < slots; ++number) {
    ASSERT_TRUE(rig.put_nth(number, 5).has_value());
    rig.world.run_for(std::chrono::seconds{1});
  }
  // The first ten are used again, so the next ten are the oldest.
  for (uint32_t number = 0; number < 10; ++number) {
    EXPECT_TRUE(rig.get_is_right(DriveRig::nth(number, 5)));
    rig.world.run_for(std::chrono::seconds{1});
  }
  rig.world.run_for(std::chrono::minutes{1});
  ASSERT_TRUE(rig.flush().has_value());
  ASSERT_TRUE(rig.mount().has_value());
  for (uint32_t number = slots; number < slots + 10; ++number) {
    ASSERT_TRUE(rig.put_nth(number, 6).has_value());
  }
  for (uint32_t number = 0; number < slots; ++number) {
    EXPECT_EQ(rig.drive->contains(DriveRig::nth(number, 5)), number < 10 || number >= 20) << number;
  }
}

TEST(Drive, ForgottenGenerationIsGoneAlsoWhatIsBeingWritten) {
  DriveRig rig;
  rig.format_and_mount();
  const auto record = rig.put_record(1, 5);
  for (uint32_t slice = 0; slice < 3; ++slice) {
    ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, slice), *record).has_value());
  }
  auto writing = rig.drive->try_take_slot(DriveRig::slice_of(1, 5, 3), *record, 1000);
  ASSERT_TRUE(writing.has_value());
  rig.drive->forget_generation(DriveRig::key_of(1), Sequence{5}, 40);
  for (uint32_t slice = 0; slice < 4; ++slice) {
    EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5, slice)));
  }
  const AlignedBytes payload = DriveRig::payload_of(DriveRig::slice_of(1, 5, 3), 1000);
  const auto written = rig.run(
      [&] { return rig.drive->write_slot(rig.disk(), std::move(*writing), payload.span()); });
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().kind, Kind::Purged);
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5, 3)));
  EXPECT_EQ(rig.drive->usage().records_live, 0);
  const auto usage = rig.drive->usage();
  const auto census = rig.drive->census();
  EXPECT_EQ(census.in_state[static_cast<size_t>(SlotState::Free)],
            usage.slots[1] + usage.slots[2] + usage.slots[3]);
}

TEST(Drive, SlotUnderAReadIsNeverReused) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  const auto slots = static_cast<uint32_t>(rig.drive->usage().slots[3]);
  for (uint32_t number = 0; number < slots; ++number) {
    ASSERT_TRUE(rig.put_nth(number, 5).has_value());
  }
  std::vector<Drive::SlotRead> held;
  for (uint32_t number = 0; number < slots; ++number) {
    auto slot = rig.drive->try_read(DriveRig::nth(number, 5), UseId{1});
    ASSERT_TRUE(slot.has_value());
    held.push_back(std::move(*slot));
  }
  const auto record = rig.put_record(6, 6);
  ASSERT_TRUE(record.has_value());
  const auto refused = rig.drive->try_take_slot(DriveRig::nth(slots, 6), *record, 256 * KiB);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::Overloaded);
  // Forgotten while it is read: gone from the index at once, its slot free only after the read.
  rig.drive->forget_generation(DriveRig::key_of(5), Sequence{5}, 1);
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Retiring)], 1);
  EXPECT_FALSE(rig.drive->try_take_slot(DriveRig::nth(slots, 6), *record, 256 * KiB).has_value());
  held.clear();
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Retiring)], 0);
  EXPECT_TRUE(rig.drive->try_take_slot(DriveRig::nth(slots, 6), *record, 256 * KiB).has_value());
}

TEST(Drive, ClassWithoutSlotsBorrowsFromTheNextLarger) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  ASSERT_TRUE(rig.put(1, 5, 0, 1000).has_value());
  EXPECT_EQ(rig.drive->usage().live[3], 1);
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(1, 5)));
}

TEST(Drive, SliceLargerThanAnySlotIsRefused) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 100, .k128 = 0, .k256 = 0});
  const auto record = rig.put_record(1, 5);
  EXPECT_EQ(rig.drive->try_take_slot(DriveRig::slice_of(1, 5), *record, 65'537).error().kind,
            Kind::Full);
  EXPECT_TRUE(rig.drive->try_take_slot(DriveRig::slice_of(1, 5), *record, 65'536).has_value());
  EXPECT_FALSE(rig.drive->should_admit(DriveRig::slice_of(1, 5), SizeClass::K128, UseId{1}));
}

TEST(Drive, SmallAnswersAreNotForTheDrive) {
  DriveRig rig;
  rig.format_and_mount();
  EXPECT_FALSE(rig.drive->should_admit(DriveRig::slice_of(1, 5), SizeClass::Small16, UseId{1}));
  EXPECT_TRUE(rig.drive->should_admit(DriveRig::slice_of(1, 5), SizeClass::K64, UseId{1}));
}

TEST(Drive, FullDriveAdmitsOnTheSecondUseOnly) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  const auto slots = static_cast<uint32_t>(rig.drive->usage().slots[3]);
  for (uint32_t number = 0; number < slots; ++number) {
    EXPECT_TRUE(rig.drive->should_admit(DriveRig::nth(number, 5), SizeClass::K256, UseId{1}));
    ASSERT_TRUE(rig.put_nth(number, 5).has_value());
  }
  const SliceKey wanted = DriveRig::nth(1000, 5);
  EXPECT_FALSE(rig.drive->should_admit(wanted, SizeClass::K256, UseId{1}));
  EXPECT_FALSE(rig.drive->should_admit(wanted, SizeClass::K256, UseId{1}));  // the same play
  EXPECT_TRUE(rig.drive->should_admit(wanted, SizeClass::K256, UseId{2}));
  EXPECT_FALSE(rig.drive->should_admit(DriveRig::nth(0, 5), SizeClass::K256, UseId{2}));  // here
}

TEST(Drive, WriteBudgetAdmitsWithSurplusAndRefusesWhenSpent) {
  DriveRig rig;
  rig.options.write_bytes_per_second = 260 * KiB * 2 / 60;  // a bucket of two slots
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  const auto record = rig.put_record(1, 5);
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, 0), *record, 250 * KiB).has_value());
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, 1), *record, 250 * KiB).has_value());
  const auto spent = rig.put_slice(DriveRig::slice_of(1, 5, 2), *record, 250 * KiB);
  ASSERT_FALSE(spent.has_value());
  EXPECT_EQ(spent.error().kind, Kind::Overloaded);
  EXPECT_TRUE(spent.error().retryable);
  rig.world.run_for(std::chrono::minutes{1});
  EXPECT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, 2), *record, 250 * KiB).has_value());
}

TEST(Drive, WritesWaitWhileManyReadsRun) {
  DriveRig rig;
  rig.format_and_mount();
  const auto record = rig.put_record(1, 5);
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5), *record, 4096).has_value());
  std::vector<AlignedBytes> into;
  std::vector<std::optional<Result<uint32_t>>> results(kDriveReadsBeforeWrites);
  TaskGroup group(rig.world.loop(0), kDriveReadsBeforeWrites);
  {
    const Loop::Turn turn(rig.world.loop(0));
    for (uint32_t i = 0; i < kDriveReadsBeforeWrites; ++i) {
      into.emplace_back(size_t{4096});
      auto slot = rig.drive->try_read(DriveRig::slice_of(1, 5), UseId{i});
      ASSERT_TRUE(slot.has_value());
      ASSERT_TRUE(group.try_spawn(keep_result(
          rig.drive->read_slot(rig.disk(), std::move(*slot), into[i].span()), results[i])));
    }
  }
  EXPECT_EQ(rig.drive->try_take_slot(DriveRig::slice_of(1, 5, 1), *record, 4096).error().kind,
            Kind::Overloaded);
  ASSERT_TRUE(rig.world.run_until_idle());
  for (const auto& result : results) {
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(result->has_value());
  }
  EXPECT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5, 1), *record, 4096).has_value());
}

TEST(Drive, RecordIsRewrittenInPlaceAndFreeOnceNoSlotNamesIt) {
  DriveRig rig;
  rig.format_and_mount();
  const auto record = rig.put_record(1, 5);
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5), *record).has_value());
  EXPECT_EQ(rig.put_record(1, 5, *record), *record);
  EXPECT_EQ(rig.drive->usage().records_live, 1);
  // Another key does not get it, and cannot read it.
  EXPECT_NE(rig.put_record(2, 6, *record), *record);
  EXPECT_EQ(
      rig.run([&] { return rig.drive->read_record(rig.disk(), *record, DriveRig::key_of(2)); })
          .error()
          .kind,
      Kind::NotFound);
  rig.drive->forget_generation(DriveRig::key_of(1), Sequence{5}, 1);
  EXPECT_EQ(rig.drive->usage().records_live, 0);
  // All others are written once: then it is taken for another key, and no longer known as this
  // one's.
  const uint64_t records = rig.drive->usage().records;
  for (uint64_t number = 100; number < 100 + records; ++number) {
    ASSERT_TRUE(rig.put_record(number, 7).has_value());
  }
  const auto refused = rig.drive->try_take_slot(DriveRig::slice_of(1, 5), *record, 1000);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::NotFound);
}

TEST(Drive, ShortTracksPushOutOldOnesWhenEveryRecordIsInUse) {
  DriveRig rig;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  // A record per four large slots: with one slice a track, records run out before slots do.
  const uint64_t records = rig.drive->usage().records;
  ASSERT_LT(records * 2, rig.drive->usage().slots[3]);
  for (uint64_t number = 0; number < 3 * records; ++number) {
    ASSERT_TRUE(rig.put(number, 5).has_value()) << number;
    rig.world.run_for(std::chrono::seconds{1});
  }
  EXPECT_EQ(rig.drive->usage().records_live, records);
  for (uint64_t number = 0; number < 3 * records; ++number) {
    EXPECT_EQ(rig.get_is_right(DriveRig::slice_of(number, 5)), number >= 2 * records) << number;
  }
}

TEST(Drive, FactsBeyondARecordAreRefusedAndTheLargestThatFitAreKept) {
  DriveRig rig;
  rig.format_and_mount();
  RecordFacts facts = DriveRig::facts_of(1, 5);
  const size_t room = format::kRecordPayloadBytes - facts.key_text.size() -
                      facts.tag_hashes.size() * sizeof(uint64_t);
  facts.facts.assign(room, std::byte{7});
  const auto record =
      rig.run([&] { return rig.drive->write_record(rig.disk(), kNoRecord, facts); });
  ASSERT_TRUE(record.has_value());
  const auto read = rig.run([&] { return rig.drive->read_record(rig.disk(), *record, facts.key); });
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->facts, facts.facts);
  facts.facts.push_back(std::byte{7});
  const auto refused =
      rig.run([&] { return rig.drive->write_record(rig.disk(), kNoRecord, facts); });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::Unsupported);
  facts = DriveRig::facts_of(1, 5);
  facts.tag_hashes.resize(kTagsPerRecordMax + 1);
  EXPECT_EQ(
      rig.run([&] { return rig.drive->write_record(rig.disk(), kNoRecord, facts); }).error().kind,
      Kind::Unsupported);
}

TEST(Drive, LeasedSequencesNeverStepBack) {
  DriveRig rig;
  rig.format_and_mount();
  EXPECT_EQ(rig.drive->first_unleased(), Sequence{1});
  const auto lease = [&](uint64_t end) {
    return rig.run([&] { return rig.drive->lease_sequences(rig.disk(), Sequence{end}); });
  };
  ASSERT_TRUE(lease(1000).has_value());
  EXPECT_EQ(rig.drive->first_unleased(), Sequence{1000});
  ASSERT_TRUE(lease(500).has_value());
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->first_unleased(), Sequence{1000});
  ASSERT_TRUE(rig.run([&] { return rig.drive->set_membership_epoch(rig.disk(), 9); }).has_value());
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->membership_epoch(), 9);
  EXPECT_EQ(rig.drive->first_unleased(), Sequence{1000});
}

TEST(Drive, PurgesComeBackUntilTheyAreRetired) {
  DriveRig rig;
  rig.format_and_mount();
  const std::vector<PurgeStatement> made = {{.scope = PurgeScope::Key,
                                             .soft = true,
                                             .sequence = Sequence{10},
                                             .key = {1, 2},
                                             .prefix = {}},
                                            {.scope = PurgeScope::Prefix,
                                             .soft = false,
                                             .sequence = Sequence{11},
                                             .key = {},
                                             .prefix = "music:/a"},
                                            {.scope = PurgeScope::Tag,
                                             .soft = false,
                                             .sequence = Sequence{12},
                                             .key = {3, 4},
                                             .prefix = {}},
                                            {.scope = PurgeScope::Everything,
                                             .soft = false,
                                             .sequence = Sequence{13},
                                             .key = {},
                                             .prefix = {}}};
  for (const PurgeStatement& statement : made) ASSERT_TRUE(rig.purge(statement).has_value());
  ASSERT_TRUE(rig.mount().has_value());
  auto kept = rig.drive->purge_statements();
  ASSERT_EQ(kept.size(), 4);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(kept[i].scope, made[i].scope);
    EXPECT_EQ(kept[i].soft, made[i].soft);
    EXPECT_EQ(kept[i].sequence, made[i].sequence);
    EXPECT_EQ(kept[i].key, made[i].key);
    EXPECT_EQ(kept[i].prefix, made[i].prefix);
  }
  ASSERT_TRUE(
      rig.run([&] { return rig.drive->retire_purges(rig.disk(), Sequence{12}); }).has_value());
  EXPECT_EQ(rig.drive->purge_statements().size(), 2);
  ASSERT_TRUE(rig.mount().has_value());
  kept = rig.drive->purge_statements();
  ASSERT_EQ(kept.size(), 2);
  EXPECT_EQ(kept[0].sequence, Sequence{12});
}

TEST(Drive, PurgesAtOnceShareOneFlush) {
  DriveRig rig(24 * MiB, 1, 2);
  rig.format_and_mount();
  std::vector<std::optional<Result<Done>>> results(50);
  TaskGroup first(rig.world.loop(0), 50);
  TaskGroup second(rig.world.loop(1), 50);
  std::vector<PurgeStatement> statements(50);
  for (uint32_t i = 0; i < 50; ++i) {
    statements[i].sequence = Sequence{i + 1};
    const uint32_t loop = i % 2;
    const Loop::Turn turn(rig.world.loop(loop));
    ASSERT_TRUE((loop == 0 ? first : second)
                    .try_spawn(keep_result(rig.drive->append_purge(rig.disk(loop), statements[i]),
                                           results[i])));
  }
  ASSERT_TRUE(rig.world.run_until_idle());
  for (const auto& result : results) {
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(result->has_value());
  }
  EXPECT_EQ(rig.drive->counters().journal_flushes.load(), 2);  // the first alone, then all others
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->purge_statements().size(), 50);
}

TEST(Drive, FullJournalRefusesAndASweepMakesRoom) {
  DriveRig rig;
  rig.format_and_mount();
  uint64_t accepted = 0;
  Result<Done> last = Done{};
  while (accepted < 10'000) {
    last = rig.purge({.scope = PurgeScope::Prefix,
                      .soft = false,
                      .sequence = Sequence{accepted + 1},
                      .key = {},
                      .prefix = std::string(2000, 'x')});
    if (!last) break;
    ++accepted;
  }
  ASSERT_FALSE(last.has_value());
  EXPECT_EQ(last.error().kind, Kind::Full);
  EXPECT_TRUE(last.error().retryable);
  EXPECT_GE(
      accepted,
      11);  // of 16 pages (one is the empty one) a quarter is kept for compaction and retirement
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->purge_statements().size(), accepted);
  ASSERT_TRUE(rig.run([&] { return rig.drive->retire_purges(rig.disk(), Sequence{accepted}); })
                  .has_value());
  for (uint64_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(rig.purge({.scope = PurgeScope::Key,
                           .soft = false,
                           .sequence = Sequence{accepted + i + 1},
                           .key = {i, i},
                           .prefix = {}})
                    .has_value());
  }
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->purge_statements().size(), 11);
}

TEST(Drive, SmallPurgesOneByOneArePackedWhenTheRingFillsUp) {
  DriveRig rig;
  rig.format_and_mount();
  for (uint64_t i = 1; i <= 100; ++i) {  // six times the ring's pages
    ASSERT_TRUE(rig.purge({.scope = PurgeScope::Key,
                           .soft = false,
                           .sequence = Sequence{i},
                           .key = {i, i},
                           .prefix = {}})
                    .has_value())
        << i;
  }
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->purge_statements().size(), 100);
}

TEST(Drive, ForgetEverythingEmptiesTheDriveAndKeepsItsPurges) {
  DriveRig rig;
  rig.format_and_mount();
  for (uint64_t number = 0; number < 5; ++number) ASSERT_TRUE(rig.put(number, 5).has_value());
  ASSERT_TRUE(rig.purge({.scope = PurgeScope::Key,
                         .soft = false,
                         .sequence = Sequence{2},
                         .key = {1, 1},
                         .prefix = {}})
                  .has_value());
  ASSERT_TRUE(rig.flush().has_value());
  ASSERT_TRUE(rig.mount().has_value());
  ASSERT_TRUE(rig.run([&] { return rig.drive->forget_everything(rig.disk()); }).has_value());
  EXPECT_TRUE(rig.found().empty());
  rig.crash();
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_TRUE(rig.found().empty());
  EXPECT_EQ(rig.drive->usage().live[3], 0);
  EXPECT_EQ(rig.drive->purge_statements().size(), 1);
}

TEST(Drive, AfterForgetEverythingNoRecordIsReadByANumberThatSomebodyRemembers) {
  DriveRig rig;
  rig.format_and_mount();
  const auto record = rig.put_record(1, 5);
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5), *record).has_value());
  const auto read = [&] {
    return rig.run(
        [&] { return rig.drive->read_record(rig.disk(), *record, DriveRig::key_of(1)); });
  };
  ASSERT_TRUE(read().has_value());
  ASSERT_TRUE(rig.run([&] { return rig.drive->forget_everything(rig.disk()); }).has_value());
  ASSERT_FALSE(read().has_value());
  EXPECT_EQ(read().error().kind, Kind::NotFound);
}

TEST(Drive, S3FifoDriveWorksLikewise) {
  DriveRig rig;
  rig.options.policy = EvictionPolicy::S3Fifo;
  rig.format_and_mount({.k64 = 0, .k128 = 0, .k256 = 100});
  const auto slots = static_cast<uint32_t>(rig.drive->usage().slots[3]);
  for (uint32_t number = 0; number < 3 * slots; ++number) {
    ASSERT_TRUE(rig.put_nth(number, 5).has_value());
    EXPECT_TRUE(rig.get_is_right(DriveRig::nth(number, 5)));
  }
  EXPECT_EQ(rig.drive->usage().live[3], slots);
  ASSERT_TRUE(rig.flush().has_value());
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(rig.drive->usage().live[3], slots);
}

TEST(Drive, TooSmallADriveIsRefusedWithNothingWritten) {
  DriveRig rig(400 * KiB);
  const auto formatted = rig.format();
  ASSERT_FALSE(formatted.has_value());
  EXPECT_EQ(formatted.error().kind, Kind::Full);
  EXPECT_EQ(rig.platter.writes(), 0);
}

}  // namespace
}  // namespace segue::cache
