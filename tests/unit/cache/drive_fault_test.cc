// Goal: whatever a drive does wrong (rot, errors, hangs, misdirected writes), the answer is a miss
// and a counter, never a wrong byte; too much of it takes the drive offline.
// Method: faults planned on the simulated disk (tests/support/fault_disk.h).
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "cache/drive_impl.h"
#include "tests/unit/cache/drive_rig.h"

namespace segue::cache {
namespace {

constexpr uint64_t kSmallDrive = 8 * MiB;

Geometry geometry_of(uint64_t size) { return *Geometry::plan(size, {}); }

/// A drive with a few tracks and a purge, everything flushed.
void populate(DriveRig& rig) {
  rig.format_and_mount();
  for (uint64_t number = 0; number < 4; ++number) {
    ASSERT_TRUE(rig.put(number, 10 + number, 0, 256 * KiB).has_value());
    ASSERT_TRUE(rig.put(10 + number, 10 + number, 0, 100 * KiB).has_value());
  }
  ASSERT_TRUE(rig.purge({.scope = PurgeScope::Key,
                         .soft = false,
                         .sequence = Sequence{12},
                         .key = DriveRig::key_of(0),
                         .prefix = {}})
                  .has_value());
  ASSERT_TRUE(rig.flush().has_value());
}

uint32_t right_slices(DriveRig& rig) {
  uint32_t right = 0;
  for (uint64_t number = 0; number < 4; ++number) {
    right += rig.get_is_right(DriveRig::slice_of(number, 10 + number)) ? 1U : 0U;
    right += rig.get_is_right(DriveRig::slice_of(10 + number, 10 + number)) ? 1U : 0U;
  }
  return right;
}

TEST(DriveFault, NoBitFlipAnywhereYieldsWrongBytesOrUndoesAPurge) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  ASSERT_TRUE(rig.mount().has_value());
  ASSERT_EQ(right_slices(rig), 8);
  const Geometry geometry = geometry_of(kSmallDrive);
  struct Area {
    uint64_t begin;
    uint64_t end;
  };
  const Area areas[] = {
      {0, kSuperblockBytes},
      {geometry.journal_offset(0, 0), geometry.record_offset(RecordNumber{0})},
      {geometry.record_offset(RecordNumber{0}), geometry.record_offset(RecordNumber{9})},
      {geometry.table().offset_of(0), geometry.table().end()},
      {geometry.access().offset_of(0), geometry.access().end()},
      {geometry.slot_offset(0), kSmallDrive}};
  // 360 of them here; DRIVE_FLIPS=10000 is the release gate's.
  const char* wanted = std::getenv("DRIVE_FLIPS");
  uint32_t flips = 360;
  if (wanted != nullptr) std::from_chars(wanted, wanted + std::strlen(wanted), flips);
  testing::Random random(5);
  uint32_t misses = 0;
  for (const Area& area : areas) {
    for (uint32_t nth = 0; nth < flips / std::size(areas) + 1; ++nth) {
      const uint64_t offset = random.between(area.begin, area.end - 1);
      const auto bit = static_cast<uint32_t>(random.below(8));
      rig.platter.flip_bit(offset, bit);
      ASSERT_TRUE(rig.mount().has_value()) << offset;
      misses += 8 - right_slices(rig);
      ASSERT_EQ(rig.drive->purge_statements().size(), 1) << offset;
      rig.platter.flip_bit(offset, bit);
    }
  }
  EXPECT_GT(misses, 5);  // some of the flips did hit something
  EXPECT_LT(misses, flips * 2 / 3);
}

TEST(DriveFault, DamageToBothCopiesOfAJournalPageEmptiesTheDrive) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(rig.purge({.scope = PurgeScope::Key,
                           .soft = false,
                           .sequence = Sequence{20 + i},
                           .key = {i, i},
                           .prefix = {}})
                    .has_value());
  }
  const Geometry geometry = geometry_of(kSmallDrive);
  // The ring began at page 0 with the purge of populate(); page 1 holds the next one.
  for (uint32_t copy = 0; copy < 2; ++copy) {
    rig.platter.flip_bit(geometry.journal_offset(copy, 1) + 70, 3);
  }
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(right_slices(rig), 0);
  EXPECT_TRUE(rig.found().empty());
  // Durably so, and usable again.
  rig.crash();
  ASSERT_TRUE(rig.mount().has_value());
  EXPECT_EQ(right_slices(rig), 0);
  ASSERT_TRUE(rig.put(1, 50).has_value());
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(1, 50)));
}

TEST(DriveFault, RotUnderAVerifiedHeaderIsCountedAndTheSlotUnlinked) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  const Geometry geometry = geometry_of(kSmallDrive);
  const SliceKey key = DriveRig::slice_of(0, 10);
  ASSERT_TRUE(rig.get_is_right(key));
  // Every large slot gets a flip: one of them is the slice's.
  for (uint32_t slot = 0; slot < geometry.slots(); ++slot) {
    rig.platter.flip_bit(geometry.slot_offset(slot) + kSlotHeaderBytes + 500, 1);
  }
  const auto bad = rig.get(key);
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().kind, Kind::ChecksumMismatch);
  EXPECT_EQ(rig.drive->counters().checksum_failures.load(), 1);
  EXPECT_FALSE(rig.drive->contains(key));
}

TEST(DriveFault, FailedReadUnlinksTheSliceAndIsCounted) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  rig.platter.fail_operation(1);
  const auto failed = rig.get(DriveRig::slice_of(1, 11));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().side, Side::Disk);
  EXPECT_EQ(failed.error().kind, Kind::IoError);
  EXPECT_EQ(rig.drive->counters().io_errors.load(), 1);
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 11)));
  EXPECT_FALSE(rig.drive->offline());
  EXPECT_EQ(right_slices(rig), 7);
}

TEST(DriveFault, FailedWriteMakesTheSlotBadAndTheSliceAMiss) {
  DriveRig rig(kSmallDrive);
  rig.format_and_mount();
  const auto record = rig.put_record(1, 5);
  rig.platter.fail_operation(1);
  const auto failed = rig.put_slice(DriveRig::slice_of(1, 5), *record);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().kind, Kind::IoError);
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Bad)], 1);
  EXPECT_EQ(rig.drive->counters().bad_slots.load(), 1);
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 5)));
  EXPECT_EQ(rig.drive->usage().records_live, 0);
  // Another slot takes it.
  EXPECT_TRUE(rig.put_slice(DriveRig::slice_of(1, 5), *record).has_value());
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(1, 5)));
}

TEST(DriveFault, TooManyErrorsWithinAMinuteTakeTheDriveOffline) {
  DriveRig rig(kSmallDrive);
  rig.options.errors_to_offline = 3;
  populate(rig);
  rig.drive->count_hang();
  rig.drive->count_hang();
  rig.world.run_for(std::chrono::seconds{61});
  rig.drive->count_hang();
  EXPECT_FALSE(rig.drive->offline());  // three, but not within a minute
  rig.drive->count_hang();
  EXPECT_FALSE(rig.drive->offline());
  rig.drive->count_hang();
  EXPECT_TRUE(rig.drive->offline());
  EXPECT_FALSE(rig.drive->contains(DriveRig::slice_of(1, 11)));
  EXPECT_FALSE(rig.drive->try_read(DriveRig::slice_of(1, 11), UseId{1}).has_value());
  EXPECT_FALSE(rig.drive->should_admit(DriveRig::slice_of(9, 9), SizeClass::K256, UseId{1}));
  EXPECT_EQ(rig.put_record(5, 6).error().kind, Kind::Closed);
  EXPECT_EQ(rig.drive->try_take_slot(DriveRig::slice_of(1, 12), RecordNumber{0}, 10).error().kind,
            Kind::Closed);
  EXPECT_EQ(rig.purge({.scope = PurgeScope::Key,
                       .soft = false,
                       .sequence = Sequence{1},
                       .key = {},
                       .prefix = {}})
                .error()
                .kind,
            Kind::Closed);
  EXPECT_EQ(rig.flush().error().kind, Kind::Closed);
}

TEST(DriveFault, LostDriveGoesOfflineAndItsSlicesAreMisses) {
  DriveRig rig(kSmallDrive);
  rig.options.errors_to_offline = 4;
  populate(rig);
  ASSERT_TRUE(rig.run([&] { return rig.disk().flush(); }).has_value());
  rig.platter.set_lost(true);
  EXPECT_EQ(right_slices(rig), 0);
  EXPECT_TRUE(rig.drive->offline());
  EXPECT_EQ(rig.drive->counters().io_errors.load(), 4);
  rig.platter.set_lost(false);
  EXPECT_FALSE(rig.mount().has_value());  // what was open stays dead
  ASSERT_TRUE(rig.run([&] { return rig.disk().reopen(); }).has_value());
  ASSERT_TRUE(rig.mount().has_value());  // put back, and the node restarted
  EXPECT_EQ(right_slices(rig), 8);
}

TEST(DriveFault, HungReadKeepsItsSlotUntilItCompletes) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  const SliceKey key = DriveRig::slice_of(2, 12);
  auto slot = rig.drive->try_read(key, UseId{1});
  ASSERT_TRUE(slot.has_value());
  const AlignedBytes into(kSliceBytes);
  std::optional<Result<uint32_t>> result;
  TaskGroup group(rig.world.loop(0), 1);
  rig.platter.hang_operation(1);
  {
    const Loop::Turn turn(rig.world.loop(0));
    ASSERT_TRUE(group.try_spawn(
        keep_result(rig.drive->read_slot(rig.disk(), std::move(*slot), into.span()), result)));
  }
  rig.world.run_for(std::chrono::seconds{5});
  EXPECT_FALSE(result.has_value());
  rig.drive->count_hang();
  rig.drive->forget_generation(key.key, key.generation, 1);
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Retiring)], 1);
  rig.platter.release_hung();
  ASSERT_TRUE(rig.world.run_until_idle());
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->has_value());  // right bytes, late
  EXPECT_EQ(rig.drive->census().in_state[static_cast<size_t>(SlotState::Retiring)], 0);
}

TEST(DriveFault, MisdirectedSlotWriteIsNeverServed) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  const Geometry geometry = geometry_of(kSmallDrive);
  const auto record = rig.put_record(7, 20);
  const uint32_t first_large =
      geometry.slots_of(SizeClass::K64) + geometry.slots_of(SizeClass::K128);
  rig.platter.misdirect_write(1, geometry.slot_offset(first_large + 1));
  ASSERT_TRUE(rig.put_slice(DriveRig::slice_of(7, 20), *record).has_value());  // the drive says so
  EXPECT_FALSE(rig.get_is_right(DriveRig::slice_of(7, 20)));
  EXPECT_EQ(right_slices(rig), 7);  // the slot it hit instead
  EXPECT_EQ(rig.drive->counters().checksum_failures.load(), 2);
}

TEST(DriveFault, FailureOfAnyOperationOfAMountIsAnErrorOrAMiss) {
  uint32_t refused = 0;
  for (uint64_t nth = 1;; ++nth) {
    DriveRig rig(kSmallDrive);
    populate(rig);
    const uint64_t before = rig.platter.operations();
    rig.platter.fail_operation(nth);
    const auto mounted = rig.mount();
    if (!mounted) {
      EXPECT_EQ(mounted.error().side, Side::Disk) << nth;
      ++refused;
      continue;
    }
    EXPECT_EQ(rig.drive->purge_statements().size(), 1) << nth;
    right_slices(rig);
    if (rig.platter.operations() - before < nth) break;
  }
  EXPECT_EQ(refused, 0);  // one bad page of anything is survived
}

TEST(DriveFault, FailureOfAnyOperationOfAFlushLosesNothingOnceItIsRepeated) {
  for (uint64_t nth = 1;; ++nth) {
    DriveRig rig(kSmallDrive);
    rig.format_and_mount();
    for (uint64_t number = 0; number < 4; ++number) {
      ASSERT_TRUE(rig.put(number, 10 + number, 0, 256 * KiB).has_value());
      ASSERT_TRUE(rig.put(10 + number, 10 + number, 0, 100 * KiB).has_value());
    }
    rig.platter.fail_operation(nth);
    const auto flushed = rig.flush();
    ASSERT_TRUE(rig.flush().has_value());
    ASSERT_TRUE(rig.mount().has_value());
    EXPECT_EQ(right_slices(rig), 8) << nth;
    if (flushed && nth > 6) break;
  }
}

TEST(DriveFault, FailedPurgeAppendIsReportedAndTheNextOneHolds) {
  DriveRig rig(kSmallDrive);
  rig.format_and_mount();
  for (uint64_t nth = 1; nth <= 3; ++nth) {  // two copies and the flush
    rig.platter.fail_operation(nth);
    EXPECT_FALSE(rig.purge({.scope = PurgeScope::Key,
                            .soft = false,
                            .sequence = Sequence{nth},
                            .key = {nth, 1},
                            .prefix = {}})
                     .has_value());
  }
  ASSERT_TRUE(rig.purge({.scope = PurgeScope::Key,
                         .soft = false,
                         .sequence = Sequence{9},
                         .key = {9, 9},
                         .prefix = {}})
                  .has_value());
  EXPECT_EQ(rig.drive->counters().io_errors.load(), 3);
  ASSERT_TRUE(rig.mount().has_value());
  ASSERT_EQ(rig.drive->purge_statements().size(), 1);
  EXPECT_EQ(rig.drive->purge_statements()[0].sequence, Sequence{9});
}

TEST(DriveFault, UnknownVersionIsUnsupportedAndNothingIsWritten) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  rig.drive.reset();
  for (uint32_t copy = 0; copy < format::kSuperblockCopies; ++copy) {
    rig.platter.flip_bit(
        uint64_t{copy} * format::kPageBytes + offsetof(format::Superblock, version), 4);
  }
  const uint64_t writes = rig.platter.writes();
  const auto mounted = rig.mount();
  ASSERT_FALSE(mounted.has_value());
  EXPECT_EQ(mounted.error().kind, Kind::Unsupported);
  EXPECT_EQ(rig.platter.writes(), writes);
}

TEST(DriveFault, ShorterDriveThanItsSuperblockSaysIsRefused) {
  DriveRig rig(kSmallDrive);
  populate(rig);
  rig.platter.options().size_bytes = kSmallDrive - 4096;
  const auto mounted = rig.mount();
  ASSERT_FALSE(mounted.has_value());
  EXPECT_EQ(mounted.error().kind, Kind::Mismatch);
}

TEST(DriveFault, EmptyDriveHasNoSuperblock) {
  DriveRig rig(kSmallDrive);
  EXPECT_EQ(rig.mount().error().kind, Kind::Malformed);
  rig.platter.options().size_bytes = 4096;
  EXPECT_EQ(rig.mount().error().kind, Kind::Malformed);
}

TEST(DriveFault, RandomTroubleNeverYieldsWrongBytes) {
  uint32_t done = 0;
  uint32_t right = 0;
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    DriveRig rig(kSmallDrive, seed);
    rig.options.errors_to_offline = 1'000'000;
    rig.format_and_mount();
    rig.platter.options().error_one_in = 20;
    rig.platter.options().misdirect_one_in = 25;
    testing::Random random(seed);
    for (uint32_t step = 0; step < 150; ++step) {
      const uint64_t number = random.below(12);
      if (random.one_in(3)) {
        const auto length = 1 + static_cast<uint32_t>(random.below(kSliceBytes));
        done += rig.put(number, 5, 0, length).has_value() ? 1U : 0U;
      }
      right += rig.get_is_right(DriveRig::slice_of(number, 5)) ? 1U : 0U;
      if (random.one_in(10)) done += rig.flush().has_value() ? 1U : 0U;
      if (random.one_in(40)) {
        rig.crash();
        rig.platter.options().error_one_in = 0;
        rig.platter.options().misdirect_one_in = 0;
        if (!rig.mount()) break;  // a misdirected write may have hit the superblocks
        rig.platter.options().error_one_in = 20;
        rig.platter.options().misdirect_one_in = 25;
      }
    }
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(done, 100);  // the trouble left something to be wrong about
  EXPECT_GT(right, 100);
}

}  // namespace
}  // namespace segue::cache
