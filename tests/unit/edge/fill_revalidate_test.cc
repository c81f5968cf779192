// Stale representations: one conditional request for all who wait, what its answers change, when a
// stale one is served, and what lacks a strong validator.
#include "edge/fill/flaps.h"
#include "tests/unit/edge/fill_fixture.h"

namespace segue::edge::test {
namespace {

class FillRevalidates : public FillTest {
 protected:
  FakeTrack& add(const std::string& target, uint64_t length, const std::string& cache_control) {
    FakeTrack& track = origin.add(target, length);
    track.fields.emplace_back("Cache-Control", cache_control);
    return track;
  }
};

TEST_F(FillRevalidates, A304FreshensOnceForAllWhoWait) {
  add("/t", MiB, "max-age=10").latency = 20ms;
  get("/t", {0, 1000});
  world.run_for(15s);
  for (uint32_t i = 0; i < 50; ++i)
    start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}}, i % kLoops);
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) expect_body(*player, {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
  EXPECT_EQ(origin.requests().back().if_none_match, "\"v1\"");
  EXPECT_EQ(origin.requests().back().range, (ByteRange{0, kSlice}));
  EXPECT_EQ(origin.bytes_sent("/t"), kSlice);
  EXPECT_EQ(total(&FillCounters::revalidated), 1u);
  EXPECT_TRUE(get("/t", {0, 10}).selection.hit);
}

TEST_F(FillRevalidates, ARevalidationAsksForTheFirstMissingSliceSoThatAChangeCostsOneSlice) {
  add("/t", 10 * MiB, "max-age=10");
  get("/t", {0, 2 * kSlice});
  world.run_for(15s);
  origin.change("/t", 10 * MiB);
  const uint64_t before = origin.bytes_sent("/t");
  const ByteRange range{kSlice, 3 * kSlice};
  auto& player = get("/t", range);
  expect_body(player, range);  // of the new version
  EXPECT_EQ(player.selection.forward_status, 206);
  EXPECT_EQ(origin.bytes_sent("/t") - before, 2 * kSlice);
  EXPECT_EQ(origin.requests()[1].range, (ByteRange{2 * kSlice, 3 * kSlice}));
}

TEST_F(FillRevalidates, AnOriginWhoseValidatorChangesOnEveryContactIsPassedThroughForAWhile) {
  add("/t", 2 * MiB, "no-cache");
  for (uint32_t i = 0; i <= kFlapsMax; ++i) {
    expect_body(get("/t", {0, 1000}), {0, 1000});
    EXPECT_EQ(total(&FillCounters::flapping), 0u);
    origin.change("/t", 2 * MiB);
  }
  EXPECT_EQ(total(&FillCounters::generations_replaced), kFlapsMax);
  // From here on every request gets the whole of its own answer, and nothing is cut or thrown away.
  for (int i = 0; i < 5; ++i) {
    auto& player = get({.target = "/t"});
    expect_body(player, {0, 2 * MiB});
    EXPECT_FALSE(player.selection.stored);
    origin.change("/t", 2 * MiB);
  }
  EXPECT_EQ(total(&FillCounters::flapping), 1u);  // the others found the key marked
  EXPECT_EQ(total(&FillCounters::generations_replaced), kFlapsMax);
}

TEST_F(FillRevalidates, AFlappingAnswerThatWasReadToItsEndIsPassedThroughUnderItsOwnHead) {
  add("/t", 2 * kSlice, "no-cache").unknown_length = true;
  for (uint32_t i = 0; i <= kFlapsMax; ++i) {
    expect_body(get({.target = "/t"}), {0, 2 * kSlice});
    origin.change("/t", 2 * kSlice);
  }
  EXPECT_EQ(total(&FillCounters::flapping), 0u);
  // Its client takes its time: the contact that collected the answer is long over.
  Player& player = start({.target = "/t", .stop_after = 1, .stays = true});
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(total(&FillCounters::flapping), 1u);
  ASSERT_NE(player.selection.pass, nullptr);
  const origin::FetchHead& head = *player.selection.pass_head;
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.fields.view().find("Content-Type"), "audio/mpeg");
  EXPECT_EQ(head.fields.view().find("ETag"), origin.track("/t").etag);
  EXPECT_EQ(origin.in_flight(), 0u) << "nobody waits for the place of a fetch that is over";
  expect_body(player, {0, 64 * KiB});
}

TEST_F(FillRevalidates, AFlappingKeyIsStoredAgainOnceItsValidatorStays) {
  add("/t", MiB, "max-age=1");
  for (uint32_t i = 0; i <= kFlapsMax + 1; ++i) {
    get("/t", {0, 1000});
    origin.change("/t", MiB);
    world.run_for(2s);
  }
  EXPECT_EQ(total(&FillCounters::flapping), 1u);
  world.run_for(kFlapWindow + 1s);
  EXPECT_TRUE(get("/t", {0, 1000}).selection.stored);
  EXPECT_TRUE(get("/t", {0, 1000}).selection.hit);
}

TEST_F(FillRevalidates, FewerChangesThanThatWithinAMinuteAreEdits) {
  add("/t", MiB, "max-age=1");
  for (uint32_t i = 0; i < 8; ++i) {
    EXPECT_TRUE(get("/t", {0, 1000}).selection.stored);
    origin.change("/t", MiB);
    world.run_for(kFlapWindow / 2);
  }
  EXPECT_EQ(total(&FillCounters::flapping), 0u);
}

TEST_F(FillRevalidates, ALivePlaylistOfOneSliceChangesAsOftenAsItLikesAndIsAskedForOnceEachTime) {
  add("/live", 4000, "max-age=1").latency = 20ms;
  for (uint32_t i = 1; i <= 30; ++i) {
    for (uint32_t listener = 0; listener < 5; ++listener) start({.target = "/live"});
    EXPECT_TRUE(world.run_until_idle());
    for (; !players.empty(); players.pop_back()) {
      expect_body(*players.back(), {0, 4000});
      EXPECT_TRUE(players.back()->selection.stored);
    }
    EXPECT_EQ(origin.fetches("/live"), i);
    origin.change("/live", 4000);
    world.run_for(2s);
  }
  EXPECT_EQ(total(&FillCounters::flapping), 0u);
  EXPECT_EQ(total(&FillCounters::generations_replaced), 29u);
}

TEST_F(FillRevalidates, AFullAnswerWithTheSameStrongValidatorKeepsTheSlices) {
  add("/t", MiB, "max-age=10").ignores_conditions = true;
  get("/t", {0, MiB});
  world.run_for(15s);
  auto& player = get("/t", {0, MiB});
  expect_body(player, {0, MiB});
  EXPECT_EQ(counters().generations_replaced.get(), 0u);
  EXPECT_EQ(origin.bytes_sent("/t"), MiB + kSlice);
}

TEST_F(FillRevalidates, StaleWhileRevalidateServesAtOnceAndRevalidatesBehind) {
  add("/t", MiB, "max-age=10, stale-while-revalidate=60").latency = 50ms;
  get("/t", {0, 1000});
  world.run_for(15s);
  const MonoTime began = world.clock().mono();
  for (int i = 0; i < 10; ++i) {
    auto& player = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
    world.run_for(100us);
    EXPECT_TRUE(player.done);
    EXPECT_TRUE(player.selection.stale);
    EXPECT_LE(player.head_at - began, 2ms);
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(origin.fetches("/t"), 2u);
  EXPECT_FALSE(get("/t", {0, 1000}).selection.stale);
}

TEST_F(FillRevalidates, ForWhomNothingMayBeAskedNothingIsRevalidatedBehindEither) {
  for (int i = 0; i < 20; ++i)
    add("/" + std::to_string(i), 1000, "max-age=10, stale-while-revalidate=60");
  for (int i = 0; i < 20; ++i) get("/" + std::to_string(i), {0, 1000});
  world.run_for(15s);
  for (int i = 0; i < 20; ++i) {
    auto& player = get({.target = "/" + std::to_string(i), .only_if_cached = true});
    expect_body(player, {0, 1000});
    EXPECT_TRUE(player.selection.stale);
  }
  EXPECT_EQ(origin.requests().size(), 20u);
}

TEST_F(FillRevalidates, BehindStaleWhileRevalidateAllWait) {
  add("/t", MiB, "max-age=10, stale-while-revalidate=60");
  get("/t", {0, 1000});
  world.run_for(71s);
  EXPECT_FALSE(get("/t", {0, 1000}).selection.stale);
}

TEST_F(FillRevalidates, StaleIsServedOnAnOriginErrorWhereAllowed) {
  auto& track = add("/t", MiB, "max-age=10, stale-if-error=600");
  get("/t", {0, 1000});
  world.run_for(15s);
  track.faults.push_back({.refuse = true});
  auto& refused = get("/t", {0, 1000});
  expect_body(refused, {0, 1000});
  EXPECT_TRUE(refused.selection.stale);
  EXPECT_TRUE(get("/t", {0, 1000}).selection.stale);  // at once: it failed a moment ago
  EXPECT_EQ(origin.fetches("/t"), 2u);
  world.run_for(2s);
  track.faults.push_back({.status = 503});
  EXPECT_TRUE(get("/t", {0, 1000}).selection.stale);
  world.run_for(2s);
  EXPECT_FALSE(get("/t", {0, 1000}).selection.stale);
}

TEST_F(FillRevalidates, MustRevalidateIsNeverServedStale) {
  auto& track = add("/t", MiB, "max-age=10, must-revalidate, stale-if-error=600");
  get("/t", {0, 1000});
  world.run_for(15s);
  track.faults.push_back({.refuse = true});
  EXPECT_TRUE(get("/t", {0, 1000}).failed);
  world.run_for(2s);
  track.faults.push_back({.status = 503});
  EXPECT_EQ(get("/t", {0, 1000}).status, 503);
  world.run_for(2s);
  // What was stored is still good for a 304.
  const uint64_t before = origin.bytes_sent("/t");
  expect_body(get("/t", {0, 1000}), {0, 1000});
  EXPECT_EQ(origin.bytes_sent("/t"), before);
}

TEST_F(FillRevalidates, NoCacheIsValidatedBeforeEveryUseButOnceForAllWhoWait) {
  add("/t", MiB, "no-cache").latency = 20ms;
  get("/t", {0, 1000});
  for (int i = 0; i < 20; ++i) start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) expect_body(*player, {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
  get("/t", {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 3u);
  EXPECT_EQ(origin.bytes_sent("/t"), kSlice);
}

TEST_F(FillRevalidates, A404ReplacesWhatWasStored) {
  auto& track = add("/t", MiB, "max-age=10, stale-if-error=600");
  get("/t", {0, 1000});
  world.run_for(15s);
  track.status = 404;
  track.length = 40;
  EXPECT_EQ(get("/t", {0, 1000}).status, 404);
  EXPECT_EQ(get("/t", {0, 1000}).status, 404);
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillRevalidates, ASoftPurgeMakesItStaleAndA304GoodAgain) {
  add("/t", MiB, "max-age=1000");
  get("/t", {0, 1000});
  purge("/t", /*soft=*/true);
  auto& player = get("/t", {0, 1000});
  EXPECT_FALSE(player.selection.hit);
  EXPECT_EQ(player.selection.forward_status, 304);
  EXPECT_TRUE(get("/t", {0, 1000}).selection.hit);
  EXPECT_EQ(origin.bytes_sent("/t"), kSlice);
}

TEST_F(FillRevalidates, LastModifiedAMinuteOldServesAsValidator) {
  auto& track = origin.add("/t", 10 * MiB);
  track.etag.clear();
  track.last_modified = "Sun, 06 Nov 1994 08:49:37 GMT";
  track.fields.emplace_back("Cache-Control", "max-age=10");
  get("/t", {0, 1000});
  expect_body(get("/t", {5 * MiB, 6 * MiB}), {5 * MiB, 6 * MiB});
  EXPECT_EQ(counters().generations_replaced.get(), 0u);
  world.run_for(15s);
  const uint64_t before = origin.bytes_sent("/t");
  expect_body(get("/t", {0, 1000}), {0, 1000});
  EXPECT_EQ(origin.bytes_sent("/t"), before);
}

TEST_F(FillRevalidates, AShortTrackWithoutAStrongValidatorComesInOneAnswer) {
  auto& track = origin.add("/t", 3'000'000);
  track.etag = "W/\"weak\"";
  expect_body(get("/t", {0, 1000}), {0, 1000});
  expect_body(get("/t", {2'000'000, 3'000'000}), {2'000'000, 3'000'000});
  EXPECT_EQ(origin.fetches("/t"), 2u);  // the range asked, then all of it without a range
  EXPECT_EQ(origin.requests()[1].range_form, origin::FetchRequest::RangeForm::None);
}

TEST_F(FillRevalidates, ALongTrackWithoutAStrongValidatorIsPassedThroughEachOnItsOwn) {
  auto& track = origin.add("/t", 30'000'000);
  track.etag.clear();
  for (uint64_t i = 0; i < 5; ++i) {
    const ByteRange range{i * 5'000'000, i * 5'000'000 + 1'000'000};
    auto& player = get("/t", range);
    expect_body(player, range);
    EXPECT_EQ(player.status, 206);
  }
  EXPECT_EQ(counters().contacts.get(), 1u);
}

}  // namespace
}  // namespace segue::edge::test
