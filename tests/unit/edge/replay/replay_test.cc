// Goal: a replay counts what a node would have served, and knowing the next track helps it.
// Method: traces made up here, small enough that the right figures can be worked out by hand.
#include "edge/replay/replay.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <simdjson.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "edge/replay/replay_command.h"
#include "tests/unit/edge/replay/trace_text.h"

namespace segue::edge {
namespace {

const std::string head_line = "user,end_unix,ms_played,track\n";

/// One listener who plays `order` without a pause, 60 s each.
std::string one_after_the_other(const std::vector<int>& order) {
  std::string text = head_line;
  int end = 1'000'000;
  for (const int track : order) text += fmt::format("a,{},60000,t{}\n", end += 60, track);
  return text;
}

std::vector<int> counted(int tracks, int rounds) {
  std::vector<int> order;
  for (int i = 0; i < tracks * rounds; ++i) order.push_back(i % tracks);
  return order;
}

ReplayResult replayed(const std::string& text, ReplayOptions options) {
  const auto trace = trace_of(text);
  EXPECT_TRUE(trace.has_value());
  auto result = replay(*trace, options);
  EXPECT_TRUE(result.has_value());
  return *result;
}

ReplayOptions with_ram(uint64_t bytes, ReplayFeed feed = {}) {
  ReplayOptions options;
  options.cache.ram_bytes = bytes;
  options.plan.held_bytes_max = bytes / 2;
  options.cache.probation_percent = 50;
  options.feed = feed;
  return options;
}

constexpr ReplayFeed kKnowsAll{ReplayFeed::Kind::Oracle, 1.0};

TEST(ReplayTest, WhatFitsIsAMissOnceAndAHitFromThenOn) {
  // 10 tracks of 60 s are 5 slices each, of 1,200,000 bytes.
  const ReplayResult result = replayed(one_after_the_other(counted(10, 4)), with_ram(64 * MiB));
  EXPECT_EQ(result.plays(), 40U);
  EXPECT_EQ(result.first.plays, 1U);
  EXPECT_EQ(result.first_byte_misses(), 10U);
  EXPECT_EQ(result.reads, 200U);
  EXPECT_EQ(result.read_bytes, 40U * 1'200'000);
  EXPECT_EQ(result.ram_hit_bytes, 30U * 1'200'000);
  EXPECT_EQ(result.origin_bytes(), 10U * 1'200'000);
  EXPECT_DOUBLE_EQ(result.hit_ratio(), 0.75);
}

TEST(ReplayTest, ALoopLargerThanRamNeverHitsUnderLruAndTheDriveHoldsIt) {
  const std::string text = one_after_the_other(counted(60, 3));
  EXPECT_EQ(replayed(text, with_ram(16 * MiB)).ram_hit_bytes, 0U);
  ReplayOptions options = with_ram(16 * MiB);
  options.cache.ssd_bytes = 256 * MiB;
  const ReplayResult result = replayed(text, options);
  EXPECT_EQ(result.drive_hit_bytes + result.ram_hit_bytes, 120U * 1'200'000);
  EXPECT_GE(result.written_bytes, 60U * 1'200'000);
}

TEST(ReplayTest, AFeedThatKnowsWhatFollowsAvoidsAllMissesButThoseOfSessionStarts) {
  const ReplayResult result =
      replayed(one_after_the_other(counted(200, 1)), with_ram(64 * MiB, kKnowsAll));
  EXPECT_EQ(result.first.misses, 1U);
  EXPECT_EQ(result.following.plays, 199U);
  EXPECT_EQ(result.following.misses, 0U);
  EXPECT_EQ(result.avoided, 199U);
  EXPECT_EQ(result.wasted_bytes, 0U);
  EXPECT_DOUBLE_EQ(result.precision(), 1.0);
}

TEST(ReplayTest, WhatIsAskedForBeforeItIsThereIsLateAndAMiss) {
  ReplayOptions options = with_ram(64 * MiB, kKnowsAll);
  options.fetch_time = std::chrono::seconds{90};  // a play lasts 60
  options.plan.rest = false;
  const ReplayResult result = replayed(one_after_the_other(counted(50, 1)), options);
  EXPECT_EQ(result.following.misses, 49U);
  EXPECT_EQ(result.avoided, 0U);
  EXPECT_EQ(result.late, 49U);
  EXPECT_EQ(result.fetched_bytes, 0U);  // demand brought it, once
}

TEST(ReplayTest, AFeedThatIsAlwaysWrongWastesWhatItFetches) {
  const std::string text = one_after_the_other(counted(300, 1));
  const ReplayResult without = replayed(text, with_ram(64 * MiB));
  const ReplayResult with = replayed(text, with_ram(64 * MiB, {ReplayFeed::Kind::Oracle, 0.0}));
  EXPECT_EQ(with.first_byte_misses(), without.first_byte_misses());
  EXPECT_EQ(with.used_bytes, 0U);
}

/// Listeners who all play the same ten tracks in the same order, a day apart, and much else between
/// that no cache of this size holds.
std::string the_same_again(int rounds) {
  std::string text = head_line;
  int64_t end = 1'000'000;
  int others = 1000;
  for (int round = 0; round < rounds; ++round) {
    end += 86'400;
    for (int track = 0; track < 10; ++track)
      text += fmt::format("u{},{},60000,t{}\n", round, end += 60, track);
    end += 7'200;
    for (int i = 0; i < 40; ++i) text += fmt::format("v,{},60000,t{}\n", end += 60, others++);
  }
  return text;
}

TEST(ReplayTest, WhatIsAlwaysPlayedInOneOrderIsLearned) {
  ReplayOptions options = with_ram(24 * MiB);
  options.plan.judge_bytes = 4 * MiB;
  const ReplayResult without = replayed(the_same_again(60), options);
  options.feed = {ReplayFeed::Kind::Learned, 0.2};
  const ReplayResult with = replayed(the_same_again(60), options);
  EXPECT_GT(with.observed_used, 20U);
  EXPECT_GT(with.avoided, 300U);  // of 540
  EXPECT_LT(with.following.misses + 300, without.following.misses);
  EXPECT_GT(with.precision(), 0.9);
}

TEST(ReplayTest, WhereNothingCanBeLearnedNothingIsFetched) {
  ReplayOptions options = with_ram(24 * MiB);
  options.plan.judge_bytes = 4 * MiB;
  options.feed = {ReplayFeed::Kind::Learned, 0.2};
  const ReplayResult result = replayed(one_after_the_other(counted(2000, 1)), options);
  EXPECT_EQ(result.planned, 0U);
  EXPECT_EQ(result.fetched_bytes, 0U);
  EXPECT_GT(result.predictor_rows, 0U);
}

TEST(ReplayTest, OneSeedIsOneResult) {
  const std::string text = one_after_the_other(counted(97, 5));
  ReplayOptions options = with_ram(32 * MiB, {ReplayFeed::Kind::Oracle, 0.5});
  const ReplayResult once = replayed(text, options);
  const ReplayResult again = replayed(text, options);
  EXPECT_EQ(once.first_byte_misses(), again.first_byte_misses());
  EXPECT_EQ(once.fetched_bytes, again.fetched_bytes);
  options.seed = 2;
  EXPECT_NE(replayed(text, options).planned, 0U);
}

TEST(ReplayTest, S3FifoKeepsWhatIsUsedOftenThroughALoopThatIsNot) {
  // One popular track between two others each time: a scan that LRU falls for.
  std::vector<int> order;
  for (int i = 0; i < 400; ++i) order.insert(order.end(), {i % 4, 100 + 2 * i, 101 + 2 * i});
  ReplayOptions options = with_ram(12 * MiB);
  const ReplayResult lru = replayed(one_after_the_other(order), options);
  options.cache.policy = cache::EvictionPolicy::S3Fifo;
  const ReplayResult s3fifo = replayed(one_after_the_other(order), options);
  EXPECT_GT(s3fifo.ram_hit_bytes, lru.ram_hit_bytes);
}

TEST(ReplayTest, SizesThatAreNoCacheAreRefused) {
  const auto trace = trace_of(one_after_the_other({1, 2}));
  ASSERT_TRUE(trace.has_value());
  EXPECT_FALSE(replay(*trace, with_ram(0)).has_value());
  EXPECT_FALSE(replay(*trace, with_ram(1 * MiB)).has_value());
  ReplayOptions options = with_ram(64 * MiB);
  options.cache.ssd_bytes = 4096;
  EXPECT_FALSE(replay(*trace, options).has_value());
}

TEST(ReplayTest, TheReportHasARowForEachPolicyAndFeed) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("segue-replay-{}.csv", getpid());
  std::ofstream(path) << one_after_the_other(counted(50, 2));
  ReplayCommand command;
  command.trace = path;
  command.ram = {.bytes = 0, .percent = 50};
  command.policies = {cache::EvictionPolicy::Lru, cache::EvictionPolicy::S3Fifo};
  command.feeds = {{}, kKnowsAll};
  const auto output = run_replays(command);
  ASSERT_TRUE(output.has_value()) << output.error();
  simdjson::dom::parser parser;
  simdjson::dom::element report;
  ASSERT_EQ(parser.parse(output->json).get(report), simdjson::SUCCESS);
  EXPECT_EQ(uint64_t{report["plays"]}, 100U);
  EXPECT_EQ(uint64_t{report["ram_bytes"]}, 30'000'000U);
  EXPECT_EQ(report["runs"].get_array().value().size(), 4U);
  EXPECT_EQ(std::string_view{report["runs"].at(3)["feed"]}, "oracle:100");
  EXPECT_NE(output->table.find("s3fifo   oracle:100"), std::string::npos) << output->table;
  std::filesystem::remove(path);
  const auto gone = run_replays(command);
  ASSERT_FALSE(gone.has_value());
  EXPECT_TRUE(gone.error().ends_with("cannot be opened"));
}

}  // namespace
}  // namespace segue::edge
