// First contact: one question per unknown key, whatever is asked, and every form its answer takes.
#include "tests/unit/edge/fill_fixture.h"

namespace segue::edge::test {
namespace {

class FillContact : public FillTest {};

TEST_F(FillContact, ABoundedRangeOfAnUnknownTrackIsOneRequestForWholeSlices) {
  origin.add("/t", 3 * MiB);
  auto& player = get("/t", {300'000, 400'000});
  expect_body(player, {300'000, 400'000});
  EXPECT_EQ(player.status, 206);
  EXPECT_EQ(player.complete_length, 3 * MiB);
  ASSERT_EQ(origin.requests().size(), 1u);
  EXPECT_EQ(origin.requests()[0].range, (ByteRange{kSlice, 2 * kSlice}));
  EXPECT_FALSE(player.selection.hit);
}

TEST_F(FillContact, TheSecondRequestIsAHitWithoutTheOrigin) {
  origin.add("/t", 3 * MiB);
  get("/t", {0, 1000});
  auto& player = get("/t", {500, 2000});
  expect_body(player, {500, 2000});
  EXPECT_TRUE(player.selection.hit);
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, AHundredDifferentColdRangesOfOneTrackAreOneContact) {
  origin.add("/t", 100 * kSlice).latency = 50ms;
  for (uint64_t i = 0; i < 100; ++i) {
    start({.target = "/t", .form = Form::Bounded, .range = {i * kSlice + 7, i * kSlice + 1007}},
          static_cast<uint32_t>(i % kLoops));
  }
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) expect_body(*player, player->request.range);
  EXPECT_EQ(total(&FillCounters::contacts), 1u);
  EXPECT_EQ(origin.fetches("/t"), 100u);
}

TEST_F(FillContact, AHundredRequestsForOneColdRangeAreOneFetchAndFollowItsFirstByte) {
  origin.add("/t", 10 * MiB).latency = 50ms;
  for (uint32_t i = 0; i < 100; ++i)
    start({.target = "/t", .form = Form::Bounded, .range = {0, 100'000}}, i % kLoops);
  const MonoTime began = world.clock().mono();
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) {
    expect_body(*player, {0, 100'000});
    EXPECT_LE(player->first_byte_at - began, 55ms);
  }
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, TheTailOfAColdTrackIsOneRequestOfAtMostTwoSlices) {
  constexpr uint64_t kLength = 60'000'000;
  origin.add("/t", kLength);
  auto& player = get({.target = "/t", .form = Form::Suffix, .range = {0, 64 * KiB}});
  expect_body(player, {kLength - 64 * KiB, kLength});
  EXPECT_EQ(origin.fetches("/t"), 1u);
  EXPECT_LE(origin.bytes_sent("/t"), 512 * KiB);
}

TEST_F(FillContact, ALongSuffixLearnsTheLengthByOneByte) {
  constexpr uint64_t kLength = 20'000'000;
  origin.add("/t", kLength);
  auto& player = get({.target = "/t", .form = Form::Suffix, .range = {0, 6 * MiB}});
  expect_body(player, {kLength - 6 * MiB, kLength});
  EXPECT_EQ(origin.requests()[0].range, (ByteRange{0, 1}));
}

TEST_F(FillContact, ARefusedSuffixLearnsTheLengthByOneByte) {
  constexpr uint64_t kLength = 2'000'000;
  origin.add("/t", kLength).refuses_suffix = true;
  auto& player = get({.target = "/t", .form = Form::Suffix, .range = {0, 1000}});
  expect_body(player, {kLength - 1000, kLength});
  EXPECT_EQ(origin.requests()[1].range, (ByteRange{0, 1}));
}

TEST_F(FillContact, ASuffixLongerThanTheTrackIsAllOfIt) {
  origin.add("/t", 1000);
  auto& player = get({.target = "/t", .form = Form::Suffix, .range = {0, 5000}});
  expect_body(player, {0, 1000});
}

TEST_F(FillContact, AnUnsatisfiableRangeLearnsTheLengthAndIsA416) {
  origin.add("/t", 1000);
  auto& player = get("/t", {5 * MiB, 6 * MiB});
  EXPECT_FALSE(player.failed);
  EXPECT_EQ(player.status, 416);
  EXPECT_EQ(player.complete_length, 1000u);
}

TEST_F(FillContact, ARangeThatBeginsBehindTheEndInsideTheLastSliceIsA416) {
  origin.add("/t", 1000);
  EXPECT_EQ(get("/t", {2000, 3000}).status, 416);
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, AnEmptyRepresentationIsAnEmpty200) {
  origin.add("/t", 0);
  auto& player = get({.target = "/t"});
  EXPECT_FALSE(player.failed);
  EXPECT_EQ(player.status, 200);
  EXPECT_EQ(player.body, "");
  EXPECT_TRUE(get({.target = "/t"}).selection.hit);
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, An416ToARangeThatExistsIsAskedAgainWithoutRange) {
  origin.add("/t", 600'000).refuses_ranges = true;
  expect_body(get("/t", {0, 1000}), {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillContact, An416WithoutALengthIsAskedAgainWithoutRange) {
  auto& track = origin.add("/t", 600'000);
  track.refuses_ranges = true;
  track.no_length_in_416 = true;
  expect_body(get("/t", {0, 1000}), {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillContact, A206WithoutATotalIsAskedAgainWithoutRange) {
  origin.add("/t", 600'000).no_total = true;
  auto& player = get("/t", {0, 1000});
  expect_body(player, {0, 1000});
  EXPECT_EQ(player.complete_length, 600'000u);
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillContact, AnOriginThatIgnoresRangeIsCutIntoSlicesAndServesSeeksFromOneAnswer) {
  auto& track = origin.add("/t", 5'000'000);
  track.ignores_range = true;
  track.chunk_delay = 1ms;
  auto& head = start({.target = "/t", .form = Form::OpenEnded, .range = {0, 0}});
  world.run_for(5ms);
  auto& seek = start({.target = "/t", .form = Form::Bounded, .range = {4'000'000, 4'100'000}});
  EXPECT_TRUE(world.run_until_idle());
  expect_body(head, {0, 5'000'000});
  expect_body(seek, {4'000'000, 4'100'000});
  EXPECT_EQ(head.status, 206);
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, A200OfUnknownLengthIsServedAs206OnceItsEndIsSeen) {
  origin.add("/t", 700'000).unknown_length = true;
  auto& player = get("/t", {100, 1100});
  expect_body(player, {100, 1100});
  EXPECT_EQ(player.status, 206);
  EXPECT_EQ(player.complete_length, 700'000u);
  expect_body(get("/t", {600'000, 700'000}), {600'000, 700'000});
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, A200OfUnknownLengthAtTheLimitIsStoredAndAboveItPassedThroughWhole) {
  const uint64_t limit = Fills::Options{}.unknown_length_bytes_max;
  origin.add("/at", limit).unknown_length = true;
  origin.add("/above", limit + 1).unknown_length = true;
  auto& at = get({.target = "/at"});
  expect_body(at, {0, limit});
  EXPECT_EQ(at.selection.pass_head, nullptr);
  auto& above = get({.target = "/above"});
  expect_body(above, {0, limit + 1});
  EXPECT_EQ(above.selection.selected.generation.get(), nullptr);
}

TEST_F(FillContact, ASlow200OfUnknownLengthIsPassedThrough) {
  auto& track = origin.add("/t", 1'000'000);
  track.unknown_length = true;
  track.chunk_delay = 500ms;
  auto& player = get({.target = "/t"});
  expect_body(player, {0, 1'000'000});
  EXPECT_EQ(player.selection.selected.generation.get(), nullptr);
}

TEST_F(FillContact, ACloseDelimitedBodyIsNeverStored) {
  auto& track = origin.add("/t", 1000);
  track.unknown_length = true;
  track.close_delimited = true;
  expect_body(get({.target = "/t"}), {0, 1000});
  expect_body(get({.target = "/t"}), {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillContact, AHeadRequestIsAContactOfOneSlice) {
  origin.add("/t", 5'000'000);
  auto& player = get({.target = "/t", .head_only = true});
  EXPECT_EQ(player.complete_length, 5'000'000u);
  EXPECT_LE(origin.bytes_sent("/t"), kSlice);
  EXPECT_EQ(get("/t", {0, 10}).selection.hit, true);
}

TEST_F(FillContact, WhatMayNotBeStoredGoesToEachOnItsOwnWithoutAQueue) {
  auto& track = origin.add("/t", 1'000'000);
  track.fields.emplace_back("Cache-Control", "no-store");
  track.latency = 50ms;
  for (uint64_t i = 0; i < 10; ++i)
    start({.target = "/t", .form = Form::Bounded, .range = {i, i + 1000}});
  const MonoTime began = world.clock().mono();
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) {
    expect_body(*player, player->request.range);
    EXPECT_EQ(player->status, 206);
    EXPECT_LE(player->head_at - began, 101ms);  // the contact, then all at once
  }
  EXPECT_EQ(total(&FillCounters::contacts), 1u);
  get("/t", {0, 10});
  EXPECT_EQ(total(&FillCounters::contacts), 1u);  // still passed through
  world.run_for(11s);
  get("/t", {0, 10});
  EXPECT_EQ(total(&FillCounters::contacts), 2u);  // looked at again
}

TEST_F(FillContact, ANegativeAnswerIsStoredForItsTimeAndServedToAllWhoWait) {
  auto& track = origin.add("/t", 120);
  track.status = 404;
  track.latency = 10ms;
  for (int i = 0; i < 20; ++i) start({.target = "/t", .form = Form::Bounded, .range = {0, 10}});
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) {
    EXPECT_EQ(player->status, 404);
    expect_body(*player, {0, 120});
  }
  EXPECT_EQ(origin.fetches("/t"), 1u);
  world.run_for(11s);
  get({.target = "/t"});
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillContact, ALongNegativeAnswerIsPassedThrough) {
  origin.add("/t", kSmallAnswerBytesMax + 1).status = 404;
  origin.add("/s", kSmallAnswerBytesMax).status = 410;
  auto& player = get({.target = "/t"});
  EXPECT_EQ(player.status, 404);
  expect_body(player, {0, kSmallAnswerBytesMax + 1});
  expect_body(get({.target = "/s"}), {0, kSmallAnswerBytesMax});
  EXPECT_EQ(counters().negative_stored.get(), 1u);
}

TEST_F(FillContact, AServerErrorIsOneAnswerForAllWhoWaitAndAskedForAgainByTheNext) {
  auto& track = origin.add("/t", 100);
  track.status = 503;
  track.latency = 20ms;
  for (int i = 0; i < 20; ++i) start({.target = "/t"});
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) EXPECT_EQ(player->status, 503);
  EXPECT_EQ(origin.fetches("/t"), 1u);
  track.status = 200;
  EXPECT_EQ(get({.target = "/t"}).status, 200);
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillContact, OtherStatusesAreStoredOnTheOriginsWord) {
  auto& odd = origin.add("/odd", 100);
  odd.status = 299;
  odd.fields.emplace_back("Cache-Control", "max-age=60");
  origin.add("/plain", 100).status = 299;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(get({.target = "/odd"}).status, 299);
    EXPECT_EQ(get({.target = "/plain"}).status, 299);
  }
  EXPECT_EQ(origin.fetches("/odd"), 1u);
  EXPECT_EQ(origin.fetches("/plain"), 2u);
}

TEST_F(FillContact, ARefusedOriginIsOneErrorForAllWhoWaitAndNotHammered) {
  auto& track = origin.add("/t", 1000);
  track.latency = 20ms;
  track.faults.push_back({.refuse = true});
  for (int i = 0; i < 50; ++i) start({.target = "/t"});
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) {
    EXPECT_TRUE(player->failed);
    EXPECT_EQ(player->error.side, Side::Origin);
    EXPECT_EQ(player->error.kind, Kind::Refused);
  }
  EXPECT_EQ(origin.fetches("/t"), 1u);
  world.run_for(1100ms);
  expect_body(get({.target = "/t"}), {0, 1000});
}

TEST_F(FillContact, ASilentOriginIsATimeoutWithinSixSeconds) {
  origin.add("/t", 1000).faults.push_back({.silent = true});
  const MonoTime began = world.clock().mono();
  auto& player = get({.target = "/t"});
  EXPECT_TRUE(player.failed);
  EXPECT_EQ(player.error.kind, Kind::Timeout);
  EXPECT_LE(player.head_at - began, 6001ms);
}

TEST_F(FillContact, AWrongRangeIsAnErrorAndStoresNothing) {
  origin.add("/t", 1000).faults.push_back({.wrong_range = true});
  EXPECT_EQ(get({.target = "/t"}).error.kind, Kind::Mismatch);
  EXPECT_EQ(store->usage().representations, 0u);
}

TEST_F(FillContact, TheStarterThatLeavesDoesNotEndTheContactForOthers) {
  origin.add("/t", 1'000'000).latency = 50ms;
  auto& first = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
  auto& second = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}}, 1);
  world.run_for(10ms);
  {
    const Loop::Turn turn(world.loop(0));
    first.leave();
  }
  world.run_for(1ms);
  EXPECT_TRUE(first.done);
  EXPECT_EQ(first.error.side, Side::Client);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(second, {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 1u);
}

TEST_F(FillContact, APurgeDuringTheContactKeepsItsAnswerFromBeingServedOrStored) {
  origin.add("/t", 1000).latency = 50ms;
  auto& player = start({.target = "/t"});
  world.run_for(10ms);
  purge("/t");
  EXPECT_TRUE(world.run_until_idle());
  expect_body(player, {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);  // asked again, after the purge
}

TEST_F(FillContact, OnlyListedRequestFieldsGoToTheOrigin) {
  origin.add("/t", 1000);
  site_rules->forward_fields = {"x-listed", "range"};
  get({.target = "/t",
       .fields = {{"X-Listed", "a"}, {"X-Other", "b"}, {"Cookie", "c"}, {"Range", "bytes=1-2"}}});
  ASSERT_EQ(origin.requests().size(), 1u);
  const auto& fields = origin.requests()[0].fields;
  ASSERT_EQ(fields.size(), 2u);
  EXPECT_EQ(fields[0].first, "X-Listed");
  EXPECT_EQ(fields[1].first, "traceparent");
}

TEST_F(FillContact, VariantsAreKeptApartAndEachIsAHitOfItsOwn) {
  site_rules->forward_fields = {"accept-language"};
  origin.add("/t", 1000).fields.emplace_back("Vary", "Accept-Language");
  const Request german{.target = "/t", .fields = {{"Accept-Language", "de"}}};
  const Request french{.target = "/t", .fields = {{"Accept-Language", "fr"}}};
  expect_body(get(german), {0, 1000});
  expect_body(get(french), {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
  EXPECT_TRUE(get(german).selection.hit);
  EXPECT_TRUE(get(french).selection.hit);
  EXPECT_EQ(origin.fetches("/t"), 2u);
  purge("/t");
  EXPECT_FALSE(get(german).selection.hit);  // the list's purge covers its variants
  EXPECT_FALSE(get(french).selection.hit);
}

TEST_F(FillContact, VaryOnAFieldThatNeverReachesTheOriginMakesNoVariants) {
  origin.add("/t", 1000).fields.emplace_back("Vary", "Origin, Accept-Encoding");
  get({.target = "/t", .fields = {{"Origin", "https://a.example"}}});
  EXPECT_TRUE(get({.target = "/t", .fields = {{"Origin", "https://b.example"}}}).selection.hit);
}

TEST_F(FillContact, AnAuthorizedAnswerIsSharedOnlyIfAuthorizationStaysHere) {
  origin.add("/t", 1000);
  get({.target = "/t", .authorized = true});
  EXPECT_TRUE(get({.target = "/t"}).selection.hit);
  site_rules->forward_fields = {"authorization"};
  origin.add("/u", 1000);
  const std::vector<http::Field> fields{{"Authorization", "Bearer x"}};
  get({.target = "/u", .authorized = true, .fields = fields});
  EXPECT_FALSE(get({.target = "/u", .authorized = true, .fields = fields}).selection.hit);
}

}  // namespace
}  // namespace segue::edge::test
