// Goal: HTTP/2's own decisions: what is a flood, who goes first, how heads are turned, and that a
// connection sends whole frames whatever its host takes. Method: the pure parts alone; the
// connection on a host of memory that takes what the test lets it.
#include <gtest/gtest.h>

#include "edge/server/h2_connection.h"
#include "tests/unit/edge/http2_fixture.h"

namespace segue::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Http2Guard, ABurstIsAllowedAndWhatIsEarnedSinceButNoMore) {
  Http2Guard guard;
  MonoTime now{seconds{100}};
  const FloodLimit limit = kFloodLimits[static_cast<size_t>(Flood::Ping)];
  for (uint32_t i = 0; i < limit.burst; ++i) EXPECT_FALSE(guard.on_frame(NGHTTP2_PING, now));
  EXPECT_EQ(guard.on_frame(NGHTTP2_PING, now), Flood::Ping);
  Http2Guard patient;
  for (int i = 0; i < 1000; ++i) {
    now += milliseconds{1000} / limit.per_second;
    EXPECT_FALSE(patient.on_frame(NGHTTP2_PING, now));
  }
}

TEST(Http2Guard, DataThatIsSentEarnsTheUpdatesOfItsWindowsAlsoWhereTheyComeLate) {
  Http2Guard guard;
  MonoTime now{seconds{100}};
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 256; ++i) guard.on_data_sent(16'384);
    now += seconds{1};
    for (int i = 0; i < 2 * 4096; ++i) ASSERT_FALSE(guard.on_frame(NGHTTP2_WINDOW_UPDATE, now));
  }
}

TEST(Http2Guard, DataThatIsSentByTheByteEarnsNoUpdates) {
  Http2Guard guard;
  const MonoTime now{seconds{100}};
  std::optional<Flood> flood;
  for (int i = 0; i < 2000 && !flood; ++i) {
    guard.on_data_sent(1);
    flood = guard.on_frame(NGHTTP2_WINDOW_UPDATE, now);
  }
  EXPECT_EQ(flood, Flood::WindowUpdate);
}

TEST(Http2Guard, ContinuationsAreCountedPerFieldBlock) {
  Http2Guard guard;
  for (int block = 0; block < 100; ++block) {
    EXPECT_FALSE(guard.on_frame(NGHTTP2_HEADERS, {}));
    for (uint32_t i = 0; i < kHttp2ContinuationsMax; ++i)
      EXPECT_FALSE(guard.on_frame(NGHTTP2_CONTINUATION, {}));
  }
  EXPECT_EQ(guard.on_frame(NGHTTP2_CONTINUATION, {}), Flood::Continuation);
}

TEST(Http2Priority, IsReadAndWhatIsWrongIsIgnored) {
  const auto is = [](std::string_view text, int urgency, bool incremental) {
    const Http2Priority got = parse_priority(text);
    return got.urgency == urgency && got.incremental == incremental;
  };
  EXPECT_TRUE(is("", 3, true));
  EXPECT_TRUE(is("u=0", 0, false));
  EXPECT_TRUE(is("u=7, i", 7, true));
  EXPECT_TRUE(is("i", 3, true));
  EXPECT_TRUE(is("i=?0, u=5", 5, false));
  EXPECT_TRUE(is("u=8", 3, false));
  EXPECT_TRUE(is("u=-1", 3, false));
  EXPECT_TRUE(is("u=a, i=1", 3, false));
  EXPECT_TRUE(is("u=1;x=2, other=\"y\"", 1, false));
  EXPECT_TRUE(is("u=", 3, true));
  EXPECT_TRUE(is("\"", 3, true));
}

struct Claims {
  Http2Schedule schedule;
  Http2Claim a{.priority = {3, true}, .stream = 1};
  Http2Claim b{.priority = {3, true}, .stream = 3};
  Claims() {
    schedule.add(a);
    schedule.add(b);
  }
  /// One batch of whoever has the floor, which then waits again.
  uint32_t next(size_t bytes = 1) {
    Http2Claim* claim = schedule.give_floor();
    if (claim == nullptr) return 0;
    EXPECT_TRUE(schedule.may_send(*claim));
    schedule.count_batch(*claim, bytes);
    schedule.end_floor();
    claim->waiting = true;
    return claim->stream;
  }
};

TEST(Http2Schedule, EqualsShareByTurns) {
  Claims claims;
  claims.a.waiting = claims.b.waiting = true;
  for (int i = 0; i < 40; ++i) EXPECT_EQ(claims.next(), i % 2 == 0 ? 1U : 3U);
}

TEST(Http2Schedule, EqualsShareByBytesWhateverABatchOfEachCarries) {
  for (const size_t other : {size_t{35}, size_t{16'384}, size_t{48 * 1024}}) {
    Claims claims;
    claims.a.waiting = claims.b.waiting = true;
    constexpr size_t kLarge = 65'500;
    std::map<uint32_t, uint64_t> sent;
    for (int i = 0; i < 1000; ++i) {
      const size_t bytes = i % 2 == 0 ? kLarge : other;
      sent[claims.next(bytes)] += bytes;
      const auto [less, more] = std::minmax(sent[1], sent[3]);
      ASSERT_LE(more - less, kLarge) << other;
    }
  }
}

TEST(Http2Schedule, WhoPausedSavesNothingUp) {
  Claims claims;
  claims.a.waiting = true;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(claims.next(1000), 1U);
  claims.b.waiting = true;
  int others = 0;
  for (int i = 0; i < 100; ++i) others += claims.next(1000) == 3 ? 1 : 0;
  EXPECT_NEAR(others, 50, 1);
}

TEST(Http2Schedule, AStreamThatIsRaisedOwesNothingForWhatItGotBefore) {
  Claims claims;
  claims.schedule.set_priority(claims.a, {6, true});
  claims.a.waiting = true;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(claims.next(1000), 1U);
  claims.b.waiting = true;
  claims.schedule.set_priority(claims.a, {3, true});
  int raised = 0;
  for (int i = 0; i < 100; ++i) raised += claims.next(1000) == 1 ? 1 : 0;
  EXPECT_NEAR(raised, 50, 1);
}

TEST(Http2Schedule, TheMoreUrgentGoesFirstAndTheOtherGetsAlms) {
  Claims claims;
  claims.b.priority = {1, false};
  claims.a.waiting = claims.b.waiting = true;
  int others = 0;
  for (int i = 0; i < 170; ++i) others += claims.next() == 1 ? 1 : 0;
  EXPECT_EQ(others, 10);
  EXPECT_FALSE(claims.schedule.may_send(claims.a));
  EXPECT_TRUE(claims.schedule.may_send(claims.b));
}

TEST(Http2Schedule, AHeadGoesBeforeAllBodies) {
  Claims claims;
  claims.b.priority = {1, false};
  claims.a.waiting = claims.b.waiting = claims.a.is_head = true;
  EXPECT_FALSE(claims.schedule.may_send(claims.b));
  EXPECT_EQ(claims.next(), 1U);
  claims.a.is_head = false;
  EXPECT_EQ(claims.next(), 3U);
}

TEST(Http2Schedule, WhoseWindowIsClosedHoldsNobodyUp) {
  Claims claims;
  claims.b.priority = {1, false};
  claims.a.waiting = claims.b.waiting = true;
  claims.b.sendable = false;
  EXPECT_TRUE(claims.schedule.may_send(claims.a));
  EXPECT_EQ(claims.next(), 1U);
  claims.a.sendable = false;
  EXPECT_EQ(claims.next(), 0U);
}

TEST(Http2Memory, OverItsBoundAnAllocationFails) {
  Counter total;
  {
    Http2Memory memory({.of_one_max = 1000, .fair_share = 1000}, total);
    nghttp2_mem& mem = *memory.functions();
    void* piece = mem.malloc(600, mem.mem_user_data);
    ASSERT_NE(piece, nullptr);
    EXPECT_EQ(mem.malloc(600, mem.mem_user_data), nullptr);
    EXPECT_TRUE(memory.spent());
    piece = mem.realloc(piece, 900, mem.mem_user_data);
    ASSERT_NE(piece, nullptr);
    EXPECT_EQ(total.get(), 900U);
    EXPECT_EQ(mem.calloc(SIZE_MAX, 2, mem.mem_user_data), nullptr);
    mem.free(piece, mem.mem_user_data);
    EXPECT_EQ(memory.bytes(), 0U);
  }
  EXPECT_EQ(total.get(), 0U);
}

TEST(Http2MemoryTest, WhatIsBeyondAFairShareIsGivenOnlyWhileAllTogetherAreWithinTheirs) {
  Counter total;
  const Http2MemoryBounds bounds{.of_one_max = 450, .fair_share = 100, .total_max = 500};
  Http2Memory greedy(bounds, total);
  Http2Memory modest(bounds, total);
  const auto take = [](Http2Memory& of, void* former, size_t bytes) {
    return of.functions()->realloc(former, bytes, of.functions()->mem_user_data);
  };
  EXPECT_EQ(take(greedy, nullptr, 451), nullptr);
  void* much = take(greedy, nullptr, 450);
  ASSERT_NE(much, nullptr);
  void* fair = take(modest, nullptr, 100);  // 550 in all: its share is its own
  ASSERT_NE(fair, nullptr);
  EXPECT_FALSE(modest.spent());
  EXPECT_EQ(take(modest, fair, 101), nullptr);
  EXPECT_TRUE(modest.spent());
  much = take(greedy, much, 300);  // less is never refused
  ASSERT_NE(much, nullptr);
  fair = take(modest, fair, 200);
  ASSERT_NE(fair, nullptr);
  EXPECT_EQ(total.get(), 500U);
  EXPECT_EQ(take(modest, fair, 0), nullptr);
  EXPECT_EQ(take(greedy, much, 0), nullptr);
  EXPECT_EQ(total.get(), 0U);
}

TEST_F(Http2Test, ABodyComesWholeWhateverTheHostTakesAtATime) {
  for (const size_t room : {size_t{100}, size_t{1000}, size_t{16'393}, size_t{65'536}}) {
    start(room);
    ask("/bytes/150000");
    run(4000);
    EXPECT_TRUE(client->bodies[1] == ScriptedHandler::pattern(150'000)) << room;
    EXPECT_TRUE(client->ended[1]);
    stop();
  }
}

/// Answers with bytes that stay where they are, as delivery does from pinned buffers.
class PinnedHandler final : public RequestHandler {
 public:
  void serve(Exchange& exchange, std::string_view /*body*/) override {
    exchange.head.content_length = body.size();
    const iovec pieces[] = {{body.data(), 20'000}, {body.data() + 20'000, body.size() - 20'000}};
    const auto sent = exchange.stream.try_send(&exchange.head, pieces);
    EXPECT_EQ(sent.value_or(0), body.size());
    exchange.stream.finished(Stream::End::Complete);
  }
  void refuse(Exchange& exchange, int /*status*/, std::string_view /*reason*/) override {
    exchange.stream.finished(Stream::End::Cut);
  }
  std::string body = ScriptedHandler::pattern(60'000);  // one window of flow control
};

TEST_F(Http2Test, ABodyGoesOutFromWhereItLiesWithoutACopyOfAByte) {
  PinnedHandler pinned;
  start(65'536, {}, pinned);
  host->blocked_at = SIZE_MAX;
  host->body = pinned.body;
  ask("/pinned");
  run(4);
  EXPECT_TRUE(client->bodies[1] == pinned.body);
  EXPECT_EQ(host->from_body, pinned.body.size());
  stop();
}

TEST_F(Http2Test, AFrameThatTheHostTookInPartIsGoneOnWith) {
  start(65'536);
  host->take_max = 777;  // less than it has said it would
  ask("/bytes/150000");
  run(4000);
  EXPECT_TRUE(client->bodies[1] == ScriptedHandler::pattern(150'000));
  stop();
}

TEST_F(Http2Test, AHundredHeadsThatCannotGoOutAreNotKeptAndAllAreServedLater) {
  start(65'536);
  handler->extra_field = std::string(3000, 'x');
  run(5);
  host->full = true;
  for (int i = 0; i < 100; ++i) ask("/bytes/5000");
  run(20);
  EXPECT_EQ(handler->served.size(), 100U);
  EXPECT_LT(connection->memory().bytes_peak(), kHttp2MemoryBytesMax);
  host->full = false;
  run(2000);
  for (int32_t id = 1; id < 200; id += 2) ASSERT_EQ(client->bodies[id].size(), 5000U) << id;
  EXPECT_EQ(context->counters.http2_memory_spent.get(), 0U);
  stop();
}

TEST_F(Http2Test, StreamsOfUnknownLengthEndAndCutOnesAreReset) {
  start(65'536);
  ask("/unknown/50000");
  ask("/cut/50000");
  ask("/cutunknown/50000");
  ask("/toolong/100");
  run(200);
  EXPECT_TRUE(client->bodies[1] == ScriptedHandler::pattern(50'000));
  EXPECT_TRUE(client->ended[1]);
  for (const int32_t id : {3, 5}) {
    EXPECT_FALSE(client->ended[id]) << id;
    EXPECT_EQ(client->resets[id], NGHTTP2_INTERNAL_ERROR) << id;
  }
  stop();
}

TEST_F(Http2Test, TrailersBehindAMalformedRequestAreTheirStreamsOwn) {
  start(65'536);
  handler->body_max = 100;
  client->ask("/bytes/10", {}, NGHTTP2_FLAG_NONE);
  run(20);
  EXPECT_TRUE(handler->served.empty());
  ask("/bytes/20", {{"connection", "close"}});
  client->trailers(1);
  run(20);
  EXPECT_EQ(handler->served, std::vector<std::string>{"/bytes/10"});
  EXPECT_TRUE(client->ended[1]);
  EXPECT_EQ(client->resets[3], NGHTTP2_PROTOCOL_ERROR);
  stop();
}

TEST_F(Http2Test, TrailersOfAStreamThatManyOthersCameBehindEndIt) {
  start(65'536);
  handler->body_max = 100;
  client->ask("/bytes/10", {}, NGHTTP2_FLAG_NONE);
  for (int i = 0; i < 130; ++i) {
    ask("/bytes/1");
    run(5);
  }
  client->trailers(1);
  run(20);
  EXPECT_TRUE(client->goaways.empty());
  EXPECT_EQ(client->bodies[1].size(), 10U);
  stop();
}

TEST_F(Http2Test, MoreStreamsThanALoopHasAreRefusedAndTheOthersServed) {
  ConnectionLimits limits;
  limits.http2_streams_per_loop_max = 1;
  start(65'536, limits);
  for (int i = 0; i < 2; ++i) ask("/wait");
  run(20);
  EXPECT_EQ(client->resets[3], NGHTTP2_REFUSED_STREAM);
  release();
  run(20);
  EXPECT_EQ(client->bodies[1], "done");
  ask("/bytes/3");
  run(20);
  EXPECT_EQ(client->bodies[5].size(), 3U);
  EXPECT_EQ(context->counters.http2_refused_streams.get(), 1U);
  stop();
}

TEST_F(Http2Test, AConnectionHasOneStreamHoweverManyTheOthersHave) {
  start(65'536, {.http2_streams_per_loop_max = 0});  // all are taken
  for (int i = 0; i < 3; ++i) ask("/wait");
  run(20);
  EXPECT_EQ(context->counters.http2_refused_streams.get(), 2U);
  EXPECT_EQ(client->resets[5], NGHTTP2_REFUSED_STREAM);
  release();
  run(20);
  EXPECT_EQ(client->bodies[1], "done");
  EXPECT_EQ(connection->status(), Http2Connection::Status::Open);
  stop();
}

TEST_F(Http2Test, AConnectionThatMayHoldNoMoreMemorySaysSoAndIsCountedOnce) {
  const auto end_of = [&](uint32_t bytes_max, auto flood) {
    start(65'536, {.http2_memory_bytes_max = bytes_max});
    run(5);
    flood();
    run(20);
    const bool broken = connection->status() == Http2Connection::Status::Broken;
    EXPECT_EQ(context->counters.http2_memory_spent.get(), broken ? 1U : 0U) << bytes_max;
    if (broken) {
      EXPECT_EQ(client->goaways, std::vector<uint32_t>{NGHTTP2_ENHANCE_YOUR_CALM}) << bytes_max;
    }
    stop();
    return broken;
  };
  start(65'536);
  run(5);
  const auto without = static_cast<uint32_t>(connection->memory().bytes_peak());
  stop();
  uint32_t ended = 0;
  for (uint32_t bytes_max = without; bytes_max < without + 8 * KiB; bytes_max += 32) {
    // Each is malformed, so that it is reset while nghttp2 goes on with the next.
    ended += end_of(bytes_max, [&] {
      for (int i = 0; i < 30; ++i) ask("/bytes/1", {{"host", "other.example"}});
    });
    ended += end_of(bytes_max, [&] {
      for (int i = 0; i < 40; ++i) nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, nullptr);
    });
  }
  EXPECT_GT(ended, 20U);
}

TEST_F(Http2Test, ThePiecesOfACookieAreOneFieldBehindTheOthers) {
  start(65'536);
  ask("/bytes/1", {{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", "c=3"}});
  run(20);
  EXPECT_EQ(handler->cookie, "a=1; b=2; c=3");
  stop();
}

TEST_F(Http2Test, MorePiecesOfACookieThanFieldsAreTooLong) {
  start(65'536);
  MemoryClient::Fields pieces(kHeaderFieldsMax, {"cookie", "a"});
  ask("/bytes/1", pieces);
  run(20);
  EXPECT_EQ(handler->served.size(), 1U);
  EXPECT_TRUE(handler->refused.empty());
  pieces.emplace_back("cookie", "a");
  ask("/bytes/1", pieces);
  ask("/bytes/1", {{"cookie", std::string(5000, 'a')}, {"cookie", std::string(5000, 'a')}});
  run(20);
  EXPECT_EQ(handler->served.size(), 1U);
  ASSERT_EQ(handler->refused.size(), 2U);
  EXPECT_EQ(handler->refused[0].first, 431);
  EXPECT_EQ(handler->refused[1].first, 431);
  stop();
}

TEST_F(Http2Test, AResetReachesWhoeverServesTheStream) {
  start(65'536);
  ask("/wait");
  run(20);
  EXPECT_EQ(handler->waiting.size(), 1U);
  client->reset(1);
  run(20);
  EXPECT_EQ(handler->waiting.size(), 0U);
  EXPECT_EQ(handler->gone, 1U);
  EXPECT_EQ(connection->status(), Http2Connection::Status::Open);
  stop();
}

TEST_F(Http2Test, WhatIsResetBeforeItIsServedCostsNoExchange) {
  start(65'536);
  ask("/bytes/1");
  client->reset(1);
  run(20);
  EXPECT_TRUE(handler->served.empty());
  stop();
}

TEST_F(Http2Test, AHostThatFailsLeavesNobodyBehind) {
  start(65'536);
  ask("/wait");
  ask("/bytes/100000");
  run(3);
  host->broken = true;
  ask("/bytes/1");
  run(20);
  EXPECT_EQ(connection->status(), Http2Connection::Status::Broken);
  EXPECT_EQ(context->exchanges.in_use(), 0U);
  stop();
}

TEST_F(Http2Test, ADrainNoticesThenRefusesThenEnds) {
  start(65'536);
  ask("/wait");
  run(10);
  {
    const Loop::Turn turn(*loop);
    connection->start_drain();
  }
  run(10);  // the client answers the PING: a round trip has gone by
  EXPECT_EQ(client->goaways.size(), 2U);
  EXPECT_EQ(connection->status(), Http2Connection::Status::Open);
  release();
  run(10);
  EXPECT_EQ(client->bodies[1], "done");
  EXPECT_EQ(connection->status(), Http2Connection::Status::Ended);
  stop();
}

}  // namespace
}  // namespace segue::edge
