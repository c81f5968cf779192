// Goal: what is fetched, in which order, and what is said of it afterwards.
#include "tests/unit/edge/prefetch/planner_fixture.h"

namespace segue::edge::test {
namespace {

TEST_F(PlannerTest, AHeadThatItsContainerTellsIsJudgedByWhatItTold) {
  PlanEntry guessed = entry(1);
  guessed.head_is_guess = true;
  ASSERT_TRUE(set(7, 1, {guessed}));
  const auto order = planner->next(now);
  ASSERT_TRUE(order.has_value());
  EXPECT_TRUE(order->head_is_guess);
  ASSERT_TRUE(planner->refine(order->id, 64 * KiB, 0));
  planner->landed(order->id, 256 * KiB);  // slices are whole
  planner->ended(order->id, Planner::End::Complete, now);
  ask(1, {0, 64 * KiB}, 7);
  EXPECT_EQ(score().bytes_used.get(), 256 * KiB);  // all that was wanted has been used
  EXPECT_EQ(score().bytes_wasted.get(), 0U);
  ask(1, {64 * KiB, 128 * KiB}, 7);  // beyond the head: the rest begins there
  const auto rest = planner->next(now);
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(rest->head.first, 64 * KiB);
  EXPECT_FALSE(rest->head_is_guess);
}

TEST_F(PlannerTest, RestsLeaveHalfOfWhatMayBeHeldToHeads) {
  make({.held_bytes_max = 4 * MiB, .rest_bytes_max = 1 * MiB});
  for (uint64_t session = 1; session <= 5; ++session) set(session, 1, {entry(session)});
  EXPECT_EQ(orders().size(), 5u);
  finish();
  for (uint64_t session = 1; session <= 5; ++session) {
    ask(session, {0, 256 * KiB}, session);
    ask(session, {256 * KiB, 512 * KiB}, session);  // beyond the head: the rest is wanted
  }
  EXPECT_EQ(orders().size(), 2u);  // of five rests of 1 MiB
  set(9, 1, {entry(90), entry(91), entry(92, 0.06, 0s, 1 * MiB)});
  EXPECT_EQ(orders().size(), 3u);
  finish();
  EXPECT_TRUE(orders().empty());  // rests: nobody has asked for the two that are here
}

TEST_F(PlannerTest, APartOfATrackIsFetchedAndJudgedApartFromItsHead) {
  PlanEntry part = entry(part_of(1, 3), 1, 0s, 100 * KiB);
  part.first_byte = 800 * KiB;
  ASSERT_TRUE(set(7, 1, {entry(1), part}));
  EXPECT_EQ(orders().size(), 2u);
  for (const auto& order : running) {
    const bool is_head = order.track == 1;
    EXPECT_EQ(order.head, (is_head ? ByteRange{0, 256 * KiB} : ByteRange{800 * KiB, 900 * KiB}));
    EXPECT_FALSE(order.head_is_guess);
  }
  finish();
  ask(1, {800 * KiB, 900 * KiB});
  EXPECT_EQ(score().used.get(), 1u);
  EXPECT_EQ(score().bytes_used.get(), 100 * KiB);
  ask(1, {0, 256 * KiB});
  EXPECT_EQ(score().used.get(), 2u);
  EXPECT_EQ(score().bytes_wasted.get(), 0u);
}

TEST_F(PlannerTest, APartThatIsAskedForWhileItIsFetchedIsLate) {
  PlanEntry part = entry(part_of(1, 3), 1, 0s, 100 * KiB);
  part.first_byte = 3 * uint64_t{kSliceBytes};
  set(7, 1, {part});
  EXPECT_EQ(orders().size(), 1u);
  ask(1, {3 * uint64_t{kSliceBytes}, 4 * uint64_t{kSliceBytes}}, 0, false);
  EXPECT_EQ(score().late.get(), 1u);
  finish();
  EXPECT_EQ(score().bytes_wasted.get(), 0u);
}

TEST_F(PlannerTest, TheGreatestValuePerByteGoesFirst) {
  set(1, 1, {entry(10, 0.2), entry(11, 0.9), entry(12, 0.9, 0s, 16 * 256 * KiB)});
  EXPECT_EQ(orders(), (std::vector<TrackId>{11, 10, 12}));
}

TEST_F(PlannerTest, OfEqualValueTheOneDueFirstGoesFirst) {
  set(1, 1, {entry(10, 0.9, 60s), entry(11, 0.9, 30s), entry(12, 0.9, 45s)});
  EXPECT_EQ(orders(), (std::vector<TrackId>{11, 12, 10}));
}

TEST_F(PlannerTest, WhatIsImprobableIsNotFetched) {
  set(1, 1, {entry(10, 0.04), entry(11, 0.05)});
  EXPECT_EQ(orders(), std::vector<TrackId>{11});
}

TEST_F(PlannerTest, WhatIsDueMuchLaterWaits) {
  set(1, 1, {entry(10, 1, 400s)});
  EXPECT_TRUE(orders().empty());
  EXPECT_EQ(planner->wake_at(now), now + 100s);
  now += 100s;
  EXPECT_EQ(orders(), std::vector<TrackId>{10});
}

TEST_F(PlannerTest, AnotherLeadHoldsForWhatWaitsAlready) {
  Planner::Options options;
  set(1, 1, {entry(10, 1, 400s), entry(11, 1, 500s)});
  EXPECT_EQ(planner->wake_at(now), now + 100s);
  options.lead_max = 30s;
  planner->configure(options);
  EXPECT_EQ(planner->wake_at(now), now + 370s);
  now += 100s;
  EXPECT_TRUE(orders().empty());
  options.lead_max = 300s;
  planner->configure(options);
  EXPECT_EQ(orders(), std::vector<TrackId>{10});
}

TEST_F(PlannerTest, WhatAReloadFoundWaitingIsGoneOnceItIsRevoked) {
  Planner::Options options{.orders_max = 1};
  make(options);
  set(1, 0, {entry(10, 1, 400s)});
  options.lead_max = 30s;
  planner->configure(options);
  set(1, 0, {entry(11)});  // in its place
  EXPECT_EQ(orders(), std::vector<TrackId>{11});
  now += 500s;
  EXPECT_TRUE(orders().empty());
  planner->cancel(1, 0, now);
  set(2, 0, {entry(12)});  // in its place again, while its order ends
  finish(Planner::End::Failed);
  EXPECT_EQ(orders(), std::vector<TrackId>{12});
  finish(Planner::End::Failed);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, ARequestForARunningTrackJoinsItAndItIsNeverStopped) {
  set(1, 1, {entry(10)});
  orders();
  ask(10, {0, 1000}, 0, false);
  ask(10, {1000, 2000}, 0, false);
  EXPECT_EQ(score().late.get(), 1u);
  planner->cancel(1, 0, now);
  EXPECT_TRUE(planner->take_stopped().empty());
  finish();
  EXPECT_EQ(score().bytes_used.get(), 256 * KiB);
  EXPECT_EQ(score().bytes_wasted.get(), 0u);
  EXPECT_EQ(score().used.get(), 0u);
}

TEST_F(PlannerTest, BytesUsedAreThoseAskedFor) {
  set(1, 1, {entry(10)});
  orders();
  finish();
  now += 20s;
  ask(10, {0, 64 * KiB});
  EXPECT_EQ(score().avoided.get(), 1u);
  EXPECT_EQ(score().lead[3].get(), 1u);  // 15 s to 30 s
  EXPECT_EQ(score().lead_ms_sum.get(), 20'000u);
  now += 600s;
  planner->expire(now);
  EXPECT_EQ(score().bytes_used.get(), 64 * KiB);
  EXPECT_EQ(score().bytes_wasted.get(), 192 * KiB);
  EXPECT_EQ(score().unused_expired.get(), 0u);
}

TEST_F(PlannerTest, FirstBytesAndTheirMissesAreCountedOverAllDemand) {
  ask(1, {0, 100}, 0, false);
  ask(1, {100, 200}, 0, true);
  ask(2, {0, 100}, 0, true);
  EXPECT_EQ(planner->totals().first_bytes.get(), 2u);
  EXPECT_EQ(planner->totals().first_byte_misses.get(), 1u);
}

TEST_F(PlannerTest, WhatTheCacheEvictedIsJudgedUnused) {
  set(1, 1, {entry(10)});
  orders();
  finish();
  EXPECT_TRUE(planner->evicted(10));
  EXPECT_FALSE(planner->evicted(10));
  EXPECT_EQ(score().unused_evicted.get(), 1u);
}

TEST_F(PlannerTest, TheRestFollowsOnceTheListenerIsBeyondTheHead) {
  PlanEntry known = entry(10);
  known.whole_bytes = 1 * MiB;
  set(1, 1, {known});
  orders();
  finish();
  ask(10, {0, 100}, 1);
  EXPECT_TRUE(orders().empty());
  ask(10, {256 * KiB, 300 * KiB}, 1);
  ASSERT_EQ(orders().size(), 1u);
  EXPECT_EQ(running[0].head.first, 256 * KiB);
  EXPECT_EQ(running[0].head.end, 1 * MiB);
  ask(10, {300 * KiB, 400 * KiB}, 1);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, ARestCountsAsHeldUntilItIsReadOrItsListenerGoesOn) {
  const auto play_beyond_its_head = [&](TrackId track, uint64_t session) {
    PlanEntry known = entry(track);
    known.whole_bytes = 1 * MiB;
    set(session, 1, {known, entry(track + 100, 1, 200s)});
    orders();
    finish();
    ask(track, {0, 256 * KiB}, session);
    ask(track, {256 * KiB, 300 * KiB}, session);
    ASSERT_EQ(orders().size(), 1u);
    finish();
    ask(track, {300 * KiB, 400 * KiB}, session);
  };
  play_beyond_its_head(10, 1);
  const uint64_t next_head = 256 * KiB;
  EXPECT_EQ(planner->gauges().held_bytes, 768 * KiB + next_head) << "it is read piece by piece";
  ask(10, {400 * KiB, 1 * MiB}, 1);
  EXPECT_EQ(planner->gauges().held_bytes, next_head);
  EXPECT_EQ(score().bytes_wasted.get(), 0u);
  play_beyond_its_head(20, 2);
  EXPECT_EQ(planner->gauges().held_bytes, 768 * KiB + 2 * next_head);
  ask(120, {0, 256 * KiB}, 2);
  EXPECT_EQ(planner->gauges().held_bytes, next_head);
  EXPECT_EQ(score().bytes_wasted.get(), 624 * KiB) << "what was left of it";
  EXPECT_EQ(score().unused_revoked.get(), 0u) << "it was of use";
}

TEST_F(PlannerTest, TheFeedsPositionConfirmsPlayToo) {
  PlanEntry known = entry(10);
  known.whole_bytes = 1 * MiB;
  set(1, 1, {known});
  orders();
  finish();
  set(1, 2, {}, 600s, 10, true);
  ASSERT_EQ(orders().size(), 1u);
  set(1, 3, {entry(11)}, 600s, 10, true);  // and a later message does not revoke it
  EXPECT_TRUE(planner->take_stopped().empty());
}

TEST_F(PlannerTest, AModelUnderItsFloorIsThrottledProbedAndTakenBack) {
  make({.precision_floor = 0.5, .judge_bytes = 1 * MiB, .probe_every = 4});
  uint64_t session = 0;
  const auto round = [&](bool used) {
    ++session;
    set(session, 1, {entry(session)});
    const size_t begun = orders().size();
    finish();
    if (used && begun > 0) ask(session);
    planner->cancel(session, 0, now);
    now += 10s;
    return begun;
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(round(false), 1u);
  EXPECT_EQ(score().throttled.get(), 1u);
  size_t probed = 0;
  for (int i = 0; i < 64; ++i) probed += round(true);
  EXPECT_GE(probed, 64u / 4);
  EXPECT_GT(score().dropped.get(), 0u);
  EXPECT_EQ(score().throttled.get(), 0u);
}

TEST_F(PlannerTest, AModelThatNamesWhatIsNotThereIsThrottled) {
  make({.precision_floor = 0.5, .judge_bytes = 1 * MiB});
  for (uint64_t session = 1; session <= 4; ++session) {
    set(session, 1, {entry(session)});
    ASSERT_EQ(orders().size(), 1u);
    EXPECT_EQ(score().throttled.get(), 0u);
    finish(Planner::End::NotThere);
  }
  EXPECT_EQ(score().throttled.get(), 1u);
  EXPECT_EQ(score().failed.get(), 4u);
  EXPECT_EQ(score().bytes_wasted.get(), 0u);  // none has moved
  set(5, 1, {entry(5)});
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, AnOriginThatFailsIsNotItsModelsFault) {
  make({.precision_floor = 0.5, .judge_bytes = 1 * MiB});
  for (uint64_t session = 1; session <= 40; ++session) {
    set(session, 1, {entry(session)});
    ASSERT_EQ(orders().size(), 1u);
    finish(Planner::End::Failed);
  }
  EXPECT_EQ(score().throttled.get(), 0u);
}

TEST_F(PlannerTest, ObservingFetchesNothingAndJudgesAll) {
  make({.fetches = false});
  set(1, 1, {entry(10), entry(11)});
  EXPECT_TRUE(orders().empty());
  ask(10, {0, 1 * MiB}, 0, false);
  planner->cancel(1, 0, now);
  EXPECT_EQ(score().planned.get(), 2u);
  EXPECT_EQ(score().avoided.get(), 1u);
  EXPECT_DOUBLE_EQ(score().precision(), 0.5);
  EXPECT_EQ(score().bytes_fetched.get(), 0u);  // none has moved
}

TEST_F(PlannerTest, WhatFailedOrWasHereIsNeitherUsedNorWaste) {
  set(1, 1, {entry(10), entry(11)});
  orders();
  planner->ended(running[0].id, Planner::End::Failed, now);
  planner->ended(running[1].id, Planner::End::AlreadyHere, now);
  EXPECT_EQ(score().failed.get(), 1u);
  EXPECT_EQ(score().already_here.get(), 1u);
  EXPECT_EQ(planner->gauges().held, 0u);
  EXPECT_EQ(planner->gauges().held_bytes, 0u);
  EXPECT_EQ(planner->gauges().bytes_today, 0u);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PlannerTest, ModelsAreBoundedAndTheirNamesAreLabels) {
  EXPECT_EQ(scores.name(0), "unnamed");
  const uint32_t first = scores.find_or_add("als 7\"{");
  EXPECT_EQ(scores.name(first), "als_7__");
  for (int i = 0; i < 100; ++i) (void)scores.find_or_add("model-" + std::to_string(i));
  EXPECT_EQ(scores.count(), kPrefetchModelsMax);
  EXPECT_EQ(scores.name(scores.find_or_add("one more")), "other");
}

/// Any sequence of calls keeps the books: nothing held is counted twice, and at the end all is 0.
TEST_F(PlannerTest, TheBooksBalanceAfterAnySequenceOfCalls) {
  uint64_t seed = 42;
  const auto random = [&](uint64_t below) { return (seed = mix(seed + 1)) % below; };
  Planner::Options options{
      .bytes_per_second = 64 * MiB, .orders_max = 5, .judge_bytes = UINT64_MAX};
  make(options);
  const auto reload = [&] {
    options.lead_max = seconds{random(900)};
    options.bytes_per_second = random(3) * 32 * MiB;
    options.orders_max = static_cast<uint32_t>(random(8));
    options.held_bytes_max = random(3) * 64 * MiB;
    options.bytes_per_day = random(2) == 0 ? UINT64_MAX : 64 * MiB;
    options.rest = random(2) == 0;
    options.rest_bytes_max = random(4) * MiB;
    options.probability_min = static_cast<double>(random(50)) / 100;
    planner->configure(options);
  };
  std::vector<Planner::Order> begun;
  for (int step = 0; step < 50'000; ++step) {
    now += milliseconds{random(3000)};
    switch (random(16)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        std::vector<PlanEntry> next;
        for (uint64_t i = random(5); i > 0; --i)
          next.push_back({.track = random(50),
                          .probability = static_cast<double>(random(100)) / 100,
                          .due = now + seconds{random(600)},
                          .head_bytes = 1 + random(300'000),
                          .whole_bytes = random(2) * 3'000'000});
        set(random(20), 0, next, seconds{1 + random(900)}, random(50), random(2) == 0);
        break;
      }
      case 4:
      case 5:
        planner->cancel(random(20), 0, now);
        break;
      case 6:
      case 7:
      case 8:
        ask(random(50), {random(2) * 300'000, 400'000}, random(20), random(2) == 0);
        break;
      case 9:
      case 10:
      case 11:
        if (auto order = planner->next(now)) begun.push_back(*order);
        break;
      case 12:
        reload();
        break;
      default:
        if (begun.empty()) break;
        const size_t which = random(begun.size());
        const auto end = static_cast<Planner::End>(random(6));
        planner->landed(begun[which].id, random(begun[which].head.length() + 1));
        planner->ended(begun[which].id, end, now);
        begun.erase(begun.begin() + static_cast<ptrdiff_t>(which));
    }
    ASSERT_EQ(planner->gauges().running, begun.size());
  }
  for (const auto& order : begun) planner->ended(order.id, Planner::End::Stopped, now);
  now += 1000s;
  planner->expire(now);
  const auto gauges = planner->gauges();
  EXPECT_EQ(gauges.sessions, 0u);
  EXPECT_EQ(gauges.candidates, 0u);
  EXPECT_EQ(gauges.held, 0u);
  EXPECT_EQ(gauges.held_bytes, 0u);
  EXPECT_EQ(score().bytes_fetched.get(), score().bytes_used.get() + score().bytes_wasted.get());
}

}  // namespace
}  // namespace segue::edge::test
