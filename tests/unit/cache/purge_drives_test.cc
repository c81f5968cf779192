// A purge and several drives: it is acknowledged when every drive in use keeps it, and a drive that
// could not keep it never brings back what was purged.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "cache/drive.h"
#include "cache/local_store.h"
#include "tests/support/fault_disk.h"
#include "tests/support/sim_loop.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

using segue::testing::FaultDisk;
using segue::testing::Platter;
using segue::testing::SimWorld;

constexpr uint64_t kDriveBytes = 64 * MiB;
constexpr size_t kDrives = 2;

template <class T>
Task<void> keep(Task<T> task, std::optional<T>& into) {
  into.emplace(co_await std::move(task));
}

class PurgeDrivesTest : public ::testing::Test {
 protected:
  PurgeDrivesTest() {
    std::vector<std::unique_ptr<Drive>> drives;
    std::vector<Disk*> doors;
    for (size_t i = 0; i < kDrives; ++i) {
      disks[i] = std::make_unique<FaultDisk>(world.loop(0), *platters[i]);
      EXPECT_TRUE(run([&] {
                    return Drive::format(*disks[i], {.size_bytes = kDriveBytes,
                                                     .hash_seed = 42,
                                                     .device_id = 7 + i,
                                                     .membership_epoch = 1,
                                                     .shares = {}});
                  }).has_value());
      auto drive = run([&] { return Drive::mount(*disks[i], {}, world.clock()); });
      EXPECT_TRUE(drive.has_value());
      drives.push_back(std::move(*drive));
      doors.push_back(disks[i].get());
    }
    Store::Options options;
    options.ram_bytes = 5 * MiB;
    options.huge_pages = false;
    store = std::move(*Store::create(options, codec, world.clock(), std::move(drives)));
    local = std::make_unique<LocalStore>(*store, world.loop(0), doors);
    EXPECT_TRUE(run([&] { return upkeep(); }).has_value());
  }
  ~PurgeDrivesTest() override {
    for (auto& platter : platters) {
      platter->options().hang_one_in = 0;
      platter->release_hung();
    }
    EXPECT_TRUE(run([&] { return drain(); }).has_value());
  }

  Task<Result<Done>> upkeep() {
    co_await local->upkeep();
    co_return Done{};
  }
  Task<Result<Done>> drain() {
    co_await local->drain();
    co_return Done{};
  }
  template <class Make>
  std::invoke_result_t<Make>::Value run(Make make) {
    std::optional<typename std::invoke_result_t<Make>::Value> result;
    TaskGroup group(world.loop(0), 1);
    {
      const Loop::Turn turn(world.loop(0));
      SEGUE_ASSERT(group.try_spawn(keep(make(), result)));
    }
    SEGUE_ASSERT(world.run_until([&] { return group.running() == 0; }, std::chrono::minutes{1}));
    return std::move(*result);
  }
  Result<Done> purge_everything() {
    PurgeStatement statement;
    statement.scope = PurgeScope::Everything;
    statement.sequence = store->next_sequence();
    return run([&] { return local->purge(statement, false); });
  }
  /// No operation of the drive completes from here on.
  void hang(size_t i) { platters[i]->options().hang_one_in = 1; }
  const Drive& drive(size_t i) const { return *store->drives()[i]; }

  SimWorld world{1, 1};
  std::array<std::unique_ptr<Platter>, kDrives> platters{
      std::make_unique<Platter>(1, testing::FaultOptions{.size_bytes = kDriveBytes}),
      std::make_unique<Platter>(2, testing::FaultOptions{.size_bytes = kDriveBytes})};
  std::array<std::unique_ptr<FaultDisk>, kDrives> disks;
  TextCodec codec;
  std::unique_ptr<Store> store;
  std::unique_ptr<LocalStore> local;
};

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
  EXPECT_EQ(local->counters().drive_hangs.get(), 1U);
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
      ASSERT_TRUE(group.try_spawn(keep(local->purge(statement, false), result)));
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
