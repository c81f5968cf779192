// Goal: a fill for nobody takes nothing that a client needs. Method: the same requests with and
// without prefetches beside them, on pools, tasks and an origin that are full; what clients wait
// for is compared to the nanosecond.
#include "tests/unit/edge/fill_fixture.h"

namespace segue::edge::test {
namespace {

class FillPrefetch : public FillTest {
 protected:
  explicit FillPrefetch(uint32_t fetches_max = kOriginConnectionsPerLoopMax)
      : FillTest(Options{.ram_bytes = 10 * MiB, .fetches_max = fetches_max}) {}  // 32 large buffers

  Player& prefetch(const std::string& target, uint64_t bytes, uint32_t on = 0) {
    return start({.target = target,
                  .form = Form::Bounded,
                  .range = {0, bytes},
                  .stays = true,
                  .prefetch = true},
                 on);
  }
};

TEST_F(FillPrefetch, WhatItBringsIsInProbationUntilAClientAsks) {
  origin.add("/t", 10 * kSlice);
  prefetch("/t", 3 * kSlice);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(store->usage().probation_bytes, 3 * kSlice);
  EXPECT_EQ(counters().prefetch_started.get(), 1u);
  const Player& player = get("/t", {0, kSlice});
  EXPECT_TRUE(player.selection.hit);
  expect_body(player, {0, kSlice});
  EXPECT_EQ(store->usage().probation_bytes, 2 * kSlice);
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillPrefetch, AClientJoinsARunningPrefetchAndNothingIsFetchedTwice) {
  origin.add("/t", 4 * kSlice).chunk_delay = 5ms;
  prefetch("/t", 4 * kSlice);
  world.run_for(12ms);
  const Player& player = get("/t", {0, 4 * kSlice});
  expect_body(player, {0, 4 * kSlice});
  EXPECT_EQ(origin.bytes_sent("/t"), 4 * kSlice);
  EXPECT_EQ(store->usage().probation_bytes, 0u);
}

TEST_F(FillPrefetch, AClientJoinsThePrefetchesContactAndRaisesIt) {
  origin.add("/t", 2 * kSlice).latency = 50ms;
  prefetch("/t", kSlice);
  world.run_for(10ms);
  const Player& player = get("/t", {0, kSlice});
  expect_body(player, {0, kSlice});
  EXPECT_EQ(origin.fetches("/t"), 1u);
  EXPECT_EQ(counters().prefetch_joined.get(), 1u);
}

TEST_F(FillPrefetch, AQuarterOfTheBuffersIsNeverTaken) {
  for (int i = 0; i < 16; ++i) {
    const std::string target = "/slow/" + std::to_string(i);
    origin.add(target, 4 * kSlice).chunk_delay = 1s;
    prefetch(target, 4 * kSlice);
  }
  world.run_for(10ms);
  const uint64_t large = store->usage().buffers[3];
  EXPECT_LE(store->usage().filling + store->usage().reserved, large - large / 4);
  EXPECT_GT(counters().prefetch_refused.get(), 0u);
  origin.add("/t", kSlice);
  const Player& player = start({.target = "/t", .form = Form::Bounded, .range = {0, kSlice}});
  world.run_for(10ms);
  EXPECT_TRUE(player.done);
  EXPECT_EQ(counters().buffer_waits.get(), 0u);
}

TEST_F(FillPrefetch, APrefetchThatFailsIsNoTroubleForTheClientThatComesNext) {
  origin.add("/t", kSlice).faults = {{.refuse = true}};
  prefetch("/t", kSlice);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(get("/t", {0, kSlice}), {0, kSlice});
}

TEST_F(FillPrefetch, WhatCannotBeStoredIsNotFetchedForNobody) {
  origin.add("/t", kSlice).fields = {{"Cache-Control", "no-store"}};
  Player& first = prefetch("/t", kSlice);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_TRUE(first.done);
  EXPECT_LE(origin.fetches("/t"), 1u);
  Player& second = prefetch("/t", kSlice);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_TRUE(second.failed);
  EXPECT_LE(origin.fetches("/t"), 1u);
}

TEST_F(FillPrefetch, APrefetchThatIsLetGoEndsWithTheSliceBegun) {
  origin.add("/t", 16 * kSlice).chunk_delay = 10ms;
  Player& player = prefetch("/t", 16 * kSlice);
  world.run_for(15ms);
  {
    const Loop::Turn turn(world.loop(0));
    player.leave();
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_LE(origin.bytes_sent("/t"), 2 * kSlice);
}

/// Cold requests with so many prefetches beside them; when each request's first byte came.
class Saturated : public FillPrefetch {
 protected:
  static constexpr uint32_t kRequests = 24;
  // A full origin: as many fetches at once as there are requests; one in four is demand's.
  Saturated() : FillPrefetch(kRequests) {}
  std::vector<std::chrono::nanoseconds> first_bytes(uint32_t prefetches) {
    for (uint32_t i = 0; i < kRequests; ++i) {
      auto& track = origin.add("/demand/" + std::to_string(i), 2 * kSlice);
      track.latency = 40ms;
      track.chunk_delay = 1ms;
    }
    for (uint32_t i = 0; i < prefetches; ++i) {
      auto& track = origin.add("/guess/" + std::to_string(i), 4 * kSlice);
      track.latency = 40ms;
      track.chunk_delay = 20ms;
    }
    for (uint32_t i = 0; i < prefetches; ++i) prefetch("/guess/" + std::to_string(i), 4 * kSlice);
    std::vector<Player*> asked;
    world.run_for(5ms);
    const MonoTime began = world.loop(0).now();
    for (uint32_t i = 0; i < 6; ++i)
      asked.push_back(&start({.target = "/demand/" + std::to_string(i),
                              .form = Form::Bounded,
                              .range = {0, 2 * kSlice}}));
    EXPECT_TRUE(world.run_until_idle());
    std::vector<std::chrono::nanoseconds> times;
    for (const Player* player : asked) {
      EXPECT_FALSE(player->failed) << player->error.where;
      times.push_back(player->first_byte_at - began);
    }
    return times;
  }
};

TEST_F(Saturated, NoDemandFillWaitsWithoutPrefetches) {
  for (const auto time : first_bytes(0)) EXPECT_LT(time, 50ms);
  EXPECT_EQ(counters().buffer_waits.get(), 0u);
}

TEST_F(Saturated, NoDemandFillWaitsBehindPrefetchesEither) {
  for (const auto time : first_bytes(200)) EXPECT_LT(time, 50ms);
  EXPECT_GT(counters().prefetch_refused.get(), 0u);
}

}  // namespace
}  // namespace segue::edge::test
