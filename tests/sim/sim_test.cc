// Goal: the three invariants of ARCHITECTURE.md (right bytes, conservation, progress) hold for a
// whole node whatever happens to it. Method: scenarios by name for what has a name, and a random
// life per seed for what has not: two loops, an evicting pool, aborting clients, changing
// validators, purges, drive and origin faults, crashes. One seed is one run: SIM_SEED=123 repeats
// it, SIM_SEEDS=5000 runs more.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/sim_node.h"

namespace segue::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string range_of(uint64_t first, uint64_t end) {
  return "bytes=" + std::to_string(first) + "-" + std::to_string(end - 1);
}

SimNodeOptions with_ram(uint64_t bytes) {
  SimNodeOptions options;
  options.ram_bytes = bytes;
  return options;
}

TEST(NodeSim, ReadersBehindACutFillAreServedByTheNextFill) {
  SimNode node(1, {});
  FakeTrack& track = node.origin().add("/t/1", 1 * MiB);
  track.faults.push_back({.cut_after_bytes = 100'000});
  SimClient& first = node.request(0, {.target = "/t/1", .range = range_of(0, 262144)});
  SimClient& second = node.request(1, {.target = "/t/1", .range = range_of(0, 262144)});
  ASSERT_TRUE(
      node.world().run_until([&] { return first.finished() && second.finished(); }, seconds{60}));
  for (const SimClient* client : {&first, &second}) {
    EXPECT_EQ(client->result().end, edge::Stream::End::Complete);
    EXPECT_EQ(client->result().body_bytes, 262144U);
  }
  EXPECT_EQ(node.origin().fetches("/t/1"), 2U);  // collapsed: two, not three
}

TEST(NodeSim, AHundredClientsOnOneColdRangeAreOneOriginRequest) {
  SimNode node(2, {});
  node.origin().add("/t/1", 1 * MiB).latency = milliseconds{50};
  std::vector<SimClient*> clients;
  for (uint32_t i = 0; i < 100; ++i)
    clients.push_back(&node.request(i % 2, {.target = "/t/1", .range = range_of(0, 65536)}));
  ASSERT_TRUE(node.world().run_until(
      [&] { return std::ranges::all_of(clients, [](auto* client) { return client->finished(); }); },
      seconds{10}));
  for (const SimClient* client : clients) EXPECT_EQ(client->result().body_bytes, 65536U);
  EXPECT_EQ(node.origin().fetches("/t/1"), 1U);
}

TEST(NodeSim, AHundredColdRangesOfOneUnknownTrackAreOneContact) {
  SimNode node(3, with_ram(64 * MiB));
  node.origin().add("/t/1", 25 * MiB).latency = milliseconds{50};
  std::vector<SimClient*> clients;
  for (uint64_t i = 0; i < 100; ++i) {
    clients.push_back(
        &node.request(i % 2, {.target = "/t/1", .range = range_of(i * 262144, i * 262144 + 1000)}));
  }
  ASSERT_TRUE(node.world().run_until(
      [&] { return std::ranges::all_of(clients, [](auto* client) { return client->finished(); }); },
      seconds{60}));
  for (const SimClient* client : clients) EXPECT_EQ(client->result().body_bytes, 1000U);
  EXPECT_EQ(node.fill_counters(0).contacts.get() + node.fill_counters(1).contacts.get(), 1U);
}

TEST(NodeSim, TheTailOfAColdTrackIsOneSmallRequest) {
  SimNode node(4, {});
  node.origin().add("/t/1", 60 * MiB);
  const ClientResult& tail = node.get("/t/1", "bytes=-65536");
  EXPECT_EQ(tail.status, 206);
  EXPECT_EQ(tail.body_bytes, 65536U);
  EXPECT_EQ(node.origin().fetches("/t/1"), 1U);
  EXPECT_LE(node.origin().bytes_sent("/t/1"), 512 * KiB);
}

TEST(NodeSim, AClientThatStopsReadingStopsTheFill) {
  SimNode node(5, with_ram(64 * MiB));
  node.origin().add("/t/1", 60 * MiB);
  node.request(0, {.target = "/t/1", .range = "bytes=0-", .stops_after_bytes = 3 * MiB});
  node.world().run_for(seconds{30});
  EXPECT_GE(node.origin().bytes_sent("/t/1"), 3 * MiB);
  EXPECT_LE(node.origin().bytes_sent("/t/1"), 12 * MiB);
}

/// The random life of one node.
class Life {
 public:
  explicit Life(uint64_t seed) : random_(seed), node_(seed, options_for(random_)) {
    const uint64_t tracks = random_.between(3, 8);
    for (uint64_t i = 0; i < tracks; ++i) {
      targets_.push_back("/t/" + std::to_string(i));
      FakeTrack& track = node_.origin().add(targets_.back(), random_length());
      track.latency = milliseconds{random_.below(80)};
      track.chunk_delay = std::chrono::microseconds{random_.below(3000)};
      track.chunk_bytes = static_cast<uint32_t>(random_.between(4000, 200'000));
      if (random_.one_in(8)) track.ignores_range = true;
      if (random_.one_in(10)) track.unknown_length = true;
      if (random_.one_in(6)) track.fields.emplace_back("Cache-Control", "max-age=2");
    }
  }

  void run() {
    const uint64_t actions = random_.between(30, 120);
    for (uint64_t i = 0; i < actions && !::testing::Test::HasFatalFailure(); ++i) {
      act();
      if (random_.one_in(3)) node_.world().run_for(milliseconds{random_.below(200)});
    }
    finish();
  }

 private:
  static SimNodeOptions options_for(Random& random) {
    SimNodeOptions options;
    options.loops = static_cast<uint32_t>(random.between(1, 3));
    options.ram_bytes = random.between(6, 16) * MiB;
    options.policy = random.one_in(2) ? cache::EvictionPolicy::Lru : cache::EvictionPolicy::S3Fifo;
    options.ttl.default_lifetime = seconds{random.between(1, 100)};
    options.ttl.stale_while_revalidate = seconds{random.below(5)};
    const uint64_t drives = random.below(3);
    for (uint64_t i = 0; i < drives; ++i) {
      FaultOptions drive{.size_bytes = 48 * MiB};
      if (random.one_in(3)) drive.error_one_in = 50;
      if (random.one_in(4)) drive.misdirect_one_in = 60;
      if (random.one_in(5)) drive.hang_one_in = 80;
      options.drives.push_back(drive);
    }
    return options;
  }

  uint64_t random_length() {
    switch (random_.below(5)) {
      case 0:
        return random_.between(1, 16 * KiB);
      case 1:
        return random_.between(1, 3) * kSliceBytes;
      case 2:
        return random_.between(50 * KiB, 200 * KiB);
      default:
        return random_.between(300 * KiB, 3 * MiB);
    }
  }
  const std::string& random_target() { return targets_[random_.below(targets_.size())]; }
  uint32_t random_loop() {
    return static_cast<uint32_t>(random_.below(node_.world().loop_count()));
  }

  std::string random_range(uint64_t length) {
    const uint64_t first = random_.below(length + length / 8 + 1);
    switch (random_.below(5)) {
      case 0:
        return "";
      case 1:
        return "bytes=" + std::to_string(first) + "-";
      case 2:
        return "bytes=-" + std::to_string(random_.below(length) + 1);
      default:
        return range_of(first, first + random_.between(1, 600 * KiB));
    }
  }

  void start_client() {
    ClientBehaviour behaviour;
    behaviour.target = random_target();
    behaviour.range = random_range(node_.origin().track(behaviour.target).length);
    behaviour.window_bytes = static_cast<uint32_t>(random_.between(1, 400 * KiB));
    behaviour.refill_every = std::chrono::microseconds{random_.between(10, 20'000)};
    if (random_.one_in(4)) behaviour.leaves_after_bytes = random_.below(MiB);
    if (random_.one_in(8)) behaviour.stops_after_bytes = random_.below(MiB);
    if (random_.one_in(12)) behaviour.method = "HEAD";
    node_.request(random_loop(), behaviour);
  }

  void harm_origin() {
    OriginFault fault;
    switch (random_.below(6)) {
      case 0:
        fault.refuse = true;
        break;
      case 1:
        fault.status = random_.one_in(2) ? 503 : 404;
        break;
      case 2:
        fault.wrong_range = true;
        break;
      case 3:
        fault.stall_after_bytes = random_.below(300'000);
        break;
      default:
        fault.cut_after_bytes = random_.below(400'000);
        break;
    }
    node_.origin().track(random_target()).faults.push_back(fault);
  }

  void act() {
    const uint64_t what = random_.below(100);
    if (what < 70) return start_client();
    if (what < 78) return harm_origin();
    if (what < 85) return node_.origin().change(random_target(), random_length());
    if (what < 94) {
      const auto kind = static_cast<SimNode::PurgeKind>(random_.below(3));
      return node_.change_and_purge(random_target(), random_length(), kind, random_loop());
    }
    if (what < 97) return node_.world().run_for(seconds{random_.below(10)});
    node_.restart(random_.one_in(2));
  }

  /// With a healthy origin again every client that reads is answered: progress.
  void finish() {
    for (const std::string& target : targets_) node_.origin().track(target).faults.clear();
    node_.settle();
    node_.world().run_for(seconds{15});  // error answers that are repeated for a while are over
    for (const std::string& target : targets_) {
      // A response begun on a generation that has since changed at the origin is cut when a slice
      // is missing; it heals the key.
      ClientResult answer = node_.get(target, "", random_loop());
      if (answer.end == edge::Stream::End::Cut) answer = node_.get(target, "", random_loop());
      EXPECT_EQ(answer.end, edge::Stream::End::Complete) << node_.describe(target);
      EXPECT_EQ(answer.status, 200) << node_.describe(target) << answer.cache_status;
      if (answer.content_length) EXPECT_EQ(answer.body_bytes, *answer.content_length) << target;
    }
  }

  Random random_;
  SimNode node_;
  std::vector<std::string> targets_;
};

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): no other thread
  return text == nullptr ? otherwise : std::stoull(text);
}

TEST(NodeSim, ARandomLifeKeepsTheInvariants) {
  const uint64_t only = number_from("SIM_SEED", 0);
  const uint64_t seeds = only != 0 ? 1 : number_from("SIM_SEEDS", 200);
  for (uint64_t i = 0; i < seeds && !HasFailure(); ++i) {
    const uint64_t seed = only != 0 ? only : 1000 + i;
    SCOPED_TRACE("SIM_SEED=" + std::to_string(seed));
    Life(seed).run();
  }
}

}  // namespace
}  // namespace segue::testing
