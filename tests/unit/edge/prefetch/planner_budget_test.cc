// Goal: within which budget it is fetched, what stands aside for demand, and when what had to wait
// comes again.
#include "tests/unit/edge/prefetch/planner_fixture.h"

namespace segue::edge::test {
namespace {

TEST_F(PlannerTest, NoMoreOrdersAtOnceThanAllowed) {
  make({.orders_max = 2});
  set(1, 1, {entry(10), entry(11), entry(12)});
  EXPECT_EQ(orders().size(), 2u);
  finish();
  EXPECT_EQ(orders().size(), 1u);
}

TEST_F(PlannerTest, BytesPerSecondAreKept) {
  make({.bytes_per_second = 256 * KiB, .orders_max = 100});
  std::vector<PlanEntry> next;
  for (TrackId track = 1; track <= 10; ++track) next.push_back(entry(track));
  set(1, 1, next);
  EXPECT_EQ(orders().size(), 2u);  // the burst: two seconds of it
  finish();
  now += 1s;
  EXPECT_EQ(orders().size(), 1u);
  now += 60s;
  EXPECT_EQ(orders().size(), 2u);  // a pause earns no more than the burst
}

TEST_F(PlannerTest, WithoutABudgetNothingBegins) {
  make({.bytes_per_second = 0});
  set(1, 1, {entry(1)});
  EXPECT_TRUE(orders().empty());
  now += 60s;
  EXPECT_TRUE(orders().empty());
  EXPECT_EQ(planner->wake_at(now), now + 540s);  // for the plan's end only
}

TEST_F(PlannerTest, BytesPerDayAreKeptAndADayLaterThereAreNewOnes) {
  make({.bytes_per_day = 512 * KiB});
  set(1, 1, {entry(10), entry(11), entry(12)}, 86400s);
  EXPECT_EQ(orders().size(), 2u);
  finish();
  now += 1h;
  EXPECT_TRUE(orders().empty());
  now += 23h;
  set(1, 2, {entry(13)});
  EXPECT_EQ(orders().size(), 1u);
}

TEST_F(PlannerTest, BytesHeldForNobodyAreBoundedUntilTheyAreAskedFor) {
  make({.held_bytes_max = 512 * KiB});
  set(1, 1, {entry(10), entry(11), entry(12)});
  EXPECT_EQ(orders(), (std::vector<TrackId>{10, 11}));
  finish();
  EXPECT_TRUE(orders().empty());
  ask(10);
  EXPECT_EQ(orders(), std::vector<TrackId>{12});
}

TEST_F(PlannerTest, TheSlicesThatLandAreWhatIsCountedNotTheBytesThatAreWanted) {
  make({.held_bytes_max = 3 * kSliceBytes, .bytes_per_day = 5 * kSliceBytes});
  set(1, 1, {entry(10, 1, 0s, kSliceBytes + 1), entry(11, 1, 0s, kSliceBytes + 1)});
  EXPECT_EQ(orders(), std::vector<TrackId>{10});  // not four slices of three
  EXPECT_EQ(planner->gauges().held_bytes, 2 * kSliceBytes);
  planner->landed(running[0].id, 2 * kSliceBytes);
  planner->ended(std::exchange(running, {})[0].id, Planner::End::Complete, now);
  EXPECT_EQ(planner->gauges().held_bytes, 2 * kSliceBytes);
  ask(10, {0, 2 * kSliceBytes});
  EXPECT_EQ(orders(), std::vector<TrackId>{11});
  EXPECT_EQ(planner->gauges().bytes_today, 4 * kSliceBytes);
}

TEST_F(PlannerTest, ATailMayLieAcrossABorderOfSlices) {
  make({.held_bytes_max = 2 * kSliceBytes + 64 * KiB});
  PlanEntry with_tail = entry(10);
  with_tail.tail_bytes = 64 * KiB;
  set(1, 1, {with_tail});
  EXPECT_EQ(orders().size(), 1u);
  EXPECT_EQ(planner->gauges().held_bytes, 2 * kSliceBytes + 64 * KiB - 1);
  planner->landed(running[0].id, kSliceBytes + 100);  // it did not
  planner->ended(std::exchange(running, {})[0].id, Planner::End::Complete, now);
  EXPECT_EQ(planner->gauges().held_bytes, kSliceBytes + 100);
}

TEST_F(PlannerTest, WhatIsMoreThanMayBeHeldIsPassedOver) {
  make({.held_bytes_max = 2 * kSliceBytes});
  set(1, 1, {entry(10, 1, 0s, 2 * kSliceBytes + 1), entry(11, 0.1)});
  EXPECT_EQ(orders(), std::vector<TrackId>{11});
}

TEST_F(PlannerTest, AHeadThatTurnsOutLongerIsTakenWhereTheBudgetsHaveRoom) {
  make({.held_bytes_max = 4 * kSliceBytes, .bytes_per_day = 6 * kSliceBytes});
  PlanEntry guessed = entry(10);
  guessed.head_is_guess = true;
  set(1, 1, {guessed});
  ASSERT_EQ(orders().size(), 1u);
  EXPECT_FALSE(planner->refine(running[0].id, 4 * kSliceBytes + 1, 0));
  EXPECT_EQ(planner->gauges().held_bytes, kSliceBytes) << "it stays what was ordered";
  EXPECT_FALSE(planner->refine(running[0].id, 3 * kSliceBytes, 64 * KiB));
  EXPECT_TRUE(planner->refine(running[0].id, 4 * kSliceBytes, 0));
  EXPECT_EQ(planner->gauges().held_bytes, 4 * kSliceBytes);
  EXPECT_EQ(planner->gauges().bytes_today, 4 * kSliceBytes);
  planner->landed(running[0].id, 4 * kSliceBytes);
  planner->ended(std::exchange(running, {})[0].id, Planner::End::Complete, now);
  ask(10, {0, 4 * kSliceBytes});
  guessed.track = 11;
  set(1, 2, {guessed});
  ASSERT_EQ(orders().size(), 1u);
  EXPECT_FALSE(planner->refine(running[0].id, 3 * kSliceBytes, 0)) << "of the day's are two left";
  EXPECT_TRUE(planner->refine(running[0].id, 2 * kSliceBytes, 0));
}

TEST_F(PlannerTest, PausedItBeginsNothing) {
  set(1, 1, {entry(10)});
  planner->pause(true);
  EXPECT_TRUE(orders().empty());
  planner->pause(false);
  EXPECT_EQ(orders().size(), 1u);
}

TEST_F(PlannerTest, WhatStoodAsideForDemandComesAgain) {
  set(1, 1, {entry(10)});
  ASSERT_EQ(orders(), std::vector<TrackId>{10});
  planner->landed(running[0].id, 64 * KiB);
  finish(Planner::End::Stopped);
  EXPECT_EQ(planner->gauges().held_bytes, 64 * KiB);
  ASSERT_EQ(orders(), std::vector<TrackId>{10});
  planner->landed(running[0].id, 192 * KiB);  // the rest of it
  planner->ended(std::exchange(running, {})[0].id, Planner::End::Complete, now);
  EXPECT_TRUE(orders().empty());
  EXPECT_EQ(score().fetched.get(), 1u);
  EXPECT_EQ(planner->gauges().held_bytes, 256 * KiB);
  ask(10, {0, 256 * KiB});
  EXPECT_EQ(score().used.get(), 1u);
  EXPECT_EQ(score().bytes_used.get(), 256 * KiB);
}

TEST_F(PlannerTest, WhatStoodAsideWhenAllOfItHadLandedCountsAsFetched) {
  set(1, 1, {entry(10)});
  ASSERT_EQ(orders().size(), 1u);
  planner->landed(running[0].id, 256 * KiB);
  finish(Planner::End::Stopped);
  ASSERT_EQ(orders().size(), 1u);
  planner->ended(std::exchange(running, {})[0].id, Planner::End::Complete, now);
  EXPECT_EQ(score().fetched.get(), 1u);
  EXPECT_EQ(score().already_here.get(), 0u);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, WhatFoundNoRoomComesAgainLaterAndLater) {
  set(1, 1, {entry(10)}, 86400s);
  milliseconds rest = kRefusedRest;
  for (uint32_t refusals = 1; refusals <= kRefusedRestDoublings + 3; ++refusals) {
    ASSERT_EQ(orders(), std::vector<TrackId>{10});
    finish(Planner::End::Refused);
    EXPECT_TRUE(orders().empty());
    EXPECT_EQ(score().refused.get(), refusals);
    ASSERT_EQ(planner->wake_at(now), now + rest);
    now += rest - 1ms;
    EXPECT_TRUE(orders().empty());
    now += 1ms;
    if (refusals <= kRefusedRestDoublings) rest *= 2;
  }
  EXPECT_EQ(orders(), std::vector<TrackId>{10});
  finish();
  EXPECT_EQ(score().fetched.get(), 1u);
  EXPECT_EQ(score().failed.get(), 0u);
  EXPECT_EQ(score().planned.get(), 1u);
}

TEST_F(PlannerTest, WhatFoundNoRoomLetsOthersGoAndMayBeRevokedMeanwhile) {
  make({.orders_max = 1});
  set(1, 1, {entry(10, 1), entry(11, 0.5)});
  ASSERT_EQ(orders(), std::vector<TrackId>{10});
  finish(Planner::End::Refused);
  EXPECT_EQ(orders(), std::vector<TrackId>{11});
  planner->cancel(1, 2, now);
  finish();
  EXPECT_EQ(planner->gauges().candidates, 0u);
  now += 10s;
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, WhatADemandTookOverDoesNotComeAgain) {
  set(1, 1, {entry(10)});
  ASSERT_EQ(orders().size(), 1u);
  ask(10, {0, 1 * MiB}, 0, false);
  finish(Planner::End::Stopped);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, WhatTheBudgetHoldsBackIsWokenForByTime) {
  make({.bytes_per_second = 256 * KiB, .orders_max = 100});
  // Every head costs more than a second's budget and less than the bucket holds.
  set(1, 1,
      {entry(10, 1, 0s, 384 * KiB), entry(11, 1, 0s, 384 * KiB), entry(12, 1, 0s, 384 * KiB)});
  std::vector<TrackId> fetched;
  for (;;) {
    for (const TrackId track : orders()) fetched.push_back(track);
    finish();
    if (fetched.size() == 3) break;
    now = planner->wake_at(now);
    ASSERT_LT(now, MonoTime{1h} + 10s);
  }
}

TEST_F(PlannerTest, AHeadBehindARestThatWaitsForRoomIsWokenForByTime) {
  make({.bytes_per_second = 1 * MiB, .held_bytes_max = 3 * MiB, .rest_bytes_max = 1 * MiB});
  set(1, 1, {entry(1)});
  set(2, 1, {entry(2)});
  ASSERT_EQ(orders().size(), 2u);
  finish();
  for (const uint64_t session : {1U, 2U}) {
    ask(session, {0, 256 * KiB}, session);
    ask(session, {256 * KiB, 512 * KiB}, session);  // beyond the head: the rest is wanted
  }
  ASSERT_EQ(orders().size(), 1u);  // of two rests: the share of them is 1.5 MiB
  finish();
  set(3, 1, {entry(3, 1, 0s, 1792 * KiB)});
  now += 500ms;  // enough for the rest that waits, not for the head behind it
  EXPECT_TRUE(orders().empty());
  const MonoTime wake = planner->wake_at(now);
  EXPECT_LT(wake, now + 1s);
  now = wake;
  EXPECT_EQ(orders(), std::vector<TrackId>{3});
}

TEST_F(PlannerTest, ADaysBudgetSpentIsWokenForAtTheDaysEnd) {
  make({.bytes_per_day = 256 * KiB});
  set(1, 1, {entry(10), entry(11)}, 2 * 86400s);
  EXPECT_EQ(orders().size(), 1u);
  finish();
  EXPECT_TRUE(orders().empty());
  now = planner->wake_at(now);
  EXPECT_EQ(now, MonoTime{25h});
  EXPECT_EQ(orders().size(), 1u);
}

}  // namespace
}  // namespace segue::edge::test
