// Goal: a drive that turns slow or is pulled costs its own slices only, and comes back by itself
// when it works again: with what it held, or empty where a purge was made without it; never as
// another drive. Method: two drives, two loops, faults as planned.
#include <cerrno>

#include "cache/superblock.h"
#include "tests/unit/cache/drives_fixture.h"

namespace segue::cache::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kGood = 0;
constexpr size_t kOdd = 1;  // the drive that faults

class DriveReturnTest : public DrivesTest {
 protected:
  /// Tracks of one slice, more than RAM holds, on their drives; all that is done is durable.
  DriveReturnTest() {
    for (int i = 0; i < 60; ++i) add_track("/t/" + std::to_string(i));
    keep_up(12);
    EXPECT_GE(tracks_of(kGood).size(), 18U);
    EXPECT_GE(tracks_of(kOdd).size(), 18U);
  }

  void add_track(const std::string& text) {
    const KeyHash key = store->hash(text);
    auto permit = store->try_start_contact(key);
    ASSERT_TRUE(permit.has_value());
    auto generation = make_ref<Generation>(key, text, permit->sequence(), kSliceBytes);
    ASSERT_TRUE(store->commit(std::move(*permit),
                              {{generation, make_ref<TextFacts>("f")}, {}, /*ram_only=*/false}));
    generations.push_back(generation);
    fill(generation);
  }
  void fill(const Ref<Generation>& generation) {
    {
      const Loop::Turn turn(world.loop(0));
      auto reservation = store->try_reserve(1, Priority::Demand);
      ASSERT_TRUE(reservation.has_value());
      FillPermit permit = store->try_start_fill(generation, SliceIndex{0}, *reservation);
      ASSERT_TRUE(permit);
      land_bytes(permit, generation->id().value, permit.length());
      std::move(permit).commit(*locals[0]);
    }
    world.run_for(milliseconds{20});
  }
  /// Those that only the drive has.
  std::vector<Ref<Generation>> tracks_of(size_t drive_number) const {
    std::vector<Ref<Generation>> found;
    for (const auto& generation : generations) {
      if (generation->drive() == drive_number && where(generation) == Where::OnDrive)
        found.push_back(generation);
    }
    return found;
  }
  [[nodiscard]] Where where(const Ref<Generation>& generation) const {
    return store->where(*generation, SliceIndex{0});
  }
  /// Whether the slice comes from its drive within `limit`, with the right bytes.
  bool reads(const Ref<Generation>& generation, milliseconds limit = milliseconds{100},
             uint32_t loop = 0) {
    {
      const Loop::Turn turn(world.loop(loop));
      if (!locals[loop]->start_read(generation, SliceIndex{0}, UseId{9})) return false;
    }
    const auto is_here = [&] { return where(generation) == Where::Resident; };
    if (!world.run_until(is_here, limit)) return false;
    const Found found = store->find(*generation, SliceIndex{0}, UseId{9});
    const auto bytes = found.buffer.landed();
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] != byte_at(generation->id().value, i)) {
        ADD_FAILURE() << "WRONG BYTES of " << generation->key_text() << " at " << i;
        return false;
      }
    }
    return bytes.size() == kSliceBytes;
  }
  void slow_down(std::chrono::nanoseconds latency) {
    platters[kOdd]->options().latency_min = platters[kOdd]->options().latency_max = latency;
  }
  /// Reads of the odd drive until it is given up, one at a time as clients that wait in turn.
  void wear_out() {
    for (const auto& generation : tracks_of(kOdd)) {
      if (drive(kOdd).offline()) return;
      (void)reads(generation, milliseconds{300});
    }
    EXPECT_TRUE(drive(kOdd).offline());
  }
  [[nodiscard]] bool is_closed_on_every_loop(size_t number) const {
    return disks[0][number]->is_closed() && disks[1][number]->is_closed();
  }
  uint64_t times_back() const { return drive(kOdd).counters().returns.load(); }

  std::vector<Ref<Generation>> generations;
};

TEST_F(DriveReturnTest, ASlowDriveCostsItsOwnSlicesOnlyAndIsGivenUp) {
  slow_down(seconds{2});
  const auto slow = tracks_of(kOdd);
  const auto good = tracks_of(kGood);
  uint32_t asked = 0;
  for (const auto& generation : slow) {
    if (drive(kOdd).offline()) break;
    {
      const Loop::Turn turn(world.loop(0));
      ASSERT_TRUE(locals[0]->start_read(generation, SliceIndex{0}, UseId{9}).has_value());
    }
    ++asked;
    // Meanwhile the other drive answers as ever.
    EXPECT_TRUE(reads(good[asked % good.size()], milliseconds{5}) ||
                where(good[asked % good.size()]) == Where::Resident);
    world.run_for(kDriveHangTimeout);
    EXPECT_EQ(where(generation), Where::Absent) << "its readers go to the origin";
  }
  EXPECT_EQ(asked, 16U);  // errors_to_offline
  EXPECT_TRUE(drive(kOdd).offline());
  EXPECT_FALSE(drive(kGood).offline());
  // From now on a miss at once.
  EXPECT_EQ(where(slow.back()), Where::Absent);
  EXPECT_EQ(locals[0]->counters().drive_hangs.get(), 16U);
}

TEST_F(DriveReturnTest, ADriveThatIsFastAgainComesBackWithWhatItHeld) {
  slow_down(seconds{2});
  const auto held = tracks_of(kOdd);
  wear_out();
  slow_down(milliseconds{1});
  keep_up(12);
  EXPECT_FALSE(drive(kOdd).offline());
  EXPECT_EQ(times_back(), 1U);
  uint32_t right = 0;
  for (const auto& generation : held) right += reads(generation) ? 1U : 0U;
  EXPECT_EQ(right, held.size());
  EXPECT_FALSE(drive(kOdd).offline());
}

TEST_F(DriveReturnTest, ASlowDriveStaysAwayAndIsLookedAtLessAndLess) {
  slow_down(seconds{2});
  wear_out();
  keep_up(5);
  const uint64_t before = platters[kOdd]->operations();
  keep_up(35);
  const uint64_t first = platters[kOdd]->operations() - before;
  keep_up(300);
  EXPECT_TRUE(drive(kOdd).offline());
  EXPECT_LE(first, 8U);
  EXPECT_LE(platters[kOdd]->operations() - before, 16U);
}

TEST_F(DriveReturnTest, ADrivePulledAndPutBackIsClosedAndOpenedAnewByEveryLoop) {
  platters[kOdd]->set_lost(true);
  const auto held = tracks_of(kOdd);
  wear_out();
  keep_up(20);
  EXPECT_TRUE(drive(kOdd).offline());
  EXPECT_TRUE(is_closed_on_every_loop(kOdd)) << "what lies below could not be unmounted";
  EXPECT_FALSE(is_closed_on_every_loop(kGood));
  platters[kOdd]->set_lost(false);
  keep_up(40);
  EXPECT_FALSE(drive(kOdd).offline());
  uint32_t tried = 0;
  uint32_t right = 0;
  for (const auto& generation : held) {
    if (where(generation) != Where::OnDrive) continue;  // its read failed when the drive was away
    right += reads(generation, milliseconds{100}, ++tried % kLoops) ? 1U : 0U;
  }
  EXPECT_GE(tried, 3U);
  EXPECT_EQ(right, tried);
  EXPECT_TRUE(purge_everything(1).has_value());
  EXPECT_EQ(drive(kGood).membership_epoch(), drive(kOdd).membership_epoch());
}

TEST_F(DriveReturnTest, ADriveThatMissedAPurgeComesBackEmptyAndTakesSlicesAgain) {
  platters[kOdd]->set_lost(true);
  wear_out();
  const auto held = tracks_of(kOdd);
  ASSERT_TRUE(purge_everything().has_value());
  platters[kOdd]->set_lost(false);
  keep_up(20);
  ASSERT_FALSE(drive(kOdd).offline());
  EXPECT_EQ(drive(kOdd).usage().payload_bytes, 0U);
  EXPECT_EQ(drive(kOdd).membership_epoch(), drive(kGood).membership_epoch());
  for (int i = 0; i < 20; ++i) add_track("/new/" + std::to_string(i));
  EXPECT_GT(drive(kOdd).usage().payload_bytes, 0U);
}

TEST_F(DriveReturnTest, StatementsAreRetiredThoughTheDriveThatMissedThemStaysAway) {
  platters[kOdd]->set_lost(true);
  wear_out();
  ASSERT_TRUE(purge_everything().has_value());
  ASSERT_FALSE(drive(kGood).purge_statements().empty());
  keep_up(30);
  EXPECT_TRUE(drive(kOdd).offline());
  EXPECT_TRUE(drive(kGood).purge_statements().empty());
}

TEST_F(DriveReturnTest, AnotherDriveInItsPlaceStaysOut) {
  store->drives()[kOdd]->set_offline("pulled");
  keep_up(1);
  ASSERT_TRUE(run([&] { return disks[0][kOdd]->reopen(); }).has_value());
  ASSERT_TRUE(run([&] { return format(kOdd, 99); }).has_value());
  keep_up(60);
  EXPECT_TRUE(drive(kOdd).offline());
  EXPECT_EQ(times_back(), 0U);
}

TEST_F(DriveReturnTest, ADriveThatAnotherNodeHasWrittenStaysOut) {
  store->drives()[kOdd]->set_offline("pulled");
  keep_up(1);
  {
    FaultDisk elsewhere(world.loop(0), *platters[kOdd]);
    auto other = run([&] { return Drive::mount(elsewhere, {}, world.clock()); });
    ASSERT_TRUE(other.has_value());
    const Sequence end{(*other)->first_unleased().value + 1000};
    ASSERT_TRUE(run([&] { return (*other)->lease_sequences(elsewhere, end); }).has_value());
  }
  keep_up(60);
  EXPECT_TRUE(drive(kOdd).offline());
}

TEST_F(DriveReturnTest, NothingIsTriedWhileAnOperationHangs) {
  const auto held = tracks_of(kOdd);
  platters[kOdd]->hang_operation(1);
  EXPECT_FALSE(reads(held.front(), milliseconds{300}, 1));
  store->drives()[kOdd]->set_offline("hangs");
  keep_up(60);
  EXPECT_TRUE(drive(kOdd).offline());  // the kernel may still write into its buffer
  EXPECT_FALSE(disks[1][kOdd]->is_closed());
  platters[kOdd]->release_hung();
  keep_up(60);
  EXPECT_FALSE(drive(kOdd).offline());
  EXPECT_TRUE(reads(held.back()));
}

TEST_F(DriveReturnTest, ADriveThatFailsAgainAndAgainIsTakenBackLaterEachTime) {
  uint32_t returns_in_time = 0;
  for (int i = 0; i < 4; ++i) {
    store->drives()[kOdd]->set_offline("loose");
    keep_up(7);
    if (!drive(kOdd).offline()) ++returns_in_time;
    keep_up(60);
    EXPECT_FALSE(drive(kOdd).offline());
  }
  EXPECT_EQ(returns_in_time, 1U);  // the first
}

TEST_F(DriveReturnTest, WhicheverOperationOfTheReturnFailsItComesBackLater) {
  const auto held = tracks_of(kOdd);
  for (uint64_t nth = 1; nth < 30; ++nth) {
    store->drives()[kOdd]->set_offline("pulled");
    platters[kOdd]->fail_operation(nth);
    for (int i = 0; i < 30 && drive(kOdd).offline(); ++i) keep_up(50);
    platters[kOdd]->heal();
    ASSERT_FALSE(drive(kOdd).offline()) << nth;
    keep_up(601);  // forgiven
  }
  uint32_t right = 0;
  for (const auto& generation : held) right += reads(generation) ? 1U : 0U;
  EXPECT_EQ(right, held.size());
}

}  // namespace
}  // namespace segue::cache::test
