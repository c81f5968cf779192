// A store without drives, a fake origin, loops under a virtual clock, and players: what delivery
// does with Fills and RangeReader, in a few lines.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cache/store.h"
#include "edge/fill/fills.h"
#include "tests/support/fake_origin.h"
#include "tests/support/sim_loop.h"

namespace segue::edge::test {

using Form = Asked::RangeForm;
using testing::FakeFetcher;
using testing::FakeOrigin;
using testing::FakeTrack;
using testing::OriginFault;
using namespace std::chrono_literals;

constexpr uint64_t kSlice = kSliceBytes;

/// What is asked.
struct Request {
  std::string target = {};
  Form form = Form::None;
  ByteRange range = {};
  bool head_only = false;
  bool authorized = false;
  std::vector<http::Field> fields = {};
  uint64_t stop_after = UINT64_MAX;           // body bytes: then it reads no more and leaves
  bool stays = false;                         // at stop_after it stays instead, until let go
  std::chrono::nanoseconds read_delay = 0ns;  // between reads
  bool prefetch = false;                      // for nobody
  bool only_if_cached = false;
  OriginMeter::Payer payer = 0;
};

/// One request and what came of it; stands for the exchange.
struct Player {
  Request request;
  std::string key_text;
  Asked asked;
  Signal signal;
  bool cancelled = false;
  Selection selection;
  uint32_t on = 0;  // its loop
  bool done = false;
  bool let_go = false;
  bool failed = false;
  Error error;
  int status = 0;  // as delivery would answer; 0: an error before the head
  std::string body;
  uint64_t complete_length = 0;
  bool passed = false;     // its own answer, unstored
  ByteRange passed_range;  // and what of the representation that is
  MonoTime head_at{};
  MonoTime first_byte_at{};

  /// The client goes away; as the connection would tell.
  void leave() {
    cancelled = true;
    signal.raise();
  }
};

inline ByteRange wanted_of(const Request& request, uint64_t length) {
  switch (request.form) {
    case Form::Bounded:
      return request.range.clipped(length);
    case Form::OpenEnded:
      return ByteRange{request.range.first, length}.clipped(length);
    case Form::Suffix:
      return {length - std::min(length, request.range.end), length};
    case Form::None:
      break;
  }
  return {0, length};
}

inline Task<Result<Done>> play_pass(Player& player) {
  const origin::FetchHead& head = *player.selection.pass_head;
  player.status = head.status;
  player.passed = true;
  player.passed_range = head.content_range.value_or(ByteRange{0, head.complete_length.value_or(0)});
  std::vector<std::byte> room(64 * KiB);
  for (;;) {
    auto got = co_await player.selection.pass->read(room);
    if (!got) co_return fail(got.error());
    if (*got == 0) co_return Done{};
    player.body.append(reinterpret_cast<const char*>(room.data()), *got);
    if (player.body.size() < player.request.stop_after) continue;
    while (player.request.stays && !player.let_go) co_await player.signal.wait(kNever);
    co_return Done{};
  }
}

inline Task<Result<Done>> play_stored(Fills& fills, Scope& scope, Player& player) {
  const cache::Selected& selected = player.selection.selected;
  const uint64_t length = selected.generation->complete_length();
  const bool is_negative =
      player.selection.response->parts().form == StoredResponse::Form::Negative;
  const ByteRange range = is_negative ? ByteRange{0, length} : wanted_of(player.request, length);
  player.complete_length = length;
  player.status = is_negative                         ? player.selection.response->parts().status
                  : player.request.form == Form::None ? 200
                  : range.empty()                     ? 416
                                                      : 206;
  if (player.request.head_only || range.empty()) co_return Done{};
  const bool open_ended = player.request.form != Form::Bounded;
  RangeReader reader(fills, player.asked, selected, range, open_ended);
  for (uint64_t at = range.first; at < range.end;) {
    std::string taken;
    {
      auto readable = reader.try_readable(at);
      taken.assign(reinterpret_cast<const char*>(readable.bytes.data()), readable.bytes.size());
    }
    if (taken.empty()) {
      scope.deadline = scope.loop.now() + 20s;
      auto readable = co_await reader.readable(scope, at);
      if (!readable) co_return fail(readable.error());
      taken.assign(reinterpret_cast<const char*>(readable->bytes.data()), readable->bytes.size());
    }
    if (player.body.empty()) player.first_byte_at = scope.loop.now();
    player.asked.begun = true;
    player.body += taken;
    at += taken.size();
    if (player.body.size() >= player.request.stop_after) {
      while (player.request.stays && !player.let_go) co_await player.signal.wait(kNever);
      co_return Done{};
    }
    if (player.request.read_delay > 0ns) co_await sleep_for(player.request.read_delay);
    if (player.cancelled) co_return fail(Side::Client, Kind::Closed, "player left");
  }
  co_return Done{};
}

inline Task<void> play(Fills& fills, cache::LocalStore& local, Loop& loop, Player& player) {
  Scope scope{.loop = loop,
              .local = local,
              .signal = player.signal,
              .cancelled = player.cancelled,
              .deadline = loop.now() + 6s,
              .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
  if (!fills.try_select(player.asked, player.selection)) {
    auto selected = co_await fills.select(scope, player.asked);
    if (selected) {
      player.selection = std::move(*selected);
    } else {
      player.failed = true;
      player.error = selected.error();
    }
  }
  player.head_at = loop.now();
  if (!player.failed) {
    auto played = player.selection.pass ? co_await play_pass(player)
                                        : co_await play_stored(fills, scope, player);
    player.failed = !played;
    if (!played) player.error = played.error();
  }
  player.selection.pass.reset();
  player.done = true;
}

class FillTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kLoops = 2;
  struct Options {
    uint64_t ram_bytes = 64 * MiB;
    uint64_t seed = 1;
    uint32_t fetches_max = kOriginConnectionsPerLoopMax;  // at once, per loop
  };
  FillTest() : FillTest(Options{}) {}
  explicit FillTest(Options options) : world(options.seed, kLoops) {
    cache::Store::Options store_options;
    store_options.ram_bytes = options.ram_bytes;
    store_options.hash_seed = 42;
    store_options.huge_pages = false;
    auto made = cache::Store::create(store_options, codec, world.clock(), {});
    EXPECT_TRUE(made.has_value());
    store = std::move(*made);
    auto made_site = new Site;
    made_site->name = "music";
    made_site->ttl.default_lifetime = 1h;
    site_rules = made_site;
    site = Ref<const Site>(made_site);
    for (uint32_t i = 0; i < kLoops; ++i) {
      locals.push_back(
          std::make_unique<cache::LocalStore>(*store, world.loop(i), std::vector<Disk*>{}));
      fetchers.push_back(std::make_unique<FakeFetcher>(origin, world.loop(i), options.fetches_max));
      Fills::Options fill_options;
      fill_options.fills_max = 128;
      fills.push_back(std::make_unique<Fills>(world.loop(i), *locals[i],
                                              std::vector<origin::Fetcher*>{fetchers[i].get()},
                                              fill_options));
      groups.push_back(std::make_unique<TaskGroup>(world.loop(i), 4096));
    }
  }
  /// Every test ends with nothing held: no task, pin, waiter, permit or fetch.
  void TearDown() override {
    for (auto& player : players) {
      player->let_go = true;
      const Loop::Turn turn(world.loop(player->on));
      player->signal.raise();
    }
    EXPECT_TRUE(world.run_until_idle());
    for (auto& player : players) EXPECT_TRUE(player->done) << player->request.target;
    for (auto& one : fills) EXPECT_EQ(one->running(), 0u);
    for (auto& one : fills) EXPECT_EQ(one->counters().fills_in_flight.get(), 0u);
    EXPECT_EQ(origin.in_flight(), 0u);
    for (auto& player : players) player->selection = {};
    store->check_invariants(true);
    for (uint32_t i = 0; i < kLoops; ++i) EXPECT_EQ(locals[i]->waiters().in_use(), 0u);
  }

  /// Starts a request on a loop; it runs when the world does.
  Player& start(Request request, uint32_t on = 0) {
    auto& player = *players.emplace_back(std::make_unique<Player>());
    player.request = std::move(request);
    player.on = on;
    player.key_text = "music" + player.request.target;
    Asked& asked = player.asked;
    asked.site = site.get();
    asked.key = store->hash(player.key_text);
    asked.key_text = player.key_text;
    asked.target = player.request.target;
    asked.fields = http::FieldsView(player.request.fields);
    asked.head_only = player.request.head_only;
    asked.range_form = player.request.form;
    asked.range = player.request.range;
    asked.authorized = player.request.authorized;
    asked.only_if_cached = player.request.only_if_cached;
    asked.use = cache::UseId{players.size()};
    asked.payer = player.request.payer;
    if (player.request.prefetch) {
      asked.use = {};
      asked.priority = cache::Priority::Prefetch;
    }
    const Loop::Turn turn(world.loop(on));
    EXPECT_TRUE(groups[on]->try_spawn(play(*fills[on], *locals[on], world.loop(on), player)));
    return player;
  }
  /// Starts a request and runs the world until all is at rest.
  Player& get(Request request, uint32_t on = 0) {
    Player& player = start(std::move(request), on);
    EXPECT_TRUE(world.run_until_idle());
    EXPECT_TRUE(player.done);
    return player;
  }
  Player& get(const std::string& target, ByteRange range) {
    return get({.target = target, .form = Form::Bounded, .range = range});
  }
  void expect_body(const Player& player, ByteRange range) {
    EXPECT_FALSE(player.failed) << player.error.where;
    EXPECT_TRUE(player.body == origin.bytes(player.request.target, range))
        << player.request.target << " " << range.first << "-" << range.end << ", got "
        << player.body.size();
  }
  void purge(const std::string& target, bool soft = false) {
    cache::PurgeStatement statement;
    statement.scope = cache::PurgeScope::Key;
    statement.soft = soft;
    statement.sequence = store->next_sequence();
    statement.key = store->hash("music" + target);
    store->apply(statement, /*cut=*/false);
  }
  [[nodiscard]] const FillCounters& counters(uint32_t on = 0) const {
    return fills[on]->counters();
  }
  template <class Member>
  [[nodiscard]] uint64_t total(Member member) const {
    uint64_t sum = 0;
    for (const auto& one : fills) sum += (one->counters().*member).get();
    return sum;
  }

  testing::SimWorld world;
  FakeOrigin origin;
  StoredResponseCodec codec;
  Ref<const Site> site;
  Site* site_rules = nullptr;  // == site; changed before the first request only
  std::unique_ptr<cache::Store> store;
  std::vector<std::unique_ptr<cache::LocalStore>> locals;
  std::vector<std::unique_ptr<FakeFetcher>> fetchers;
  std::vector<std::unique_ptr<Fills>> fills;
  std::vector<std::unique_ptr<TaskGroup>> groups;
  std::vector<std::unique_ptr<Player>> players;
};

}  // namespace segue::edge::test
