// Goal: what `segue top` shows is what the node's numbers say, whatever a node sends.
#include "edge/cli/overview.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace segue::edge {
namespace {

TEST(Readings, SamplesAreFoundByNameAndLabels) {
  const auto readings = Readings::parse(
      "# HELP a_total A.\n# TYPE a_total counter\na_total{tier=\"ram\",x=\"1\"} 3\n"
      "a_total{tier=\"drive\",x=\"1\"} 4.5\nb 1e3\n");
  EXPECT_EQ(readings.sum("a_total"), 7.5);
  EXPECT_EQ(readings.sum("a_total", {{"tier", "ram"}, {"x", "1"}}), 3);
  EXPECT_EQ(readings.sum("a_total", {{"tier", "pass"}}), 0);
  EXPECT_EQ(readings.sum("b"), 1000);
  EXPECT_EQ(readings.values_of("a_total", "tier"), (std::vector<std::string>{"ram", "drive"}));
  EXPECT_TRUE(readings.values_of("none", "tier").empty());
}

TEST(Readings, QuotesAndBackslashesInLabelsAreUndone) {
  const auto readings = Readings::parse("a{x=\"q\\\"b\\\\s\\nn\",y=\"}, \"} 1\n");
  EXPECT_EQ(readings.values_of("a", "x"), std::vector<std::string>{"q\"b\\s\nn"});
  EXPECT_EQ(readings.values_of("a", "y"), std::vector<std::string>{"}, "});
}

TEST(Readings, LinesThatAreNoSamplesAreSkipped) {
  for (const char* text :
       {"", "\n\n", "a", "a ", " 1", "a{ 1", "a{} x", "a{b} 1", "a{b=\"} 1", "a{b=\"c\" 1",
        "a{b=\"c\\", "a{b=\"c\\\"} 1", "a 1x", "<html>no</html>"}) {
    const auto readings = Readings::parse(text);
    EXPECT_EQ(readings.sum("a"), 0) << text;
    EXPECT_TRUE(readings.values_of("a", "b").empty()) << text;
  }
}

TEST(Interval, ACounterThatWentBackCountsFromZero) {
  const auto before = Readings::parse("a_total 100\n");
  const auto now = Readings::parse("a_total 130\n");
  EXPECT_EQ(Interval(before, now, 10).rate("a_total"), 3);
  EXPECT_EQ(Interval(now, before, 10).growth("a_total"), 100);
}

TEST(Interval, AQuantileIsOfTheIntervalAlone) {
  const auto before = Readings::parse(
      "h_bucket{le=\"1\"} 1000\nh_bucket{le=\"2\"} 1000\nh_bucket{le=\"+Inf\"} 1000\n");
  const auto now = Readings::parse(
      "h_bucket{le=\"1\"} 1000\nh_bucket{le=\"2\"} 1010\nh_bucket{le=\"+Inf\"} 1011\n");
  const Readings none;
  EXPECT_NEAR(*Interval(before, now, 1).quantile("h", 0.5), 1.55, 0.01);
  EXPECT_EQ(*Interval(before, now, 1).quantile("h", 0.99), 2);  // beyond the last bound
  EXPECT_LT(*Interval(none, now, 1).quantile("h", 0.5), 1);
  EXPECT_FALSE(Interval(now, now, 1).quantile("h", 0.5));
  EXPECT_FALSE(Interval(none, none, 1).quantile("h", 0.5));
}

TEST(TopTracks, TheLatestHourCounts) {
  const auto row = [](int hour, std::string_view track, std::string_view plays) {
    return fmt::format(
        "{{\"hour\":\"2026-01-01T{:02}:00Z\",\"site\":\"m\",\"track\":\"{}\",\"plays\":{},"
        "\"listeners\":1,\"seconds\":60}}\n",
        hour, track, plays);
  };
  const auto tracks = top_tracks(row(1, "/old", "9") + row(2, "/b", "2") + "no json\n{}\n[]\n" +
                                 row(2, "/a", "7") + row(2, "/c", "-7"));
  ASSERT_EQ(tracks.size(), 2U);
  EXPECT_EQ(tracks[0].track, "/a");
  EXPECT_EQ(tracks[0].seconds, 60);
  EXPECT_EQ(tracks[1].track, "/b");
}

TEST(Overview, WhatIsGivenUpIsSaidWhileItIs) {
  const auto lines = [](const char* text) {
    const Readings none;
    std::string all;
    const auto now = Readings::parse(text);
    for (const std::string& line : overview(Interval(none, now, 1), {}, 120)) all += line + "\n";
    return all;
  };
  EXPECT_NE(lines("segue_overload_shedding{load=\"prefetch\"} 1\n"
                  "segue_overload_shedding{load=\"miss\"} 0\n"
                  "segue_overload_used{resource=\"fills\"} 1920\n"
                  "segue_overload_hard_limit{resource=\"fills\"} 3840\n")
                .find("SHEDDING  prefetch; in use of the hard limit: fills 50.0 %"),
            std::string::npos);
  EXPECT_EQ(lines("segue_overload_shedding{load=\"prefetch\"} 0\n").find("SHEDDING"),
            std::string::npos);
}

TEST(Overview, NoLineIsWiderThanAllowedOrMoreThanPrintable) {
  const auto now = Readings::parse(
      "segue_origin_requests_total{origin=\"\x1b[2Jstore\x07\xff\"} 5\n"
      "segue_drive_online{drive=\"0\"} 0\n"
      "segue_prefetch_precision_ratio{model=\"\xe2\x80\xae\"} 0.5\n");
  const Readings none;
  const std::vector<TopTrack> tracks{{.site = "m", .track = std::string(500, 'x') + "\x1b"}};
  for (const size_t width : {0U, 1U, 30U, 100U, 1000U}) {
    const auto lines = overview(Interval(none, now, 1), tracks, width);
    for (const std::string& line : lines) {
      EXPECT_LE(line.size(), width);
      EXPECT_TRUE(std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; })) << line;
    }
  }
}

TEST(Overview, ADriveThatIsOfflineAndListeningThatIsNotCountedAreSaid) {
  const auto now = Readings::parse("segue_drive_online{drive=\"0\"} 0\n");
  const Readings none;
  std::string text;
  for (const std::string& line : overview(Interval(none, now, 1), std::nullopt, 100))
    text += line + "\n";
  EXPECT_NE(text.find("\n0        OFFLINE"), std::string::npos) << text;
  EXPECT_NE(text.find("not counted: listens.count is off"), std::string::npos) << text;
}

TEST(Overview, AnEmptyAnswerIsNoCrash) {
  const Readings none;
  EXPECT_GT(overview(Interval(none, none, 0), std::vector<TopTrack>{}, 80).size(), 8U);
}

}  // namespace
}  // namespace segue::edge
