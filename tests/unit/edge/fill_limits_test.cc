// Bounds and ends: full groups, full pools, a full breaker, a drain, and no allocation on a hit.
#include <cstdlib>
#include <map>
#include <new>

#include "tests/unit/edge/fill_fixture.h"

namespace {
thread_local uint64_t allocations = 0;
}  // namespace

// Counts every allocation of this test binary; a sanitizer's runtime brings its own operator new.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
void* operator new(size_t bytes) {
  ++allocations;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace segue::edge::test {
namespace {

class FillLimits : public FillTest {};

TEST_F(FillLimits, AHitAcrossASliceBorderAllocatesNothing) {
  origin.add("/t", 2 * MiB);
  get("/t", {0, 2 * MiB});
  auto& player = get("/t", {kSlice - 1000, kSlice + 1000});
  const Loop::Turn turn(world.loop(0));
  const uint64_t before = allocations;
  Selection selection;
  ASSERT_TRUE(fills[0]->try_select(player.asked, selection));
  {
    RangeReader reader(*fills[0], player.asked, selection.selected, {kSlice - 1000, kSlice + 1000},
                       false);
    EXPECT_EQ(reader.try_readable(kSlice - 1000).bytes.size(), 1000u);
    EXPECT_EQ(reader.try_readable(kSlice).bytes.size(), 1000u);
  }
  EXPECT_EQ(allocations, before);
}

TEST_F(FillLimits, WithEveryFillTakenARequestIsRefusedAndTheOthersEndWell) {
  for (int i = 0; i < 129; ++i) {
    origin.add("/" + std::to_string(i), 1000).latency = 50ms;
    start({.target = "/" + std::to_string(i)});
  }
  EXPECT_EQ(fills[0]->running(), 128u);  // FillTest's fills_max
  EXPECT_TRUE(world.run_until_idle());
  for (int i = 0; i < 128; ++i) expect_body(*players[static_cast<size_t>(i)], {0, 1000});
  EXPECT_TRUE(players[128]->failed);
  EXPECT_EQ(players[128]->error.side, Side::Self);
  EXPECT_EQ(players[128]->error.kind, Kind::Overloaded);
  expect_body(get({.target = "/128"}), {0, 1000});  // and nothing of it stays behind
}

TEST_F(FillLimits, AFetcherThatIsFullIsAnOverloadAndNotRemembered) {
  origin.add("/t", 1000);
  fetchers[0]->refuses = true;
  EXPECT_EQ(get({.target = "/t"}).error.kind, Kind::Overloaded);
  fetchers[0]->refuses = false;
  expect_body(get({.target = "/t"}), {0, 1000});
}

TEST_F(FillLimits, ADrainEndsFillsAndRefusesNewRequests) {
  origin.add("/t", 20 * MiB).chunk_delay = 5ms;
  auto& player = start({.target = "/t", .form = Form::Bounded, .range = {0, 4 * MiB}});
  world.run_for(20ms);
  {
    const Loop::Turn turn(world.loop(0));
    ASSERT_TRUE(groups[0]->try_spawn(fills[0]->drain()));
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_TRUE(player.failed);
  EXPECT_EQ(fills[0]->running(), 0u);
  EXPECT_LE(origin.bytes_sent("/t"), 2 * MiB);
  EXPECT_EQ(get({.target = "/t"}).error.kind, Kind::Overloaded);
}

TEST_F(FillLimits, AClientThatLeavesAPassThroughRequestIsGoneAtOnce) {
  auto& track = origin.add("/t", 1'000'000);
  track.fields.emplace_back("Cache-Control", "private");
  get("/t", {0, 1000});
  track.latency = 3s;
  auto& player = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
  world.run_for(10ms);
  {
    const Loop::Turn turn(world.loop(0));
    player.leave();
  }
  world.run_for(1ms);
  EXPECT_TRUE(player.done);
}

/// An origin that may be asked four things at a time.
class FillFewFetches : public FillTest {
 protected:
  explicit FillFewFetches(uint64_t ram_bytes = 64 * MiB)
      : FillTest({.ram_bytes = ram_bytes, .fetches_max = 4}) {}
  /// So many cold tracks, each asked for once on loop 0.
  void ask_cold(uint32_t tracks, std::chrono::nanoseconds latency) {
    for (uint32_t i = 0; i < tracks; ++i) {
      const std::string target = "/" + std::to_string(i);
      origin.add(target, MiB).latency = latency;
      start({.target = target, .form = Form::Bounded, .range = {0, 500'000}});
    }
  }
  void ask_cold_and_leave(const std::string& folder, uint32_t tracks, bool leaves = true) {
    for (uint32_t i = 0; i < tracks; ++i) {
      const std::string target = folder + "/" + std::to_string(i);
      origin.add(target, MiB);
      Player& player = start({.target = target, .form = Form::Bounded, .range = {0, 1000}});
      world.run_for(1ms);
      if (leaves) leave(player);
    }
  }
  void leave(Player& player) {
    const Loop::Turn turn(world.loop(player.on));
    player.leave();
  }
};

TEST_F(FillFewFetches, ACrowdOnAColdCacheQueuesAndIsServedInTheOrderOfComing) {
  ask_cold(100, 5ms);
  world.run_for(1ms);
  EXPECT_EQ(origin.in_flight(), 4u);
  EXPECT_EQ(counters().fetches_waiting.get(), 96u);
  EXPECT_EQ(counters().fills_in_flight.get(), 100u) << "what the overload manager judges";
  EXPECT_TRUE(world.run_until_idle());
  ASSERT_EQ(origin.requests().size(), 100u);
  for (size_t i = 0; i < players.size(); ++i) {
    expect_body(*players[i], {0, 500'000});
    EXPECT_EQ(origin.requests()[i].target, "/" + std::to_string(i));
  }
  EXPECT_EQ(counters().fetch_waits.get(), 96u);
  EXPECT_EQ(counters().fetches_waiting.get(), 0u);
  EXPECT_EQ(counters().fetch_refusals.get(), 0u);
}

TEST_F(FillFewFetches, ThoseWhomAnOriginKeepsWaitingTooLongAreToldAndTheOriginIsNotAsked) {
  ask_cold(8, 20s);
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 4; i < 8; ++i) EXPECT_TRUE(players[i]->failed);
  EXPECT_EQ(origin.requests().size(), 4u);
  EXPECT_EQ(counters().fetch_refusals.get(), 4u);
}

TEST_F(FillFewFetches, APrefetchNeverQueues) {
  ask_cold(4, 50ms);
  origin.add("/guess", MiB);
  world.run_for(1ms);
  Player& guess =
      start({.target = "/guess", .form = Form::Bounded, .range = {0, 1000}, .prefetch = true});
  world.run_for(1ms);
  EXPECT_TRUE(guess.failed);
  EXPECT_EQ(counters().fetch_waits.get(), 0u);
}

TEST_F(FillFewFetches, AReaderWhoseFillHasToWaitGoesOnWhenItsTurnComes) {
  origin.add("/long", 20 * MiB);
  get({.target = "/long", .form = Form::Bounded, .range = {0, 1000}});
  ask_cold(4, 30ms);
  world.run_for(1ms);
  start({.target = "/long", .form = Form::Bounded, .range = {8 * MiB, 9 * MiB}});
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 1; i <= 4; ++i) expect_body(*players[i], {0, 500'000});
  expect_body(*players[5], {8 * MiB, 9 * MiB});
}

TEST_F(FillFewFetches, ReadersOfOneSliceWaitForOneFillAndAllGetIt) {
  origin.add("/long", 20 * MiB);
  get({.target = "/long", .form = Form::Bounded, .range = {0, 1000}});
  ask_cold(4, 30ms);
  world.run_for(1ms);
  for (int i = 0; i < 20; ++i)
    start({.target = "/long", .form = Form::Bounded, .range = {8 * MiB, 8 * MiB + 100}});
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 5; i < players.size(); ++i) expect_body(*players[i], {8 * MiB, 8 * MiB + 100});
  EXPECT_EQ(counters().fetch_waits.get(), 1u);
}

TEST_F(FillFewFetches, ForThoseWhoLeaveTheQueueTheOriginIsNotAsked) {
  ask_cold(4, 50ms);
  ask_cold_and_leave("/gone", 50);
  origin.add("/stays", MiB);
  Player& stays = start({.target = "/stays", .form = Form::Bounded, .range = {0, 1000}});
  EXPECT_TRUE(world.run_until_idle());
  expect_body(stays, {0, 1000});
  EXPECT_EQ(origin.requests().size(), 5u);
  EXPECT_EQ(counters().fetch_refusals.get(), 0u);
}

TEST_F(FillFewFetches, OneWhoLeavesDoesNotLoseTheTurnOfThoseWhoWaitWithIt) {
  ask_cold(4, 50ms);
  ask_cold_and_leave("/shared", 1, /*leaves=*/false);
  Player& first = *players.back();
  Player& other = start({.target = "/shared/0", .form = Form::Bounded, .range = {0, 1000}}, 1);
  world.run_for(1ms);
  leave(first);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(other, {0, 1000});
  EXPECT_EQ(origin.requests().size(), 5u);
}

TEST_F(FillFewFetches, AContactThatItsStarterLeftQueuesForWhoCameSince) {
  auto& track = origin.add("/t", 600'000);
  track.refuses_ranges = true;  // it is asked once more
  track.latency = 50ms;
  Player& first = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
  world.run_for(10ms);
  leave(first);
  world.run_for(1ms);
  EXPECT_TRUE(first.done);
  Player& other = start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}});
  ask_cold(8, 200ms);  // one of them gets the place of its first try
  EXPECT_TRUE(world.run_until_idle());
  expect_body(other, {0, 1000});
  EXPECT_EQ(origin.fetches("/t"), 2u);
}

TEST_F(FillFewFetches, AFillThatNobodyWaitsForAnyMoreAsksNobody) {
  origin.add("/long", 20 * MiB);
  get({.target = "/long", .form = Form::Bounded, .range = {0, 1000}});
  ask_cold(4, 50ms);
  Player& gone = start({.target = "/long", .form = Form::Bounded, .range = {8 * MiB, 9 * MiB}});
  world.run_for(1ms);
  EXPECT_EQ(fills[0]->running(), 5u);
  leave(gone);
  world.run_for(1ms);
  EXPECT_EQ(fills[0]->running(), 4u) << "it is no task any more, long before its turn";
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(origin.requests().size(), 5u);
  expect_body(get("/long", {8 * MiB, 9 * MiB}), {8 * MiB, 9 * MiB});
}

TEST_F(FillFewFetches, AFillWaitsOnAsLongAsOneOfThoseWhoWaitForItStays) {
  origin.add("/long", 20 * MiB);
  get({.target = "/long", .form = Form::Bounded, .range = {0, 1000}});
  ask_cold(4, 50ms);
  Player& gone = start({.target = "/long", .form = Form::Bounded, .range = {8 * MiB, 9 * MiB}});
  Player& stays = start({.target = "/long", .form = Form::Bounded, .range = {8 * MiB, 9 * MiB}});
  world.run_for(1ms);
  leave(gone);
  world.run_for(1ms);
  EXPECT_EQ(fills[0]->running(), 5u);
  EXPECT_TRUE(world.run_until_idle());
  expect_body(stays, {8 * MiB, 9 * MiB});
  EXPECT_EQ(counters().fetch_waits.get(), 1u);
}

/// A known track, of which another server now shows another version.
class FillOtherServer : public FillFewFetches {
 protected:
  /// Asks for a mebibyte of it beside others who take all places and those that come free.
  Player& ask_in_a_crowd(bool prefetch) {
    FakeTrack& track = origin.add("/long", 20 * MiB);
    get({.target = "/long", .form = Form::Bounded, .range = {0, 1000}});
    track.server = 1;
    track.latency = 10ms;
    origin.change("/long", 20 * MiB);
    ask_cold(2, 50ms);
    Player& asking = start({.target = "/long",
                            .form = Form::Bounded,
                            .range = {8 * MiB, 9 * MiB},
                            .prefetch = prefetch});
    for (const std::string target : {"/a", "/b"}) {
      origin.add(target, MiB).latency = 50ms;
      start({.target = target, .form = Form::Bounded, .range = {0, 500'000}});
    }
    world.run_for(5ms);
    EXPECT_EQ(counters().fetch_waits.get(), 1u);
    EXPECT_EQ(store->usage().filling, 4u);
    world.run_for(10ms);
    EXPECT_EQ(store->usage().filling, 0u) << "whoever waits for a place holds no buffer";
    return asking;
  }
};

TEST_F(FillOtherServer, AFillThatAsksOnceMoreQueuesAgainAndHoldsNoBufferMeanwhile) {
  Player& asking = ask_in_a_crowd(/*prefetch=*/false);
  EXPECT_EQ(counters().fetch_waits.get(), 2u);
  origin.track("/long").server = 0;
  origin.track("/long").version = 1;
  origin.track("/long").etag = "\"v1\"";
  EXPECT_TRUE(world.run_until_idle());
  expect_body(asking, {8 * MiB, 9 * MiB});
  EXPECT_EQ(origin.fetches("/long"), 3u);
}

TEST_F(FillOtherServer, APrefetchDoesNotQueueForItsSecondTryEither) {
  Player& asking = ask_in_a_crowd(/*prefetch=*/true);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_TRUE(asking.failed);
  EXPECT_EQ(counters().fetch_waits.get(), 1u);
  EXPECT_EQ(origin.fetches("/long"), 2u);
  EXPECT_EQ(counters().generations_replaced.get(), 0u);
}

TEST_F(FillFewFetches, WhatIsPassedThroughLeavesHalfOfThePlaces) {
  for (int i = 0; i < 6; ++i) {
    const std::string target = "/private/" + std::to_string(i);
    origin.add(target, 8 * MiB).fields.emplace_back("Cache-Control", "private");
    start({.target = target, .form = Form::None, .stop_after = 1000, .stays = true});
  }
  world.run_for(1s);
  EXPECT_EQ(origin.in_flight(), 2u);
  origin.add("/t", MiB);
  expect_body(get({.target = "/t", .form = Form::Bounded, .range = {0, 1000}}), {0, 1000});
}

/// What origins are asked, by who pays.
struct Ledger final : OriginMeter {
  uint64_t charge(Payer payer, uint64_t bytes, MonoTime) noexcept override {
    owed[payer] += bytes;
    return bytes;
  }
  void give_back(Payer payer, uint64_t put_down, uint64_t came) noexcept override {
    owed[payer] -= put_down - came;
  }
  std::map<Payer, uint64_t> owed;
};

class FillOnAccount : public FillFewFetches {
 protected:
  FillOnAccount() { fills[0]->meter_by(&ledger); }
  Ledger ledger;
};

TEST_F(FillOnAccount, ASliceIsPaidByWhoFirstAskedForItAndByNobodyElse) {
  origin.add("/t", 20 * MiB).latency = 10ms;
  for (uint64_t payer = 1; payer <= 20; ++payer)
    start({.target = "/t", .form = Form::Bounded, .range = {0, 1000}, .payer = payer});
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(ledger.owed[1], kSliceBytes);
  ledger.owed.erase(1);
  for (const auto& [payer, bytes] : ledger.owed) EXPECT_EQ(bytes, 0u) << payer;
}

TEST_F(FillOnAccount, WhoLeavesAtOnceHasPaid) {
  origin.add("/t", 20 * MiB).latency = 10ms;
  Player& player = start({.target = "/t", .form = Form::Bounded, .range = {0, MiB}, .payer = 7});
  EXPECT_EQ(ledger.owed[7], MiB) << "before the origin has answered";
  leave(player);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(ledger.owed[7], origin.bytes_sent("/t"));
}

TEST_F(FillOnAccount, WhatTheOriginHadNotToSendIsGivenBack) {
  origin.add("/short", 1000);
  get({.target = "/short", .form = Form::Bounded, .range = {0, 4 * MiB}, .payer = 7});
  EXPECT_EQ(ledger.owed[7], 1000u);
  get({.target = "/absent", .form = Form::None, .payer = 8});
  EXPECT_LT(ledger.owed[8], 1000u);
  origin.add("/refused", MiB).faults.push_back({.refuse = true});
  get({.target = "/refused", .form = Form::None, .payer = 9});
  EXPECT_EQ(ledger.owed[9], 0u);
}

TEST_F(FillOnAccount, WhatIsPassedThroughIsPaidAsItComes) {
  origin.add("/t", 8 * MiB).fields.emplace_back("Cache-Control", "private");
  get({.target = "/t", .form = Form::None, .payer = 7});
  EXPECT_EQ(ledger.owed[7], origin.bytes_sent("/t"));
}

TEST_F(FillFewFetches, ADrainDoesNotWaitForThoseWhoQueue) {
  ask_cold(50, 1s);
  world.run_for(1ms);
  {
    const Loop::Turn turn(world.loop(0));
    ASSERT_TRUE(groups[0]->try_spawn(fills[0]->drain()));
  }
  const MonoTime began = world.loop(0).now();
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_LT(world.loop(0).now() - began, 2s);
  EXPECT_EQ(origin.requests().size(), 4u);
  EXPECT_EQ(fills[0]->running(), 0u);
}

/// Where buffers are as few as fetches, nobody may hold the one and wait for the other.
class FillFewOfBoth : public FillFewFetches {
 protected:
  FillFewOfBoth() : FillFewFetches(4 * MiB) {}
};

TEST_F(FillFewOfBoth, NobodyWaitsForEver) {
  ask_cold(60, 5ms);
  for (uint32_t i = 0; i < 20; ++i) {
    const std::string target = "/long/" + std::to_string(i);
    origin.add(target, 6 * MiB);
    start({.target = target, .form = Form::None});
  }
  EXPECT_TRUE(world.run_until_idle());
  for (size_t i = 0; i < 60; ++i) expect_body(*players[i], {0, 500'000});
  for (size_t i = 60; i < 80; ++i) expect_body(*players[i], {0, 6 * MiB});
}

class FillTinyRam : public FillTest {
 protected:
  FillTinyRam() : FillTest({.ram_bytes = 4 * MiB}) {}
};

TEST_F(FillTinyRam, MoreColdRequestsThanBuffersQueueAndAreAllServed) {
  for (uint32_t i = 0; i < 100; ++i) {
    const std::string target = "/" + std::to_string(i);
    auto& track = origin.add(target, MiB);
    track.latency = 5ms;
    start({.target = target, .form = Form::Bounded, .range = {0, 500'000}}, i % kLoops);
  }
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) expect_body(*player, {0, 500'000});
  EXPECT_GT(total(&FillCounters::buffer_waits), 0u);
}

/// Many seeds: cuts, changes, purges and leaving clients in every order; whoever was not cut has
/// the true bytes of one version, and nothing stays held (FillTest::TearDown).
class FillManySeeds : public FillTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  FillManySeeds() : FillTest({.ram_bytes = 8 * MiB, .seed = GetParam()}) {}
};

TEST_P(FillManySeeds, EveryBodyIsAPrefixOfOneVersion) {
  testing::Random random(GetParam());
  for (int t = 0; t < 4; ++t) {
    auto& track = origin.add("/" + std::to_string(t), 1'500'000 + random.below(3'000'000));
    track.latency = 5ms;
    track.chunk_delay = std::chrono::microseconds(random.below(2000));
    track.ignores_range = random.below(8) == 0;
    track.fields.emplace_back("Cache-Control", "max-age=1, stale-if-error=5");
  }
  for (uint32_t i = 0; i < 60; ++i) {
    const std::string target = "/" + std::to_string(random.below(4));
    auto& track = origin.track(target);
    switch (random.below(12)) {
      case 0:
        track.faults.push_back({.cut_after_bytes = random.below(800'000)});
        break;
      case 1:
        track.faults.push_back({.refuse = true});
        break;
      case 2:
        origin.change(target, 1'500'000 + random.below(3'000'000));
        break;
      case 3:
        purge(target, random.below(2) == 0);
        break;
      case 4:
        track.faults.push_back({.status = 503});
        break;
      default:
        break;
    }
    const uint64_t first = random.below(3'000'000);
    Request request{.target = target,
                    .form = static_cast<Form>(random.below(4)),
                    .range = {first, first + 1 + random.below(2'000'000)}};
    if (random.below(5) == 0) request.stop_after = random.below(500'000);
    start(std::move(request), static_cast<uint32_t>(random.below(kLoops)));
    world.run_for(std::chrono::milliseconds(random.below(60)));
    if (random.below(6) == 0) {
      auto& leaving = *players[random.below(players.size())];
      const Loop::Turn turn(world.loop(leaving.on));
      leaving.leave();
    }
  }
  EXPECT_TRUE(world.run_until_idle());
  for (auto& player : players) {
    EXPECT_TRUE(player->done);
    if (player->body.empty() || player->status > 299) continue;
    const uint64_t length = player->complete_length;
    const ByteRange range =
        player->passed ? player->passed_range : wanted_of(player->request, length);
    bool is_prefix = false;
    const uint64_t last = origin.track(player->request.target).version;
    for (uint64_t version = 1; version <= last && !is_prefix; ++version) {
      is_prefix =
          player->body == FakeOrigin::bytes(player->request.target, version,
                                            {range.first, range.first + player->body.size()});
    }
    EXPECT_TRUE(is_prefix) << player->request.target << " seed " << GetParam();
    if (!player->failed && player->request.stop_after == UINT64_MAX)
      EXPECT_EQ(player->body.size(), range.length());
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FillManySeeds, ::testing::Range<uint64_t>(1, 41));

}  // namespace
}  // namespace segue::edge::test
