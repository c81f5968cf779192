// Goal: what was prefetched and not asked for takes its share of RAM and no more, earns nothing,
// and becomes like any other slice by one use.
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

class ProbationTest : public StoreTest {
 protected:
  static Store::Options with_share() {
    Store::Options options = small_options();  // 16 buffers of 256 KiB
    options.probation_share = 25;              // 4 of them
    return options;
  }
  ProbationTest() : StoreTest(with_share()) {}

  bool prefetch(const Ref<Generation>& generation, uint32_t slice) {
    auto reservation = store->try_reserve(1, Priority::Prefetch);
    if (!reservation) return false;
    FillPermit permit =
        store->try_start_fill(generation, SliceIndex{slice}, *reservation, Priority::Prefetch);
    if (!permit) return false;
    land(permit, generation->id().value, permit.length());
    std::move(permit).commit(*local);
    return true;
  }
  uint32_t here(const Ref<Generation>& generation) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < generation->slices(); ++i)
      count += where(generation, i) == Where::Resident;
    return count;
  }
  void tick() { clock.advance(std::chrono::seconds{2}); }

  Ref<Generation> asked = install("/asked", 100 * kSliceBytes);
  Ref<Generation> guessed = install("/guessed", 100 * kSliceBytes);
};

TEST_F(ProbationTest, PrefetchedSlicesWithinTheirShareOutliveAskedOnes) {
  for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(prefetch(guessed, i));
  for (uint32_t i = 0; i < 40; ++i) ASSERT_TRUE(fill(asked, i));
  EXPECT_EQ(here(guessed), 4u);
  EXPECT_EQ(here(asked), 12u);
}

TEST_F(ProbationTest, PrefetchedSlicesOverTheirShareLeaveFirstAndOldestFirst) {
  for (uint32_t i = 0; i < 12; ++i) ASSERT_TRUE(fill(asked, i));
  for (uint32_t i = 0; i < 30; ++i) ASSERT_TRUE(prefetch(guessed, i));
  // One more than the share stands while it is being replaced.
  EXPECT_EQ(here(guessed), 5u);
  EXPECT_EQ(here(asked), 11u);
  for (uint32_t i = 25; i < 30; ++i) EXPECT_EQ(where(guessed, i), Where::Resident) << i;
  EXPECT_EQ(store->usage().probation_bytes, uint64_t{5} * kSliceBytes);
  EXPECT_EQ(store->usage().probation_evictions, 25u);
}

TEST_F(ProbationTest, OneUseEndsTheProbation) {
  for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(prefetch(guessed, i));
  tick();
  EXPECT_TRUE(find(guessed, 0).buffer);
  EXPECT_EQ(store->usage().probation_bytes, uint64_t{3} * kSliceBytes);
  for (uint32_t i = 10; i < 26; ++i) ASSERT_TRUE(prefetch(guessed, i));
  EXPECT_EQ(where(guessed, 0), Where::Resident);
  EXPECT_EQ(where(guessed, 1), Where::Absent);
}

TEST_F(ProbationTest, ALookByNobodyIsNoUse) {
  ASSERT_TRUE(prefetch(guessed, 0));
  EXPECT_TRUE(find(guessed, 0, 0).buffer);
  EXPECT_EQ(store->usage().probation_bytes, uint64_t{kSliceBytes});
}

TEST_F(ProbationTest, AUseWhileItIsLandingEndsItToo) {
  auto reservation = store->try_reserve(1, Priority::Prefetch);
  ASSERT_TRUE(reservation.has_value());
  FillPermit permit =
      store->try_start_fill(guessed, SliceIndex{0}, *reservation, Priority::Prefetch);
  ASSERT_TRUE(permit);
  land(permit, 1, 1000);
  EXPECT_TRUE(find(guessed, 0).buffer);
  land(permit, 1, permit.length() - 1000);
  std::move(permit).commit(*local);
  EXPECT_EQ(store->usage().probation_bytes, 0u);
}

TEST_F(ProbationTest, ARevokedSliceIsDroppedUnlessSomebodyAskedOrHoldsIt) {
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(prefetch(guessed, i));
  EXPECT_TRUE(find(guessed, 1).buffer);
  const uint64_t free = store->usage().free[3];
  {
    const auto held = find(guessed, 2, 0);
    EXPECT_FALSE(store->drop_unasked(*guessed, SliceIndex{2}));
  }
  EXPECT_TRUE(store->drop_unasked(*guessed, SliceIndex{0}));
  EXPECT_FALSE(store->drop_unasked(*guessed, SliceIndex{0}));
  EXPECT_FALSE(store->drop_unasked(*guessed, SliceIndex{1}));
  EXPECT_EQ(store->usage().free[3], free + 1);
  EXPECT_EQ(where(guessed, 0), Where::Absent);
  EXPECT_EQ(where(guessed, 1), Where::Resident);
}

TEST_F(ProbationTest, AShareThatChangesHoldsFromTheNextEvictionOn) {
  for (uint32_t i = 0; i < 12; ++i) ASSERT_TRUE(fill(asked, i));
  for (uint32_t i = 0; i < 30; ++i) ASSERT_TRUE(prefetch(guessed, i));
  EXPECT_EQ(here(guessed), 5u);
  store->set_probation_share(50);
  for (uint32_t i = 30; i < 60; ++i) ASSERT_TRUE(prefetch(guessed, i));
  EXPECT_EQ(here(guessed), 9u);
  store->set_probation_share(25);
  EXPECT_EQ(here(guessed), 9u);
  for (uint32_t i = 40; i < 80; ++i) ASSERT_TRUE(fill(asked, i));
  EXPECT_EQ(here(guessed), 4u);
}

TEST_F(ProbationTest, AShareOfMoreThanThreeQuartersIsRefused) {
  Store::Options options = small_options();
  options.probation_share = 75;
  EXPECT_FALSE(options.invalid());
  options.probation_share = 76;
  EXPECT_TRUE(options.invalid());
}

}  // namespace
}  // namespace segue::cache::test
