// Goal: one life of a drive (format, mount, write, read, purge, flush, retire, mount again) in
// which the nth operation fails, for every n and in every way: once, for ever, or for want of
// space. Method: the life is repeated until n lies behind its end. Whatever failed: no wrong byte,
// no purged slice comes back after an acknowledged purge, nothing hangs; and a drive that works
// again is mounted, and keeps what it is given, without a hand.
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <tuple>

#include "cache/drive_impl.h"
#include "tests/unit/cache/drive_rig.h"

namespace segue::cache {
namespace {

constexpr uint64_t kBytes = 8 * MiB;
constexpr uint64_t kTracks = 6;

struct Purges {
  std::vector<uint64_t> acknowledged;  // numbers of tracks
};

PurgeStatement purge_of(uint64_t number) {
  return {.scope = PurgeScope::Key,
          .soft = false,
          .sequence = Sequence{100 + number},
          .key = DriveRig::key_of(number),
          .prefix = {}};
}

/// Slices that are right; wrong bytes fail the test in get_is_right().
uint32_t read_all(DriveRig& rig) {
  uint32_t right = 0;
  for (uint64_t number = 0; number < kTracks; ++number)
    right += rig.get_is_right(DriveRig::slice_of(number, 10 + number)) ? 1U : 0U;
  return right;
}

/// The whole life; each step may fail. Whether it was mounted at the end.
bool live(DriveRig& rig, Purges& purges) {
  if (!rig.format() || !rig.mount()) return false;
  for (uint64_t number = 0; number < 3; ++number) std::ignore = rig.put(number, 10 + number);
  std::ignore = rig.flush();
  read_all(rig);
  const auto purge = [&](uint64_t number) {
    if (rig.purge(purge_of(number))) purges.acknowledged.push_back(number);
  };
  purge(0);
  for (uint64_t number = 3; number < kTracks; ++number)
    std::ignore = rig.put(number, 10 + number, 0, 100 * KiB);
  purge(3);
  std::ignore = rig.flush();
  read_all(rig);
  std::ignore = rig.run([&] { return rig.drive->lease_sequences(rig.disk(), Sequence{1000}); });
  if (!rig.mount()) return false;
  read_all(rig);
  return true;
}

/// Every acknowledged purge is known to a drive that was mounted anew.
void expect_purges(DriveRig& rig, const Purges& purges, uint64_t nth) {
  const auto statements = rig.drive->purge_statements();
  for (const uint64_t number : purges.acknowledged) {
    EXPECT_TRUE(std::ranges::any_of(
        statements, [&](const PurgeStatement& one) { return one.key == DriveRig::key_of(number); }))
        << "operation " << nth << ": the purge of " << number << " is forgotten";
  }
}

/// The drive works again and the node starts anew. A drive that was never formatted is formatted.
void recover(DriveRig& rig, const Purges& purges, uint64_t nth) {
  rig.platter.heal();
  rig.crash();
  const auto mounted = rig.mount();
  if (!mounted) {
    EXPECT_EQ(mounted.error().side, Side::Disk) << nth;
    EXPECT_TRUE(purges.acknowledged.empty()) << nth << ": it had kept a purge";
    rig.format_and_mount();
  }
  expect_purges(rig, purges, nth);
  read_all(rig);
  EXPECT_FALSE(rig.drive->offline()) << nth;
  ASSERT_TRUE(rig.put(9, 500).has_value()) << nth;
  EXPECT_TRUE(rig.get_is_right(DriveRig::slice_of(9, 500))) << nth;
}

/// DRIVE_SEED=n: another order of completions and other pages of a torn write.
uint64_t first_seed() {
  const char* text = std::getenv("DRIVE_SEED");  // NOLINT(concurrency-mt-unsafe): no other thread
  uint64_t seed = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), seed);
  return seed * 10'000;
}

/// Repeats the life with `plan(platter, nth)` for nth = 1, 2, ...; `count` says how far it came.
template <class Plan, class Count>
uint64_t for_every(Plan plan, Count count) {
  for (uint64_t nth = 1;; ++nth) {
    DriveRig rig(kBytes, first_seed() + nth);
    const uint64_t before = count(rig.platter);
    plan(rig.platter, nth);
    Purges purges;
    const bool alive = live(rig, purges);
    const bool over = count(rig.platter) - before < nth;
    if (over) {  // the fault was still to come
      rig.platter.heal();
      EXPECT_TRUE(alive);
      EXPECT_EQ(purges.acknowledged.size(), 2U);
      EXPECT_EQ(read_all(rig), kTracks);
    }
    recover(rig, purges, nth);
    if (over || ::testing::Test::HasFailure()) return nth;
  }
}

uint64_t operations_of(const testing::Platter& platter) { return platter.operations(); }
uint64_t writes_of(const testing::Platter& platter) { return platter.writes(); }

TEST(DriveMatrix, WhicheverOperationFailsOnceNothingWrongIsServedAndTheDriveGoesOn) {
  const uint64_t tried = for_every(
      [](testing::Platter& platter, uint64_t nth) { platter.fail_operation(nth); }, operations_of);
  EXPECT_GT(tried, 30U);
}

TEST(DriveMatrix, FromWhicheverOperationOnADriveIsDeadItsSlicesAreMissesAndItComesBack) {
  const uint64_t tried =
      for_every([](testing::Platter& platter, uint64_t nth) { platter.fail_from_operation(nth); },
                operations_of);
  EXPECT_GT(tried, 30U);
}

TEST(DriveMatrix, FromWhicheverWriteOnThereIsNoSpaceWhatIsThereIsServedAndNothingIsWrong) {
  const uint64_t tried = for_every(
      [](testing::Platter& platter, uint64_t nth) { platter.fill_up_from_write(nth); }, writes_of);
  EXPECT_GT(tried, 15U);
}

TEST(DriveMatrix, ADriveWithoutSpaceGoesOnServingWhatItHas) {
  DriveRig rig(kBytes);
  rig.format_and_mount();
  for (uint64_t number = 0; number < 3; ++number) ASSERT_TRUE(rig.put(number, 10 + number));
  rig.platter.fill_up_from_write(1);
  const auto refused = rig.put(4, 14);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().os_errno, ENOSPC);
  EXPECT_FALSE(rig.purge(purge_of(0)).has_value());  // not acknowledged
  EXPECT_EQ(read_all(rig), 3U);
}

}  // namespace
}  // namespace segue::cache
