// Goal: which plans are taken, what revokes them, and how much memory they may have.
#include "tests/unit/edge/prefetch/planner_fixture.h"

namespace segue::edge::test {
namespace {

TEST_F(PlannerTest, OldAndRepeatedRevisionsAreIgnored) {
  EXPECT_TRUE(set(1, 5, {entry(10)}));
  EXPECT_FALSE(set(1, 5, {entry(11)}));
  EXPECT_FALSE(set(1, 4, {entry(12)}));
  planner->cancel(1, 5, now);
  EXPECT_EQ(orders(), std::vector<TrackId>{10});
  EXPECT_EQ(score().ignored.get(), 3u);
}

TEST_F(PlannerTest, WhoIsNotItsListenerChangesNothingOfASessionsPlan) {
  const std::vector<PlanEntry> next = {entry(10), entry(11, 1, 60s)};
  const auto play_elsewhere = [&](uint64_t listener, uint64_t subject) {
    make({});
    EXPECT_TRUE(planner->set(
        {.session = 1, .revision = 1, .listener = listener, .until = now + 600s, .next = next},
        now));
    planner->see({.track = 99, .session = 1, .subject = subject, .range = {0, 1 * MiB}}, now);
    return planner->gauges().candidates;
  };
  EXPECT_EQ(play_elsewhere(7, 8), 2u);
  EXPECT_EQ(play_elsewhere(7, 7), 1u);  // due so soon, it was passed over
  EXPECT_EQ(play_elsewhere(7, 0), 1u);  // no token says who it is
  EXPECT_EQ(play_elsewhere(0, 8), 1u);  // the feed does not
}

TEST_F(PlannerTest, ANewRevisionRevokesWhatItDoesNotName) {
  set(1, 1, {entry(10), entry(11)});
  EXPECT_EQ(orders(), (std::vector<TrackId>{10, 11}));
  set(1, 2, {entry(11), entry(12)});
  const auto stopped = planner->take_stopped();
  ASSERT_EQ(stopped.size(), 1u);
  EXPECT_EQ(stopped[0], running[0].id);
  planner->landed(running[0].id, 1000);
  planner->ended(running[0].id, Planner::End::Stopped, now);
  EXPECT_EQ(score().unused_revoked.get(), 1u);
  EXPECT_EQ(score().bytes_wasted.get(), 1000u);
  EXPECT_EQ(orders(), std::vector<TrackId>{12});
}

TEST_F(PlannerTest, WhatPlaysNowIsNotRevoked) {
  set(1, 1, {entry(10)});
  orders();
  finish();
  set(1, 2, {entry(11)}, 600s, 10);
  EXPECT_EQ(score().unused_revoked.get(), 0u);
  ask(10);
  EXPECT_EQ(score().used.get(), 1u);
}

TEST_F(PlannerTest, MemoryBoundsPlansAndAnotherListenersPlanFitsOnceOneIsGone) {
  const uint64_t each = kPlanSessionBytes + kPlanCandidateBytes;
  make({.memory_max = (10 * each / 3 + 1) * 4});
  for (uint64_t session = 1; session <= 10; ++session)
    ASSERT_TRUE(set(session, 1, {entry(session)}));
  EXPECT_EQ(planner->gauges().memory_bytes, 10 * each);
  EXPECT_FALSE(set(11, 1, {entry(11)}));
  EXPECT_EQ(score().ignored.get(), 1u);
  EXPECT_TRUE(set(1, 2, {entry(12)}));  // instead of what this listener had
  EXPECT_EQ(planner->gauges().candidates, 10u);
  planner->cancel(1, 3, now);
  EXPECT_TRUE(set(11, 1, {entry(11)}));
  EXPECT_EQ(planner->gauges().memory_bytes, 10 * each);
}

TEST_F(PlannerTest, MemoryBoundsTheCandidatesOfOneSession) {
  make({.memory_max = (kPlanSessionBytes + 2 * kPlanCandidateBytes) / 3 * 4 + 4});
  EXPECT_TRUE(set(1, 1, {entry(1), entry(2), entry(3)}));
  EXPECT_EQ(planner->gauges().candidates, 2u);
  EXPECT_EQ(score().ignored.get(), 1u);
}

TEST_F(PlannerTest, TextsOfTargetsAreMemoryUntilTheLastWhoHoldsThemIsGone) {
  TargetBytes texts;
  planner = std::make_unique<Planner>(Planner::Options{.memory_max = 16 * KiB}, scores, &texts);
  const auto named = [&](TrackId track) {
    PlanEntry one = entry(track);
    one.target =
        make_ref<PrefetchTarget>(Ref<const Site>(), KeyHash{}, std::string(4000, 'x'), &texts);
    return one;
  };
  EXPECT_TRUE(set(1, 1, {named(1)}));
  EXPECT_TRUE(set(2, 1, {named(2)}));
  EXPECT_FALSE(set(3, 1, {named(3)}));
  EXPECT_GT(planner->gauges().memory_bytes, 8000u);
  planner->cancel(1, 2, now);
  planner->cancel(2, 2, now);
  EXPECT_EQ(texts.alive, 0u);
  EXPECT_EQ(planner->gauges().memory_bytes, 0u);
}

TEST_F(PlannerTest, WhatIsHeldHasAQuarterOfTheMemory) {
  make({.orders_max = 1, .memory_max = 4 * 3 * kPlanHeldBytes});
  ASSERT_TRUE(set(1, 1, {entry(1), entry(2), entry(3), entry(4)}));
  for (TrackId track = 1; track <= 4; ++track) {
    orders();
    finish();
  }
  EXPECT_EQ(planner->gauges().held, 3u);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, ACancelRevokesAllButWhatOthersWant) {
  set(1, 1, {entry(10), entry(11)});
  set(2, 1, {entry(11)});
  orders();
  finish();
  planner->cancel(1, 2, now);
  EXPECT_EQ(score().unused_revoked.get(), 1u);
  EXPECT_EQ(planner->gauges().held, 1u);
  EXPECT_EQ(planner->gauges().sessions, 1u);
}

TEST_F(PlannerTest, OneFetchServesAllWhoNameTheTrack) {
  set(1, 1, {entry(10)});
  set(2, 1, {entry(10)});
  EXPECT_EQ(orders(), std::vector<TrackId>{10});
  set(3, 1, {entry(10)});
  EXPECT_TRUE(orders().empty());
  finish();
  set(4, 1, {entry(10)});
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, TimeToLiveRevokesThePlanAndWhatWasFetchedForIt) {
  set(1, 1, {entry(10), entry(11, 1, 500s)}, 60s);
  EXPECT_EQ(orders(), std::vector<TrackId>{10});
  finish();
  EXPECT_EQ(planner->wake_at(now), now + 60s);
  now += 60s;
  planner->expire(now);
  EXPECT_EQ(score().unused_expired.get(), 1u);
  EXPECT_EQ(score().bytes_wasted.get(), 256 * KiB);
  EXPECT_EQ(planner->gauges().sessions, 0u);
  EXPECT_EQ(planner->gauges().candidates, 0u);
  EXPECT_EQ(planner->gauges().held_bytes, 0u);
}

TEST_F(PlannerTest, WhatIsDroppedIsNamedSoThatItsSlicesCanGo) {
  auto target = make_ref<PrefetchTarget>();
  PlanEntry with_target = entry(10);
  with_target.target = target;
  set(1, 1, {with_target});
  orders();
  finish();
  planner->cancel(1, 0, now);
  const auto dropped = planner->take_dropped();
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].target.get(), target.get());
  EXPECT_EQ(dropped[0].part, (ByteRange{0, 256 * KiB}));
  EXPECT_EQ(dropped[0].tail_bytes, 0u);
  EXPECT_TRUE(planner->take_dropped().empty());
}

TEST_F(PlannerTest, APartThatIsDroppedLeavesTheHeadOfItsTrackHeld) {
  auto target = make_ref<PrefetchTarget>();
  PlanEntry head = entry(1);
  head.target = target;
  head.tail_bytes = 64 * KiB;
  PlanEntry part = entry(part_of(1, 40), 1, 0s, 100 * KiB);
  part.first_byte = 10 * MiB;
  part.target = target;
  set(7, 1, {head});
  set(8, 1, {part});
  orders();
  finish();
  planner->cancel(8, 0, now);
  const auto parts = planner->take_dropped();
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].part, (ByteRange{10 * MiB, 10 * MiB + 100 * KiB}));
  EXPECT_EQ(parts[0].tail_bytes, 0u);
  EXPECT_EQ(planner->gauges().held, 1u);
  planner->cancel(7, 0, now);
  const auto heads = planner->take_dropped();
  ASSERT_EQ(heads.size(), 1u);
  EXPECT_EQ(heads[0].part, (ByteRange{0, 256 * KiB}));
  EXPECT_EQ(heads[0].tail_bytes, 64 * KiB);
}

TEST_F(PlannerTest, WhatCameAgainAfterStandingAsideIsDroppedAsFarAsItsContainerTold) {
  PlanEntry guessed = entry(1);
  guessed.head_is_guess = true;
  guessed.target = make_ref<PrefetchTarget>();
  set(7, 1, {guessed});
  ASSERT_EQ(orders().size(), 1u);
  planner->landed(running[0].id, 256 * KiB);
  finish(Planner::End::Stopped);
  ASSERT_EQ(orders().size(), 1u);
  ASSERT_TRUE(planner->refine(running[0].id, 1 * MiB, 64 * KiB));
  finish();
  planner->cancel(7, 0, now);
  const auto dropped = planner->take_dropped();
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].part, (ByteRange{0, 1 * MiB}));
  EXPECT_EQ(dropped[0].tail_bytes, 64 * KiB);
}

TEST_F(PlannerTest, AListenerThatStartsATrackPassesOverWhatWasDueBefore) {
  set(1, 1, {entry(10, 1, 10s), entry(11, 1, 20s), entry(12, 1, 30s)});
  orders();
  finish();
  ask(11, {0, 1 * MiB}, 1);
  EXPECT_EQ(score().used.get(), 1u);
  EXPECT_EQ(score().unused_revoked.get(), 1u);
  EXPECT_EQ(planner->gauges().held, 1u);  // 12 is still to come
}

TEST_F(PlannerTest, AListenerThatGoesElsewhereRevokesWhatWasDueNow) {
  set(1, 1, {entry(10, 1, 1s), entry(11, 1, 200s)});
  orders();
  finish();
  ask(99, {0, 1000}, 1, false);
  EXPECT_EQ(score().unused_revoked.get(), 1u);
  EXPECT_EQ(planner->gauges().held, 1u);
}

TEST_F(PlannerTest, SessionsAreBounded) {
  for (uint64_t session = 1; session <= kPlanSessionsMax; ++session)
    ASSERT_TRUE(set(session, 1, {}));
  EXPECT_FALSE(set(kPlanSessionsMax + 1, 1, {}));
  EXPECT_TRUE(set(1, 2, {}));
  planner->cancel(5, 0, now);
  EXPECT_TRUE(set(kPlanSessionsMax + 1, 1, {}));
}

}  // namespace
}  // namespace segue::edge::test
