// Goal: wherever the machine stops, a restart finds right bytes or misses, every acknowledged purge
// in force, and no sequence used twice.
// Method: one scenario that does everything a drive does, cut after each of its disk operations;
// what was in flight or not flushed is torn page by page (tests/support/fault_disk.h).
#include <algorithm>

#include "tests/unit/cache/drive_rig.h"

namespace segue::cache {
namespace {

constexpr uint64_t kSmallDrive = 8 * MiB;

/// What the node was promised before the crash.
struct Promised {
  uint64_t lease_end = 1;
  uint64_t membership_epoch = 3;
  std::vector<PurgeStatement> purges;
};

/// One run of the node, as the store would drive it. Ends early when the disk fails.
Task<void> live(DriveRig& rig, Promised& promised) {
  Drive& drive = *rig.drive;
  Disk& disk = rig.disk();
  std::vector<AlignedBytes> payloads;  // outlive the writes

  struct Track {
    uint64_t number;
    uint64_t generation;
    RecordNumber record = kNoRecord;
  };
  std::vector<Track> tracks;
  tracks.reserve(4);
  for (uint64_t i = 0; i < 4; ++i) tracks.push_back({.number = i, .generation = 10 + i});

  if (!co_await drive.lease_sequences(disk, Sequence{100})) co_return;
  promised.lease_end = 100;
  for (uint32_t round = 0; round < 3; ++round) {
    for (Track& track : tracks) {
      const RecordFacts facts = DriveRig::facts_of(track.number, track.generation);
      const auto record = co_await drive.write_record(disk, track.record, facts);
      if (!record) co_return;
      track.record = *record;
      for (uint32_t slice = round * 3; slice < round * 3 + 3; ++slice) {
        const SliceKey key = DriveRig::slice_of(track.number, track.generation, slice);
        auto slot = drive.try_take_slot(key, track.record, 200 * KiB);
        if (!slot) continue;
        payloads.push_back(DriveRig::payload_of(key, 200 * KiB));
        if (!co_await drive.write_slot(disk, std::move(*slot), payloads.back().span())) co_return;
      }
    }
    if (!co_await drive.flush_table(disk)) co_return;
    // One track is purged and swept, another gets a new generation, round by round.
    Track& purged = tracks[round];
    const PurgeStatement statement{.scope = PurgeScope::Key,
                                   .soft = false,
                                   .sequence = Sequence{50 + round * 10},
                                   .key = DriveRig::key_of(purged.number),
                                   .prefix = {}};
    if (!co_await drive.append_purge(disk, statement)) co_return;
    promised.purges.push_back(statement);
    drive.forget_generation(statement.key, Sequence{purged.generation}, 16);
    purged.generation = 55 + round * 10;
    Track& replaced = tracks[3];
    const uint64_t former = replaced.generation;
    replaced.generation = 56 + round * 10;
    drive.forget_generation(DriveRig::key_of(replaced.number), Sequence{former}, 16);
    if (round == 1) {
      if (!co_await drive.retire_purges(disk, Sequence{62})) co_return;
    }
    if (!co_await drive.lease_sequences(disk, Sequence{100 + round * 100})) co_return;
    promised.lease_end = 100 + round * 100;
    if (!co_await drive.set_membership_epoch(disk, 4 + round)) co_return;
    promised.membership_epoch = 4 + round;
  }
  if (!co_await drive.flush_table(disk)) co_return;
}

bool is_covered(const SliceKey& key, const std::vector<PurgeStatement>& purges) {
  return std::ranges::any_of(purges, [&key](const PurgeStatement& purge) {
    return purge.key == key.key && key.generation < purge.sequence;
  });
}

/// Everything that must hold after the restart.
void expect_sound(DriveRig& rig, const Promised& promised) {
  const std::vector<PurgeStatement> in_force = rig.drive->purge_statements();
  EXPECT_GE(rig.drive->first_unleased().value, promised.lease_end);
  EXPECT_GE(rig.drive->membership_epoch(), promised.membership_epoch);
  for (uint64_t number = 0; number < 4; ++number) {
    for (const uint64_t generation : {10 + number, 55UL, 65UL, 75UL, 56UL, 66UL, 76UL}) {
      for (uint32_t slice = 0; slice < 9; ++slice) {
        const SliceKey key = DriveRig::slice_of(number, generation, slice);
        if (!rig.get_is_right(key)) continue;
        // Bytes that a promised purge covers may lie here only while the statement still does.
        EXPECT_TRUE(!is_covered(key, promised.purges) || is_covered(key, in_force))
            << "purged slice came back: track " << number << " generation " << generation;
      }
    }
  }
  for (const auto& one : rig.found()) {
    const auto facts =
        rig.run([&] { return rig.drive->read_record(rig.disk(), one.record, one.key); });
    if (!facts) continue;
    EXPECT_EQ(hash_key(facts->key_text, DriveRig::kSeed), one.key);
    EXPECT_GE(facts->generation, one.generation);
  }
  const Drive::Usage usage = rig.drive->usage();
  const Drive::Census census = rig.drive->census();
  uint64_t in_states = 0;
  for (const uint64_t slots : census.in_state) in_states += slots;
  EXPECT_EQ(in_states, usage.slots[1] + usage.slots[2] + usage.slots[3]);
  EXPECT_EQ(census.readers, 0);
  EXPECT_FALSE(rig.drive->offline());
}

/// Runs the scenario up to its `cut`th operation, crashes, restarts. False: it ended before.
bool run_cut(uint64_t seed, uint64_t cut) {
  DriveRig rig(kSmallDrive, seed);
  EXPECT_TRUE(rig.format({.k64 = 0, .k128 = 0, .k256 = 100}).has_value());
  EXPECT_TRUE(rig.mount().has_value());
  const uint64_t before = rig.platter.operations();
  Promised promised;
  TaskGroup group(rig.world.loop(0), 1);
  {
    const Loop::Turn turn(rig.world.loop(0));
    EXPECT_TRUE(group.try_spawn(live(rig, promised)));
  }
  EXPECT_TRUE(rig.world.run_until(
      [&] { return group.running() == 0 || rig.platter.operations() - before >= cut; },
      std::chrono::minutes{10}));
  const bool cut_short = group.running() > 0;
  rig.crash();
  EXPECT_EQ(group.running(), 0);
  const auto mounted = rig.mount();
  EXPECT_TRUE(mounted.has_value()) << (mounted ? "" : mounted.error().where);
  if (!mounted) return false;
  expect_sound(rig, promised);
  // And it goes on from there.
  EXPECT_TRUE(rig.put(100, 300).has_value());
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(100, 300)));
  EXPECT_TRUE(rig.flush().has_value());
  return cut_short;
}

TEST(DriveCrash, AfterEachDiskOperationTheRestartIsSound) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    uint64_t cut = 1;
    while (run_cut(seed, cut) && !::testing::Test::HasFailure()) ++cut;
    EXPECT_GT(cut, 80) << "the scenario is shorter than it should be";
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << " cut " << cut;
  }
}

TEST(DriveCrash, AcknowledgedPurgeIsInForceWhenTheMachineStopsAtOnce) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    DriveRig rig(kSmallDrive, seed);
    rig.format_and_mount();
    for (uint64_t i = 1; i <= 5; ++i) {
      ASSERT_TRUE(rig.purge({.scope = PurgeScope::Key,
                             .soft = false,
                             .sequence = Sequence{i},
                             .key = {i, i},
                             .prefix = {}})
                      .has_value());
    }
    rig.crash();
    ASSERT_TRUE(rig.mount().has_value());
    EXPECT_EQ(rig.drive->purge_statements().size(), 5) << seed;
  }
}

TEST(DriveCrash, FormatThatIsCutLeavesNoDrive) {
  uint64_t left_no_drive = 0;
  for (uint64_t cut = 1; cut < 60; ++cut) {
    DriveRig rig(kSmallDrive, cut);
    // Something was there before.
    rig.format_and_mount();
    ASSERT_TRUE(rig.put(1, 5).has_value());
    ASSERT_TRUE(rig.flush().has_value());
    rig.drive.reset();
    const uint64_t before = rig.platter.operations();
    TaskGroup group(rig.world.loop(0), 1);
    std::optional<Result<Done>> result;
    {
      const Loop::Turn turn(rig.world.loop(0));
      ASSERT_TRUE(
          group.try_spawn(keep_result(Drive::format(rig.disk(), {.size_bytes = kSmallDrive,
                                                                 .hash_seed = DriveRig::kSeed,
                                                                 .device_id = DriveRig::kDevice + 1,
                                                                 .membership_epoch = 0,
                                                                 .shares = {}}),
                                      result)));
    }
    rig.world.run_until([&] { return rig.platter.operations() - before >= cut || result; },
                        std::chrono::minutes{1});
    rig.crash();
    const auto mounted = rig.mount();
    if (!mounted) {
      EXPECT_EQ(mounted.error().kind, Kind::Malformed) << cut;
      ++left_no_drive;
      continue;
    }
    // The old one untouched or unlucky, or the new one whole: never bytes under a wrong name.
    if (rig.drive->device_id() == DriveRig::kDevice + 1) {
      EXPECT_TRUE(rig.found().empty());
    }
    rig.get_is_right(DriveRig::slice_of(1, 5));
  }
  EXPECT_GT(left_no_drive, 20);
}

TEST(DriveCrash, TornSuperblockSetIsMountedFromItsNewestCopy) {
  // A lease is cut at each of its four operations (two writes, two flushes).
  for (uint64_t cut = 1; cut <= 4; ++cut) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      DriveRig rig(kSmallDrive, seed);
      rig.format_and_mount();
      ASSERT_TRUE(rig.run([&] { return rig.drive->lease_sequences(rig.disk(), Sequence{500}); })
                      .has_value());
      const uint64_t before = rig.platter.operations();
      TaskGroup group(rig.world.loop(0), 1);
      std::optional<Result<Done>> result;
      {
        const Loop::Turn turn(rig.world.loop(0));
        ASSERT_TRUE(group.try_spawn(
            keep_result(rig.drive->lease_sequences(rig.disk(), Sequence{900}), result)));
      }
      rig.world.run_until([&] { return rig.platter.operations() - before >= cut; },
                          std::chrono::minutes{1});
      rig.crash();
      ASSERT_TRUE(rig.mount().has_value());
      const uint64_t unleased = rig.drive->first_unleased().value;
      EXPECT_TRUE(unleased == 500 || unleased == 900) << unleased;
    }
  }
}

}  // namespace
}  // namespace segue::cache
