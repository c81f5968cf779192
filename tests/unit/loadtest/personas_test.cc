// What the listeners of the load generator ask for: the ranges of the real clients.
#include "loadtest/players/personas.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "loadtest/origin/content.h"
#include "loadtest/players/http_connection.h"
#include "loadtest/players/play.h"

namespace loadtest {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kAnywhere = ~uint64_t{0} >> 1;  // so far played that nothing is too far ahead

const Persona& persona(std::string_view name) {
  for (const Persona& one : all_personas()) {
    if (one.name == name) return one;
  }
  ADD_FAILURE() << name;
  return all_personas()[0];
}

Plan plan_of(uint64_t bytes) { return {.path = "/t/1", .bytes = bytes, .byte_rate = 20'000}; }

/// The ranges asked for while the listener plays to the end, as "first-last".
std::vector<std::string> ranges(std::string_view name, uint64_t bytes, double throughput = 1e6) {
  Random random(1);
  Plan plan = plan_of(bytes);
  std::vector<std::string> found;
  while (auto ask = next_ask(persona(name), plan, kAnywhere / 2, throughput, random)) {
    const std::string last = ask->last ? std::to_string(*ask->last) : "";
    found.push_back(ask->ranged ? std::to_string(ask->first) + "-" + last : "whole");
    if (found.size() > 100) break;
  }
  return found;
}

TEST(Personas, Chunk512AsksForItsGridAndClipsTheEnd) {
  EXPECT_EQ(ranges("chunk512", 1'100'000),
            (std::vector<std::string>{"0-524287", "524288-1048575", "1048576-1099999"}));
}

TEST(Personas, Java128NeverClipsTheEnd) {
  EXPECT_EQ(ranges("java128", 200'000), (std::vector<std::string>{"0-131071", "131072-262143"}));
}

TEST(Personas, LibrespotReadsHeadTailAndThenASecondOfThroughput) {
  EXPECT_EQ(ranges("librespot", 1'200'000, 1e6),
            (std::vector<std::string>{"0-65535", "1134464-1199999", "65536-131071",
                                      "131072-1131071", "1131072-1199999"}));
}

TEST(Personas, ChromiumAndFfmpegAreOpenEnded) {
  EXPECT_EQ(ranges("chromium", 500'000), (std::vector<std::string>{"0-"}));
  EXPECT_EQ(ranges("ffmpeg", 500'000), (std::vector<std::string>{"0-"}));
  EXPECT_TRUE(persona("ffmpeg").new_connection);
}

TEST(Personas, AppleProbesTwoBytesThenLeavesAndAsksForTheRest) {
  Random random(1);
  Plan plan = plan_of(3'000'000);
  const Persona& apple = persona("apple");
  auto probe = next_ask(apple, plan, 0, 0, random);
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe->first, 0U);
  EXPECT_EQ(probe->last, 1U);
  auto whole = next_ask(apple, plan, 0, 0, random);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->last, 2'999'999U);
  EXPECT_GE(whole->leave_after, 64 * kKiB);
  EXPECT_LE(whole->leave_after, 512 * kKiB);
  auto rest = next_ask(apple, plan, 0, 0, random);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->first, whole->leave_after);
  EXPECT_EQ(rest->last, 2'999'999U);
  EXPECT_FALSE(next_ask(apple, plan, 0, 0, random));
}

TEST(Personas, AGridStaysItsDistanceAheadOfThePosition) {
  Random random(1);
  Plan plan = plan_of(100'000'000);
  const Persona& grid = persona("chunk512");
  int asked = 0;
  while (next_ask(grid, plan, 0, 0, random)) ++asked;
  EXPECT_EQ(asked, 2);  // 30 s at 20,000 bytes/s end in the second piece
  const auto again = asks_again_at(grid, plan);
  ASSERT_TRUE(again);
  EXPECT_FALSE(next_ask(grid, plan, *again - 1, 0, random));
  EXPECT_TRUE(next_ask(grid, plan, *again, 0, random));
}

TEST(Personas, ASeekGoesToTheGridOrToTheByte) {
  Plan plan = plan_of(10'000'000);
  uint64_t position = 1'000'000;
  seek(persona("chunk512"), plan, position);
  EXPECT_EQ(position, 524'288U);
  EXPECT_EQ(plan.next, 524'288U);
  position = 1'000'000;
  seek(persona("chromium"), plan, position);
  EXPECT_EQ(plan.next, 1'000'000U);
}

TEST(Personas, SegmentsComeFromThePlaylist) {
  const auto hls = parse_segments(Form::Hls, hls_playlist(7));
  const auto dash = parse_segments(Form::Dash, dash_manifest(7));
  EXPECT_EQ(hls.size(), segments_of(7));
  EXPECT_EQ(hls, dash);
  EXPECT_EQ(hls[3], "3.m4s");
  EXPECT_TRUE(parse_segments(Form::Dash, "<MPD>").empty());
  Random random(1);
  Plan plan{.path = "/h/7", .bytes = 480'000, .byte_rate = 16'000};
  const Persona& persona_hls = persona("hls");
  EXPECT_EQ(next_ask(persona_hls, plan, 0, 0, random)->path, "/h/7/index.m3u8");
  EXPECT_FALSE(next_ask(persona_hls, plan, 0, 0, random));  // until the playlist is here
  plan.segments = hls;
  EXPECT_EQ(next_ask(persona_hls, plan, 0, 0, random)->path, "/h/7/0.m4s");
  EXPECT_EQ(next_ask(persona_hls, plan, 0, 0, random)->path, "/h/7/1.m4s");
}

TEST(Content, NeighbouringSlicesAndResourcesDiffer) {
  const Block block;
  const auto one = find_resource("/t/1", 4'000'000);
  const auto other = find_resource("/t/2", 4'000'000);
  ASSERT_TRUE(one && other);
  EXPECT_NE(block.at(*one, 0, 4096), block.at(*other, 0, 4096));
  for (uint64_t slice = 1; slice < 15; ++slice) {
    EXPECT_NE(block.at(*one, 0, 4096), block.at(*one, slice * 262'144, 4096)) << slice;
  }
  EXPECT_FALSE(find_resource("/t/x", 0));
  EXPECT_FALSE(find_resource("/h/1/999.m4s", 0));
}

TEST(Play, StallsWhereNothingIsHereAndGoesOnWith64KiB) {
  Tally tally;
  Play play(plan_of(1'000'000), 1'000'000, 1.0, tally);
  const Time start{};
  play.asked(start);
  play.start(start);
  EXPECT_FALSE(play.time_of(1));  // nothing here: not playing
  EXPECT_TRUE(play.on_bytes(0, 65'536, start + std::chrono::milliseconds(40)));
  EXPECT_EQ(tally.first_64k_us.count(), 1U);
  play.advance(start + std::chrono::seconds(10));  // 65,536 bytes are 3.3 s
  EXPECT_EQ(tally.stalls, 1U);
  EXPECT_EQ(play.position(), 65'536U);
  EXPECT_FALSE(play.on_bytes(65'536, 70'000, start + std::chrono::seconds(11)));
  EXPECT_TRUE(play.on_bytes(70'000, 140'000, start + std::chrono::seconds(12)));
  EXPECT_EQ(tally.stall_us.at(0.5), 2'000'000U);
}

TEST(Play, BytesOutOfOrderCountOnceTheyLieTogether) {
  Intervals here;
  here.add(100, 200);
  here.add(0, 50);
  EXPECT_EQ(here.end_from(0), 50U);
  here.add(50, 100);
  EXPECT_EQ(here.end_from(0), 200U);
  EXPECT_EQ(here.end_from(300), 300U);
  here.add(10, 20);
  EXPECT_EQ(here.end_from(0), 200U);
}

TEST(ResponseHeads, AreReadOrRefused) {
  const auto head = parse_head(
      "HTTP/1.1 206 Partial Content\r\nCONTENT-LENGTH: 5\r\nContent-Range: bytes 2-6/10\r\n"
      "ETag: \"a\"\r\nConnection: close");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 206);
  EXPECT_EQ(head->length, 5U);
  EXPECT_EQ(head->range_first, 2U);
  EXPECT_EQ(head->range_last, 6U);
  EXPECT_EQ(head->total, 10U);
  EXPECT_EQ(head->etag, "\"a\"");
  EXPECT_TRUE(head->close);
  EXPECT_FALSE(parse_head("HTTP/1.1 2x6 no"));
  EXPECT_FALSE(parse_head("HTTP/1.1 200 OK\r\nno colon"));
  EXPECT_FALSE(parse_head("ICY 200 OK"));
}

}  // namespace
}  // namespace loadtest
