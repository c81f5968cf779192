// A node that runs short: revalidations behind stale answers and new misses are given up, hits and
// what has begun are not.
#include "tests/unit/edge/fill_fixture.h"

namespace segue::edge::test {
namespace {

class FillOverload : public FillTest {
 protected:
  FillOverload() {
    for (auto& one : fills) one->shed_by(&overload);
  }
  /// `used` of a resource of 100 whose misses are shed at 100, revalidations at 75.
  void load(uint64_t used) {
    Readings readings{};
    readings[static_cast<uint8_t>(Resource::Fills)] = {.used = used, .soft = 50, .hard = 100};
    overload.judge(readings);
  }
  void expect_shed(const Player& player) {
    EXPECT_TRUE(player.failed);
    EXPECT_EQ(player.error.side, Side::Self);
    EXPECT_EQ(player.error.kind, Kind::Overloaded);
    EXPECT_TRUE(player.body.empty());
  }

  Overload overload;
};

TEST_F(FillOverload, ANewMissIsRefusedWithoutAWordToTheOriginAndAHitIsServed) {
  origin.add("/hit", MiB);
  origin.add("/miss", MiB);
  get("/hit", {0, kSlice});
  load(100);
  expect_shed(get("/miss", {0, 1000}));
  expect_body(get("/hit", {0, kSlice}), {0, kSlice});
  EXPECT_EQ(origin.fetches("/miss"), 0u);
  EXPECT_EQ(counters().misses_shed.get(), 1u);
  load(0);
  expect_body(get("/miss", {0, 1000}), {0, 1000});
}

TEST_F(FillOverload, ASliceThatIsNotHereIsANewMissToo) {
  origin.add("/t", 2 * MiB);
  get("/t", {0, kSlice});
  load(100);
  expect_shed(get("/t", {MiB, MiB + 1000}));
  EXPECT_EQ(origin.fetches("/t"), 1u);
  EXPECT_EQ(counters().misses_shed.get(), 1u);
}

TEST_F(FillOverload, AResponseThatHasBegunGetsTheRestOfItsBytes) {
  origin.add("/t", 8 * MiB);
  auto& slow = start({.target = "/t", .read_delay = 50ms});
  world.run_for(100ms);
  ASSERT_GT(slow.body.size(), 0u);
  ASSERT_FALSE(slow.done);
  const uint64_t before = origin.fetches("/t");
  load(100);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(slow, {0, 8 * MiB});
  EXPECT_GT(origin.fetches("/t"), before);
}

TEST_F(FillOverload, WhoWaitsForAContactThatRunsJoinsItAlsoWhileMissesAreShed) {
  origin.add("/t", MiB).latency = 100ms;
  auto& first = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
  world.run_for(10ms);
  load(100);
  auto& second = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}}, 1);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(first, {0, 1000});
  expect_body(second, {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 1u);
  EXPECT_EQ(total(&FillCounters::misses_shed), 0u);
}

TEST_F(FillOverload, PassedThroughAnswersAreMisses) {
  origin.add("/t", MiB).fields.emplace_back("Cache-Control", "no-store");
  get("/t", {0, 1000});
  const uint64_t before = origin.fetches("/t");
  load(100);
  expect_shed(get("/t", {0, 1000}));
  EXPECT_EQ(origin.fetches("/t"), before);
}

TEST_F(FillOverload, BehindAStaleAnswerNothingIsRevalidatedFromTheSecondStepOn) {
  origin.add("/t", MiB).fields.emplace_back("Cache-Control",
                                            "max-age=10, stale-while-revalidate=60");
  get("/t", {0, 1000});
  world.run_for(15s);
  load(75);
  for (int i = 0; i < 3; ++i) {
    auto& player = get("/t", {0, 1000});
    expect_body(player, {0, 1000});
    EXPECT_TRUE(player.selection.stale);
  }
  EXPECT_EQ(origin.fetches("/t"), 1u);
  EXPECT_EQ(counters().revalidations_shed.get(), 3u);
  load(0);
  EXPECT_TRUE(get("/t", {0, 1000}).selection.stale);
  EXPECT_EQ(origin.fetches("/t"), 2u);
  EXPECT_FALSE(get("/t", {0, 1000}).selection.stale);
}

TEST_F(FillOverload, AStaleAnswerTakesTheOriginsPlaceWhereStaleIfErrorAllowsIt) {
  origin.add("/if", MiB).fields.emplace_back("Cache-Control", "max-age=10, stale-if-error=600");
  origin.add("/not", MiB).fields.emplace_back("Cache-Control", "max-age=10, must-revalidate");
  get("/if", {0, 1000});
  get("/not", {0, 1000});
  world.run_for(15s);
  load(100);
  auto& stale = get("/if", {0, 1000});
  expect_body(stale, {0, 1000});
  EXPECT_TRUE(stale.selection.stale);
  expect_shed(get("/not", {0, 1000}));
  EXPECT_EQ(origin.fetches("/if") + origin.fetches("/not"), 2u);
}

}  // namespace
}  // namespace segue::edge::test
