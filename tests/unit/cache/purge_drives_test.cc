// A purge and several drives: it is acknowledged when every drive in use keeps it, and a drive that
// could not keep it never brings back what was purged.
#include "tests/unit/cache/drives_fixture.h"

namespace segue::cache::test {
namespace {

class PurgeDrivesTest : public DrivesTest {};

TEST_F(PurgeDrivesTest, WithEveryDriveInUseTheMembershipStaysAsItIs) {
  EXPECT_TRUE(purge_everything().has_value());
  EXPECT_EQ(drive(0).membership_epoch(), 1);
  EXPECT_EQ(drive(1).membership_epoch(), 1);
}

TEST_F(PurgeDrivesTest, ADriveThatIsOfflineIsLeftBehindOnceAndComesBackEmpty) {
  store->drives()[1]->set_offline("pulled");
  EXPECT_TRUE(purge_everything().has_value());
  EXPECT_EQ(drive(0).membership_epoch(), 2);
  EXPECT_EQ(drive(1).membership_epoch(), 1);
  EXPECT_TRUE(purge_everything().has_value());
  EXPECT_EQ(drive(0).membership_epoch(), 2);
}

TEST_F(PurgeDrivesTest, ADriveThatCannotKeepAPurgeIsTakenOutOfUseBeforeItIsAcknowledged) {
  platters[1]->set_lost(true);
  EXPECT_TRUE(purge_everything().has_value());
  EXPECT_FALSE(drive(0).offline());
  EXPECT_TRUE(drive(1).offline());
  EXPECT_GT(drive(0).membership_epoch(), drive(1).membership_epoch());
}

TEST_F(PurgeDrivesTest, ADriveWhoseJournalWriteHangsIsTakenOutOfUseAndTheOtherKeepsThePurge) {
  hang(1);
  EXPECT_TRUE(purge_everything().has_value());
  EXPECT_FALSE(drive(0).offline());
  EXPECT_TRUE(drive(1).offline());
  EXPECT_GT(drive(0).membership_epoch(), drive(1).membership_epoch());
  EXPECT_EQ(locals[0]->counters().drive_hangs.get(), 1U);
  EXPECT_EQ(platters[1]->hung(), 1U);  // and still holds what it holds
  EXPECT_TRUE(purge_everything().has_value());
  EXPECT_EQ(platters[1]->hung(), 1U);
}

TEST_F(PurgeDrivesTest, WhereEveryJournalWriteHangsPurgesAreAnsweredAnErrorInBoundedTime) {
  for (size_t i = 0; i < kDrives; ++i) hang(i);
  const MonoTime began = world.clock().mono();
  const auto first = purge_everything();
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().side, Side::Disk);
  EXPECT_LE(world.clock().mono() - began,
            kDrives * kDriveWriteHangTimeout + std::chrono::seconds{1});
  EXPECT_TRUE(drive(0).offline());
  EXPECT_TRUE(drive(1).offline());
  EXPECT_FALSE(purge_everything().has_value());  // at once: no drive is in use
}

TEST_F(PurgeDrivesTest, PurgesBehindTheOneThatHangsAreAnsweredToo) {
  for (size_t i = 0; i < kDrives; ++i) hang(i);
  std::array<std::optional<Result<Done>>, 3> results;
  TaskGroup group(world.loop(0), results.size());
  {
    const Loop::Turn turn(world.loop(0));
    for (auto& result : results) {
      PurgeStatement statement;
      statement.scope = PurgeScope::Everything;
      ASSERT_TRUE(group.try_spawn(keep(locals[0]->purge(statement, false), result)));
    }
  }
  ASSERT_TRUE(world.run_until([&] { return group.running() == 0; }, std::chrono::minutes{1}));
  for (const auto& result : results) EXPECT_FALSE(result->has_value());
}

TEST_F(PurgeDrivesTest, UpkeepGoesOnWhenTheFlushOfOneDriveHangs) {
  hang(1);
  world.run_for(std::chrono::seconds{6});
  EXPECT_TRUE(run([&] { return upkeep(); }).has_value());
  EXPECT_FALSE(drive(0).offline());
  EXPECT_TRUE(drive(1).offline());
  EXPECT_TRUE(run([&] { return upkeep(); }).has_value());
}

TEST_F(PurgeDrivesTest, SequencesAreLeasedFromTheOtherDriveWhenASuperblockWriteHangs) {
  const uint64_t before = drive(0).first_unleased().value;
  while (store->next_sequence().value + 1 < before) {
  }
  hang(1);
  EXPECT_TRUE(run([&] { return upkeep(); }).has_value());
  EXPECT_TRUE(drive(1).offline());
  EXPECT_GT(drive(0).first_unleased().value, before);
}

TEST_F(PurgeDrivesTest, AWriteThatCompletesAfterAllIsNoHarmAndItsDriveStaysOut) {
  hang(1);
  EXPECT_TRUE(purge_everything().has_value());
  platters[1]->options().hang_one_in = 0;
  platters[1]->release_hung();
  world.run_for(std::chrono::seconds{1});
  EXPECT_EQ(platters[1]->in_flight(), 0U);
  EXPECT_TRUE(drive(1).offline());
  EXPECT_TRUE(purge_everything().has_value());
}

TEST_F(PurgeDrivesTest, WhereNoDriveCanKeepItThePurgeIsRefused) {
  for (auto& platter : platters) platter->set_lost(true);
  EXPECT_FALSE(purge_everything().has_value());
}

}  // namespace
}  // namespace segue::cache::test
