// Goal: who listened to what, counted as edge/metrics/listens.h says. Method: records with times of
// the test's own.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "edge/metrics/byte_coverage.h"
#include "edge/metrics/listens.h"
#include "edge/metrics/recent_table.h"

namespace segue::edge {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr uint64_t kLength = 10'000'000;
constexpr uint64_t kMinute = 60 * 16'000;

class ListensTest : public testing::Test {
 protected:
  /// One delivered range; its request came at `now` and took `duration`.
  void play(uint64_t first, uint64_t bytes, std::string_view client = "192.0.2.1",
            std::string_view agent = "Player/1", std::string_view path = "/t/1",
            bool is_preload = false) {
    AccessRecord record;
    record.is_preload = is_preload;
    record.time = now;
    record.duration = duration;
    record.status = 206;
    record.first_position = first;
    record.bytes_sent = bytes;
    record.complete_length = length;
    record.site.assign("music");
    record.client.assign(client);
    record.user_agent.assign(agent);
    record.path.assign(path);
    listens.take(record);
  }
  bool says(std::string_view words) const { return listens.json_lines().contains(words); }
  size_t count_of(std::string_view words) const {
    const std::string text = listens.json_lines();
    size_t count = 0;
    for (size_t at = 0; (at = text.find(words, at)) != std::string::npos; ++at) ++count;
    return count;
  }

  WallTime now{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1} + hours{12}};
  std::chrono::nanoseconds duration{0};
  uint64_t length = kLength;
  Listens listens{{.salt = 7,
                   .bytes_per_second = 16'000,
                   .sessions_max = 4,
                   .recent_max = 64,
                   .listeners_max = 64,
                   .rows_max = 4}};
};

TEST_F(ListensTest, ManyRangesOfOnePlayerAreOnePlayAndBytesCountOnce) {
  for (uint64_t at = 0; at < 2'000'000; at += 100'000) play(at, 100'000);
  play(0, 160'000);
  EXPECT_TRUE(says("\"plays\":1,\"listeners\":1,\"downloads\":1,\"seconds\":125.0,"));
  EXPECT_TRUE(says("\"tenths\":[1,1,0,0,0,0,0,0,0,0],\"skips\":[0,0,0,0,0,0,0,0,0,0]"));
  EXPECT_TRUE(says("\"hour\":\"2026-03-01T12:00Z\",\"site\":\"music\",\"track\":\"/t/1\""));
}

TEST_F(ListensTest, HalfAnHourOfSilenceIsAnotherPlayOfTheSameListener) {
  play(0, 2000);
  now += minutes{31};
  play(0, 2000);
  EXPECT_TRUE(says("\"plays\":2,\"listeners\":1,\"downloads\":0"));
}

TEST_F(ListensTest, AResponseThatTakesAnHourIsNoSilence) {
  duration = hours{1};
  play(0, 5'000'000);
  now += hours{1} + seconds{5};
  duration = {};
  play(8'000'000, 1'000'000);
  EXPECT_TRUE(says("\"plays\":0")) << "in the second hour: " << listens.json_lines();
  EXPECT_FALSE(says("\"plays\":2"));
  EXPECT_EQ(count_of("\"plays\":1,"), 1U);
}

TEST_F(ListensTest, AResponseThatEndsAfterAShorterOneThatBeganLaterChangesNothing) {
  const WallTime began = now;
  now = began + minutes{29};
  play(1'000'000, 100'000);
  now = began;
  duration = minutes{30};
  play(0, 1'000'000);  // its line comes second
  now = began + minutes{58};
  duration = {};
  play(1'100'000, 100'000);
  EXPECT_EQ(count_of("\"plays\":1,"), 1U) << listens.json_lines();
  EXPECT_TRUE(says("\"skips\":[0,0,0,0,0,0,0,0,0,0]"));
}

TEST_F(ListensTest, ALookAtTheFirstBytesOrTheEndIsNoPlay) {
  play(0, 2);
  play(kLength - 65'536, 65'536);
  EXPECT_EQ(listens.json_lines(), "");
  now += minutes{31};
  play(0, 2000);  // the play itself: one, not two
  EXPECT_TRUE(says("\"plays\":1,\"listeners\":1,")) << listens.json_lines();
  play(0, 1023, "192.0.2.7");
  EXPECT_TRUE(says("\"plays\":1,\"listeners\":1,"));
  play(1023, 1, "192.0.2.7");
  EXPECT_TRUE(says("\"plays\":2,\"listeners\":1,"));
}

TEST_F(ListensTest, WhatWasDeliveredBeforeAPlayBeginsIsPartOfItsSeconds) {
  play(0, 2);
  play(kLength - 160'000, 160'000);
  play(2, 159'998);
  EXPECT_TRUE(says("\"plays\":1,\"listeners\":1,\"downloads\":0,\"seconds\":20.0"));
}

TEST_F(ListensTest, AShortTrackIsPlayedFromItsBeginning) {
  length = 100'000;  // all of it is "the end"
  play(50'000, 50'000);
  EXPECT_EQ(listens.json_lines(), "");
  play(0, 50'000);
  EXPECT_TRUE(says("\"plays\":1,"));
  length = 500;  // less than what a play needs of a long one
  play(0, 499, "192.0.2.1", "Player/1", "/short");
  EXPECT_FALSE(says("/short"));
  play(0, 500, "192.0.2.1", "Player/1", "/short");
  EXPECT_TRUE(says("/short"));
}

TEST_F(ListensTest, PlaylistsAndPicturesAreNoTracks) {
  for (const char* path : {"/a.m3u8", "/cover.JPG", "/text.vtt"})
    play(0, 5'000'000, "192.0.2.1", "Player/1", path);
  EXPECT_EQ(listens.json_lines(), "");
  for (const char* path : {"/a.mp3", "/v1.2/track", "/a"}) EXPECT_FALSE(is_no_track(path)) << path;
}

TEST_F(ListensTest, ListenersAreAddressesCutToTheirNetworkWithTheirUserAgent) {
  play(0, 2000, "192.0.2.1");
  play(0, 2000, "192.0.2.200");
  EXPECT_TRUE(says("\"plays\":2,\"listeners\":1"));  // two players, of one listener for all we say
  play(0, 2000, "192.0.3.1");
  play(0, 2000, "192.0.2.1", "Player/2");
  EXPECT_TRUE(says("\"plays\":4,\"listeners\":3"));
  now += hours{1};
  play(0, 2000, "192.0.2.200");
  EXPECT_TRUE(
      says("\"hour\":\"2026-03-01T13:00Z\",\"site\":\"music\",\"track\":\"/t/1\","
           "\"plays\":1,\"listeners\":1"));
  EXPECT_NE(player_of("192.0.2.1", "a", 1), player_of("192.0.2.2", "a", 1));
  EXPECT_EQ(listener_of("2001:db8:1:2::3", "a", 1), listener_of("2001:db8:1:9::4", "a", 1));
  EXPECT_NE(listener_of("2001:db8:1:2::3", "a", 1), listener_of("2001:db8:2:2::3", "a", 1));
  EXPECT_NE(listener_of("192.0.2.1", "a", 1), listener_of("192.0.2.1", "a", 2));
  // However many zeros its text leaves out.
  EXPECT_EQ(listener_of("2001:db8::5", "a", 1), listener_of("2001:db8:0:1::5", "a", 1));
  EXPECT_NE(listener_of("2001:db8::5", "a", 1), listener_of("2001:db9::5", "a", 1));
  EXPECT_EQ(listener_of("::ffff:192.0.2.1", "a", 1), listener_of("192.0.2.9", "a", 1));
  EXPECT_NE(listener_of("unix", "a", 1), listener_of("", "a", 1));
}

TEST_F(ListensTest, ADownloadNeedsAMinuteOfAudioAndCountsOnceInADay) {
  play(0, kMinute - 1);
  play(0, kMinute - 1);
  EXPECT_TRUE(says("\"downloads\":0"));
  play(kMinute - 1, 1);
  EXPECT_TRUE(says("\"downloads\":1"));
  now += hours{23};
  play(0, 2 * kMinute);
  EXPECT_FALSE(
      says("\"hour\":\"2026-03-02T11:00Z\",\"site\":\"music\",\"track\":\"/t/1\","
           "\"plays\":1,\"listeners\":1,\"downloads\":1"));
  now += hours{2};
  play(0, 2 * kMinute);
  EXPECT_TRUE(
      says("\"hour\":\"2026-03-02T13:00Z\",\"site\":\"music\",\"track\":\"/t/1\","
           "\"plays\":1,\"listeners\":1,\"downloads\":1"));
}

TEST_F(ListensTest, TwoAddressesOfOneNetworkAreTwoDownloads) {
  // Phones of one carrier have the same user agent; IAB tells them apart by the whole address.
  play(0, kMinute, "192.0.2.1");
  play(0, kMinute, "192.0.2.2");
  EXPECT_TRUE(says("\"plays\":2,\"listeners\":1,\"downloads\":2"));
}

TEST_F(ListensTest, HalfAMinuteTwiceOfOneHalfIsNoDownload) {
  for (int i = 0; i < 4; ++i) play(0, kMinute / 2);  // the same bytes again
  EXPECT_TRUE(says("\"downloads\":0"));
  now += hours{3};  // another play, but the same day
  play(kMinute / 2, kMinute / 2);
  EXPECT_TRUE(says("\"plays\":1,\"listeners\":1,\"downloads\":1"));
}

TEST_F(ListensTest, WhatAClientLoadsAheadIsNoListening) {
  play(0, 2 * kMinute, "192.0.2.1", "Player/1", "/t/1", true);
  EXPECT_EQ(listens.json_lines(), "");
}

TEST_F(ListensTest, RobotsAndEmptyUserAgentsAreLeftOut) {
  for (const char* agent : {"Googlebot/2.1", "curl/8", "", "My SPIDER", "atc/1.0 watchOS/7.0"})
    play(0, 2 * kMinute, "192.0.2.1", agent);
  EXPECT_EQ(listens.json_lines(), "");
}

TEST_F(ListensTest, AJumpForwardIsASkipButTheLookAtTheEndIsNone) {
  play(0, 1'500'000);
  play(kLength - 65'536, 65'536);  // the last page of an Ogg file
  play(1'500'000, 100'000);
  EXPECT_TRUE(says("\"skips\":[0,0,0,0,0,0,0,0,0,0]"));
  play(5'000'000, 100'000);
  EXPECT_TRUE(says("\"skips\":[0,1,0,0,0,0,0,0,0,0]"));
  play(0, 100'000);  // back is no skip
  EXPECT_TRUE(says("\"skips\":[0,1,0,0,0,0,0,0,0,0]"));
}

TEST_F(ListensTest, ACrowdThatFillsTheTablesShutsNobodyOut) {
  for (int i = 0; i < 40; ++i) play(0, kMinute, fmt::format("192.0.{}.1", i));
  EXPECT_TRUE(says("\"plays\":40,\"listeners\":40,\"downloads\":40")) << listens.json_lines();
}

TEST_F(ListensTest, WhoMadeRoomForOthersIsNoNewPlayAndNoSecondDownload) {
  play(0, kMinute);
  for (int i = 0; i < 4; ++i) play(0, 2000, fmt::format("192.0.{}.1", i + 10));
  now += minutes{5};
  play(kMinute, kMinute);
  EXPECT_TRUE(says("\"plays\":5,\"listeners\":5,\"downloads\":1")) << listens.json_lines();
  for (int i = 0; i < 4; ++i) play(0, 2000, fmt::format("192.0.{}.1", i + 20));
  now += minutes{31};  // silent for long enough: a play, in the same day
  play(0, kMinute);
  EXPECT_TRUE(says("\"plays\":10,\"listeners\":9,\"downloads\":1")) << listens.json_lines();
  for (int i = 0; i < 4; ++i) play(0, 2000, fmt::format("192.0.{}.1", i + 20));
  now += hours{24};
  play(0, kMinute);
  EXPECT_TRUE(says("\"plays\":1,\"listeners\":1,\"downloads\":1")) << listens.json_lines();
}

TEST_F(ListensTest, WhoMadeRoomForOthersDidNotSkipToWhereItGoesOn) {
  for (int round = 0; round < 3; ++round, now += minutes{1}) {
    for (int i = 0; i < 8; ++i)
      play(static_cast<uint64_t>(round) * 2'000'000, 2'000'000, fmt::format("192.0.{}.1", i));
  }
  EXPECT_TRUE(says("\"plays\":8,")) << listens.json_lines();
  EXPECT_TRUE(says("\"skips\":[0,0,0,0,0,0,0,0,0,0]")) << listens.json_lines();
  play(9'000'000, 100'000, "192.0.7.1");  // it is known by now where this one was
  EXPECT_TRUE(says("\"skips\":[0,0,0,0,0,0,1,0,0,0]")) << listens.json_lines();
}

TEST_F(ListensTest, TheOldestHourGoesWhenTheRowsAreFull) {
  for (int hour = 0; hour < 6; ++hour, now += hours{1}) play(0, 2000, "192.0.2.1", "Player/1");
  EXPECT_FALSE(says("T12:00Z"));
  EXPECT_TRUE(says("T14:00Z"));
  EXPECT_TRUE(says("T17:00Z"));
}

TEST_F(ListensTest, HostilePathsStayWithinTheirCellAndLine) {
  play(0, 2000, "192.0.2.1", "Player/1", "/a\",\"x\r\n");
  EXPECT_TRUE(says("\"track\":\"/a\\\",\\\"x\\u000d\\u000a\"")) << listens.json_lines();
  EXPECT_TRUE(listens.csv().contains("\"/a\"\",\"\"x\r\n\",1,1,0,"));
}

TEST(RecentTable, AFullRowForgetsWhatWasSeenLongestAgo) {
  RecentTable table(RecentTable::kWays);  // one row
  for (uint32_t i = 1; i <= RecentTable::kWays; ++i)
    table.put({.key = i, .seen = 100 - i, .mark = i});
  for (uint32_t i = 1; i <= RecentTable::kWays; ++i) {
    ASSERT_NE(table.find(i), nullptr);
    EXPECT_EQ(table.find(i)->mark, i);
  }
  table.put({.key = 2, .seen = 200, .mark = 22});  // known: in its place
  EXPECT_EQ(table.find(2)->mark, 22U);
  EXPECT_NE(table.find(RecentTable::kWays), nullptr);
  table.put({.key = 99, .seen = 150});
  EXPECT_EQ(table.find(RecentTable::kWays), nullptr);
  EXPECT_NE(table.find(99), nullptr);
}

TEST(ByteCoverage, CountsEachByteOnceAndNeverLessThanItWasGiven) {
  ByteCoverage coverage;
  EXPECT_EQ(coverage.add(100, 200), 100U);
  EXPECT_EQ(coverage.add(150, 250), 50U);
  EXPECT_EQ(coverage.add(0, 1000), 850U);
  EXPECT_EQ(coverage.add(5, 5), 0U);
  EXPECT_EQ(coverage.total(), 1000U);
  coverage.clear();
  // Every second block, backwards: more spans than there is room for.
  for (uint64_t at = 40; at-- > 0;) coverage.add(at * 20, at * 20 + 10);
  for (uint64_t at = 0; at < 40; ++at) EXPECT_EQ(coverage.within(at * 20, at * 20 + 10), 10U);
  EXPECT_LE(coverage.total(), 800U);
}

}  // namespace
}  // namespace segue::edge
