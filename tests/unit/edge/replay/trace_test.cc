// Goal: a trace says what was played in which order, and a wrong one says which line is wrong.
// Method: short texts.
#include "edge/replay/trace.h"

#include <gtest/gtest.h>

#include "tests/unit/edge/replay/trace_text.h"

namespace segue::edge {
namespace {

const std::string head_line = "user,end_unix,ms_played,track\n";

std::string mistake_of(const std::string& text) {
  const auto trace = trace_of(text);
  return trace ? "none" : trace.error();
}

TEST(TraceTest, PlaysComeByTheirStart) {
  const auto trace = trace_of(head_line + "a,1000,10000,x\nb,1000,60000,y\na,1100,1500,z\n");
  ASSERT_TRUE(trace.has_value());
  const auto& plays = trace->plays();
  ASSERT_EQ(plays.size(), 3U);
  EXPECT_EQ(plays[0].user, 1U);  // began 50 s before the other
  EXPECT_EQ(plays[0].start_ms, 0);
  EXPECT_EQ(plays[1].start_ms, 50'000);
  EXPECT_EQ(plays[2].played_ms, 1500U);
  EXPECT_EQ(trace->users(), 2U);
}

TEST(TraceTest, ColumnsMayStandInAnyOrderAmongOthers) {
  const auto trace =
      trace_of("artist,track,user,note,ms_played,end_unix\r\nq,x,a,,2000,1000.25\r\n\r\n");
  ASSERT_TRUE(trace.has_value()) << trace.error();
  EXPECT_EQ(trace->plays().at(0).played_ms, 2000U);
  EXPECT_EQ(trace->track_bytes().size(), 1U);
}

TEST(TraceTest, ALongSilenceBeginsAnotherSession) {
  const auto trace = trace_of(head_line +
                              "a,1000,60000,x\na,1100,60000,y\n"  // 40 s of silence
                              "a,2360,60000,z\n"                  // exactly 20 minutes
                              "a,3621,60000,x\n");                // one second more
  ASSERT_TRUE(trace.has_value());
  const auto& plays = trace->plays();
  EXPECT_FALSE(plays[0].follows);
  EXPECT_TRUE(plays[1].follows);
  EXPECT_TRUE(plays[2].follows);
  EXPECT_FALSE(plays[3].follows);
  EXPECT_EQ(plays[0].next, 1U);
  EXPECT_EQ(plays[2].next, kNoPlay);
  EXPECT_EQ(plays[2].session, plays[0].session);
  EXPECT_NE(plays[3].session, plays[0].session);
  EXPECT_EQ(trace->sessions(), 2U);
}

TEST(TraceTest, APlayThatSeemsToStartBeforeItsPredecessorStartsWithIt) {
  // Ends are rounded to minutes: the second was played after the first, for three minutes.
  const auto trace = trace_of(head_line + "a,6000,1000,x\na,6000,180000,y\n");
  ASSERT_TRUE(trace.has_value());
  EXPECT_EQ(trace->plays()[0].track, 0U);
  EXPECT_EQ(trace->plays()[0].next, 1U);
  EXPECT_EQ(trace->plays()[1].start_ms, 0);
}

TEST(TraceTest, ATrackIsAsLongAsItsLongestPlayAndAtLeastHalfAMinute) {
  const auto trace = trace_of(head_line + "a,1000,40000,x\nb,2000,90000,x\nc,3000,100,y\n");
  ASSERT_TRUE(trace.has_value());
  EXPECT_EQ(trace->track_bytes()[0], 90U * 20'000);
  EXPECT_EQ(trace->track_bytes()[1], 30U * 20'000);
  EXPECT_EQ(trace->footprint_bytes(), 120U * 20'000);
  EXPECT_EQ(trace->bytes_of(trace->plays()[0]), 40U * 20'000);
  EXPECT_EQ(trace->bytes_of(trace->plays()[2]), 2'000U);
}

TEST(TraceTest, AWrongFirstLineSaysWhichColumnIsMissing) {
  EXPECT_EQ(mistake_of(""), "line 1: the file is empty");
  EXPECT_TRUE(mistake_of("14,1550625120,221735,74512\n").starts_with("line 1: no column \"user\""));
  EXPECT_TRUE(mistake_of("user,end_unix,track\n").starts_with("line 1: no column \"ms_played\""));
  EXPECT_EQ(mistake_of("user" + std::string(kTraceColumnsMax, ',') + "\n"),
            "line 1: more than 64 columns");
  EXPECT_EQ(mistake_of(std::string(kTraceLineBytesMax + 1, 'x')), "line 1: too long");
}

TEST(TraceTest, AWrongLineIsNamedByItsNumber) {
  const auto second = [](const std::string& line) {
    return mistake_of(head_line + "a,1000,10000,x\n" + line + "\n");
  };
  EXPECT_EQ(second("a,1000,10000"), "line 3: 3 columns, the first line names 4");
  EXPECT_EQ(second("a,1000,10000,x,y"), "line 3: 5 columns, the first line names 4");
  EXPECT_EQ(second(",1000,10000,x"), "line 3: user is empty");
  EXPECT_EQ(second("a,1000,10000,"), "line 3: track is empty");
  EXPECT_EQ(second("a,soon,10000,x"),
            "line 3: end_unix is \"soon\"; allowed: seconds from 0 to 4102444800");
  EXPECT_TRUE(second("a,-1,10000,x").starts_with("line 3: end_unix"));
  EXPECT_TRUE(second("a,1000.,10000,x").starts_with("line 3: end_unix"));
  EXPECT_TRUE(second("a,1e9,10000,x").starts_with("line 3: end_unix"));
  EXPECT_TRUE(second("a,99999999999999999999,1,x").starts_with("line 3: end_unix"));
  EXPECT_EQ(second("a,1000,-5,x"), "line 3: ms_played is \"-5\"; allowed: 0 to 86400000");
  EXPECT_TRUE(second("a,1000,86400001,x").starts_with("line 3: ms_played"));
  EXPECT_TRUE(second("a,1000,5 ,x").starts_with("line 3: ms_played"));
  EXPECT_TRUE(
      second(std::string("a,\0", 3) + "\x1b[2J,5,x").starts_with("line 3: end_unix is \"??[2J\""));
}

TEST(TraceTest, LinesAreBoundedAndTheBoundIsAllowed) {
  const std::string most(kTraceLineBytesMax - std::string("a,1000,5,").size(), 'x');
  EXPECT_EQ(mistake_of(head_line + "a,1000,5," + most + "\n"), "none");
  EXPECT_EQ(mistake_of(head_line + "a,1000,5," + most + "x\n"), "line 2: longer than 4096 bytes");
  EXPECT_EQ(mistake_of(head_line + "a,4102444800,86400000,x\n"), "none");
  EXPECT_TRUE(mistake_of(head_line + "a,4102444801,5,x\n").starts_with("line 2"));
  EXPECT_EQ(mistake_of(head_line), "there is no play in the file");
}

}  // namespace
}  // namespace segue::edge
