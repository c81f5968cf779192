// Fills of known representations: runs and their window, what cuts them, who is served by the next
// one, and how many bytes the origin is asked for.
#include "tests/unit/edge/fill_fixture.h"

namespace segue::edge::test {
namespace {

class FillRuns : public FillTest {
 protected:
  /// Makes the header and the first slice known.
  void learn(const std::string& target, uint64_t length) {
    origin.add(target, length);
    get(target, {0, 1});
    fetches_before = origin.fetches(target);
    bytes_before = origin.bytes_sent(target);
  }
  [[nodiscard]] uint32_t fetches(const std::string& target) const {
    return origin.fetches(target) - fetches_before;
  }
  uint32_t fetches_before = 0;
  uint64_t bytes_before = 0;
};

TEST_F(FillRuns, ABoundedMebibyteOverFiveColdSlicesIsOneRequest) {
  learn("/t", 10 * MiB);
  const ByteRange range{kSlice + 100'000, kSlice + 100'000 + MiB};
  expect_body(get("/t", range), range);
  EXPECT_EQ(fetches("/t"), 1u);
  EXPECT_EQ(origin.requests().back().range, (ByteRange{kSlice, 6 * kSlice}));
  EXPECT_EQ(origin.requests().back().expected_etag, "\"v1\"");
}

TEST_F(FillRuns, ABoundedRangeLongerThanARunIsAskedForInRuns) {
  learn("/t", 20 * MiB);
  const ByteRange range{MiB, 11 * MiB};
  expect_body(get("/t", range), range);
  EXPECT_EQ(fetches("/t"), 3u);
  EXPECT_EQ(origin.bytes_sent("/t") - bytes_before, 10 * MiB);
}

TEST_F(FillRuns, OriginBytesAreTheBytesAskedRoundedOutToSlices) {
  origin.add("/t", 30 * MiB);
  uint64_t asked = 0;
  for (uint64_t i = 0; i < 20; ++i) {
    const ByteRange range{i * 1'300'000 + 17, i * 1'300'000 + 400'017};
    expect_body(get("/t", range), range);
    asked += round_up(range.end, kSlice) - round_down(range.first, kSlice);
  }
  EXPECT_LE(origin.bytes_sent("/t"), asked + kSlice);
}

TEST_F(FillRuns, AnOpenEndedReaderToTheEndGetsAllInGrowingRuns) {
  constexpr uint64_t kLength = 20 * MiB + 12'345;
  origin.add("/t", kLength).chunk_delay = 1ms;
  auto& player = get({.target = "/t", .form = Form::OpenEnded, .read_delay = 1ms});
  expect_body(player, {0, kLength});
  EXPECT_EQ(origin.bytes_sent("/t"), kLength);
  const auto& requests = origin.requests();
  ASSERT_GE(requests.size(), 4u);
  EXPECT_EQ(requests[0].range.length(), MiB);
  EXPECT_EQ(requests[1].range.length(), MiB);
  EXPECT_EQ(requests[2].range.length(), 2 * MiB);
  EXPECT_EQ(requests[3].range.length(), 4 * MiB);
}

TEST_F(FillRuns, TheNextRunIsAskedForBeforeTheLastEnds) {
  auto& track = origin.add("/t", 20 * MiB);
  track.latency = 50ms;
  track.chunk_delay = 5ms;
  auto& player = start({.target = "/t", .form = Form::OpenEnded});
  // 16 chunks of 64 KiB make a run of 1 MiB: 130 ms. Its second half is not over at 120 ms.
  world.run_for(120ms);
  EXPECT_EQ(origin.fetches("/t"), 2u);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(player, {0, 20 * MiB});
}

TEST_F(FillRuns, AnOpenEndedReaderThatStopsAtThreeMebibytesCostsAtMostTwelve) {
  origin.add("/t", 60'000'000).chunk_delay = 1ms;
  auto& player =
      start({.target = "/t", .form = Form::OpenEnded, .stop_after = 3 * MiB, .stays = true});
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_GE(player.body.size(), 3 * MiB);
  EXPECT_FALSE(player.done);
  EXPECT_LE(origin.bytes_sent("/t"), 12 * MiB);
  EXPECT_EQ(total(&FillCounters::fills_in_flight), 0u);
}

TEST_F(FillRuns, AFillWithoutReadersEndsWithTheSliceBegun) {
  auto& track = origin.add("/t", 20 * MiB);
  track.chunk_delay = 1ms;
  auto& player = start({.target = "/t", .form = Form::Bounded, .range = {0, 4 * MiB}});
  world.run_for(6ms);
  {
    const Loop::Turn turn(world.loop(0));
    player.leave();
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_TRUE(player.failed);
  EXPECT_LE(origin.bytes_sent("/t"), 2 * kSlice);
  EXPECT_EQ(counters().fills_ended_early.get(), 1u);
}

TEST_F(FillRuns, AFillWithoutReadersAndLittleLeftIsFinished) {
  auto& track = origin.add("/t", 20 * MiB);
  track.chunk_delay = 1ms;
  auto& player = start({.target = "/t", .form = Form::Bounded, .range = {0, 3 * kSlice}});
  world.run_for(2ms);
  {
    const Loop::Turn turn(world.loop(0));
    player.leave();
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(origin.bytes_sent("/t"), 3 * kSlice);
  EXPECT_EQ(counters().fills_ended_early.get(), 0u);
}

TEST_F(FillRuns, ReadersOnTwoLoopsShareOneFill) {
  learn("/t", 10 * MiB);
  origin.track("/t").chunk_delay = 1ms;
  const ByteRange range{2 * MiB, 4 * MiB};
  for (uint32_t i = 0; i < 40; ++i)
    start({.target = "/t", .form = Form::Bounded, .range = range}, i % kLoops);
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 1; i < players.size(); ++i) expect_body(*players[i], range);
  EXPECT_EQ(fetches("/t"), 1u);
}

TEST_F(FillRuns, ReadersBehindACutFillAreServedByTheNextFill) {
  learn("/t", 10 * MiB);
  origin.track("/t").faults.push_back({.cut_after_bytes = 100'000});
  const ByteRange range{MiB, MiB + 200'000};
  for (uint32_t i = 0; i < 20; ++i)
    start({.target = "/t", .form = Form::Bounded, .range = range}, i % kLoops);
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 1; i < players.size(); ++i) expect_body(*players[i], range);
  EXPECT_EQ(fetches("/t"), 2u);
  EXPECT_EQ(total(&FillCounters::fills_cut), 1u);
}

TEST_F(FillRuns, AReaderGivesUpAfterThreeCutFillsOfOneSlice) {
  learn("/t", 10 * MiB);
  for (int i = 0; i < 10; ++i) origin.track("/t").faults.push_back({.cut_after_bytes = 1000});
  auto& player = get("/t", {MiB, MiB + 200'000});
  EXPECT_TRUE(player.failed);
  EXPECT_EQ(player.error.side, Side::Origin);
  EXPECT_EQ(player.error.kind, Kind::Closed);
  EXPECT_EQ(fetches("/t"), 3u);
  EXPECT_TRUE(player.body == origin.bytes("/t", {MiB, MiB + player.body.size()}));
}

TEST_F(FillRuns, ManyReadersOfADeadOriginDoNotHammerIt) {
  learn("/t", 10 * MiB);
  for (int i = 0; i < 300; ++i) origin.track("/t").faults.push_back({.refuse = true});
  origin.track("/t").latency = 1ms;
  for (uint32_t i = 0; i < 50; ++i)
    start({.target = "/t", .form = Form::Bounded, .range = {MiB, MiB + 1000}}, i % kLoops);
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 1; i < players.size(); ++i) EXPECT_TRUE(players[i]->failed);
  EXPECT_LE(fetches("/t"), 6u);
}

TEST_F(FillRuns, AStalledFillIsReplacedWithinTheReadersPatience) {
  learn("/t", 10 * MiB);
  origin.track("/t").faults.push_back({.stall_after_bytes = 1000});
  const ByteRange range{MiB, MiB + 200'000};
  expect_body(get("/t", range), range);
  EXPECT_EQ(fetches("/t"), 2u);
}

TEST_F(FillRuns, AChangedEtagMidWayCutsTheReaderAndTheNextRequestGetsTheNewVersion) {
  learn("/t", 10 * MiB);
  const std::string first_slice = origin.bytes("/t", {0, kSlice});
  origin.change("/t", 10 * MiB);
  auto& player = get("/t", {0, 2 * kSlice});
  EXPECT_TRUE(player.failed);
  EXPECT_TRUE(player.body == first_slice.substr(0, player.body.size()));  // never mixed
  EXPECT_EQ(counters().validator_mismatches.get(), 1u);
  expect_body(get("/t", {0, 2 * kSlice}), {0, 2 * kSlice});
}

TEST_F(FillRuns, ATotalThatChangedUnderTheSameEtagIsAnotherVersion) {
  learn("/t", 10 * MiB);
  origin.track("/t").length = 9 * MiB;
  EXPECT_TRUE(get("/t", {MiB, 2 * MiB}).failed);
  auto& player = get("/t", {MiB, 2 * MiB});
  expect_body(player, {MiB, 2 * MiB});
  EXPECT_EQ(player.complete_length, 9 * MiB);
}

TEST_F(FillRuns, AnotherServersEtagIsAskedForOnceMoreBeforeTheVersionIsGivenUp) {
  learn("/t", 10 * MiB);
  origin.track("/t").server = 1;
  origin.change("/t", 10 * MiB);
  EXPECT_TRUE(get("/t", {MiB, 2 * MiB}).failed);
  EXPECT_EQ(counters().validator_mismatches.get(), 2u);
}

TEST_F(FillRuns, A404OnAnInnerSliceEndsTheResponseAndTheNextIsA404) {
  learn("/t", 10 * MiB);
  origin.track("/t").status = 404;
  origin.track("/t").length = 50;
  EXPECT_TRUE(get("/t", {MiB, 2 * MiB}).failed);
  EXPECT_EQ(get("/t", {MiB, 2 * MiB}).status, 404);
}

TEST_F(FillRuns, APurgeDuringAFillLetsItsReadersFinishAndStoresNothing) {
  learn("/t", 10 * MiB);
  origin.track("/t").chunk_delay = 1ms;
  auto& player = start({.target = "/t", .form = Form::Bounded, .range = {MiB, 3 * MiB}});
  world.run_for(3ms);
  purge("/t");
  const std::string old = origin.bytes("/t", {MiB, 3 * MiB});
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_FALSE(player.failed) << player.error.where;
  EXPECT_TRUE(player.body == old);
  const auto before = origin.fetches("/t");
  EXPECT_FALSE(get("/t", {MiB, 2 * MiB}).selection.hit);
  EXPECT_EQ(origin.fetches("/t"), before + 1);
}

TEST_F(FillRuns, TheLastShortSliceIsFilledWhole) {
  constexpr uint64_t kLength = 3 * kSlice + 777;
  learn("/t", kLength);
  expect_body(get("/t", {3 * kSlice, kLength}), {3 * kSlice, kLength});
  expect_body(get("/t", {kLength - 1, kLength + 5}), {kLength - 1, kLength});
  EXPECT_EQ(fetches("/t"), 1u);
}

class FillInLittleRam : public FillTest {
 protected:
  FillInLittleRam() : FillTest({.ram_bytes = 4 * MiB}) {}
};

TEST_F(FillInLittleRam, ManyPlayersOfTracksLargerThanRamAllGetTheirBytes) {
  for (int i = 0; i < 30; ++i) origin.add("/" + std::to_string(i), 2 * MiB).chunk_delay = 1ms;
  for (uint32_t i = 0; i < 30; ++i) {
    start({.target = "/" + std::to_string(i), .form = Form::OpenEnded, .read_delay = 1ms},
          i % kLoops);
  }
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) expect_body(*player, {0, 2 * MiB});
}

TEST_F(FillInLittleRam, StalledReadersHoldNoBuffer) {
  for (int i = 0; i < 60; ++i) origin.add("/" + std::to_string(i), 2 * MiB).chunk_delay = 1ms;
  for (uint32_t i = 0; i < 60; ++i) {
    start({.target = "/" + std::to_string(i),
           .form = Form::OpenEnded,
           .stop_after = 300'000,
           .stays = true},
          i % kLoops);
  }
  EXPECT_TRUE(world.run_until_idle());
  origin.add("/other", 3 * MiB);
  expect_body(get("/other", {0, 3 * MiB}), {0, 3 * MiB});
  EXPECT_EQ(store->usage().pinned, 0u);
}

}  // namespace
}  // namespace segue::edge::test
