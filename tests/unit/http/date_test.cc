// Goal: the three date formats are read, everything else is not, and writing is the inverse.
#include "http/date.h"

#include <gtest/gtest.h>

#include <array>

namespace segue::http {
namespace {

using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
constexpr sys_seconds kNovember1994{seconds{784111777}};

std::string_view written(sys_seconds time, std::array<char, kDateBytes>& out) {
  return write_date(time, out);
}

TEST(Date, TheThreeFormatsNameOneMoment) {
  EXPECT_EQ(parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), kNovember1994);
  EXPECT_EQ(parse_date("Sunday, 06-Nov-94 08:49:37 GMT"), kNovember1994);
  EXPECT_EQ(parse_date("Sun Nov  6 08:49:37 1994"), kNovember1994);
  EXPECT_EQ(parse_date("Sun Nov 16 08:49:37 1994"), kNovember1994 + std::chrono::days{10});
  EXPECT_EQ(parse_date(" Sun, 06 Nov 1994 08:49:37 GMT\t"), kNovember1994);
}

TEST(Date, NamesMatchInAnyCase) {
  EXPECT_EQ(parse_date("sUN, 06 nOV 1994 08:49:37 gmt"), kNovember1994);
  EXPECT_EQ(parse_date("SUNDAY, 06-NOV-94 08:49:37 GMT"), kNovember1994);
}

TEST(Date, AWrongDayNameIsForgiven) {
  EXPECT_EQ(parse_date("Mon, 06 Nov 1994 08:49:37 GMT"), kNovember1994);
}

TEST(Date, ATwoDigitYearIsAtMostFiftyYearsAhead) {
  const sys_seconds now = sys_days{std::chrono::year{2026} / 6 / 1};
  auto year_of = [&](std::string_view text) {
    return static_cast<int>(std::chrono::year_month_day{
        std::chrono::floor<std::chrono::days>(parse_date(text, now).value())}
                                .year());
  };
  EXPECT_EQ(year_of("Monday, 01-Jan-76 00:00:00 GMT"), 2076);
  EXPECT_EQ(year_of("Monday, 01-Jan-77 00:00:00 GMT"), 1977);
  EXPECT_EQ(year_of("Monday, 01-Jan-00 00:00:00 GMT"), 2000);
}

TEST(Date, LeapDaysAndSecondsExistOnlyWhereTheyDo) {
  EXPECT_TRUE(parse_date("Thu, 29 Feb 2024 00:00:00 GMT").has_value());
  EXPECT_FALSE(parse_date("Thu, 29 Feb 2023 00:00:00 GMT").has_value());
  EXPECT_FALSE(parse_date("Thu, 29 Feb 1900 00:00:00 GMT").has_value());
  EXPECT_EQ(parse_date("Sat, 31 Dec 2016 23:59:60 GMT"),
            parse_date("Sun, 01 Jan 2017 00:00:00 GMT"));
}

TEST(Date, AnythingElseIsNoDate) {
  for (std::string_view text : {"",
                                "0",
                                "-1",
                                "now",
                                "Sun",
                                "Sun,",
                                "Sun, ",
                                "Sun, 06 Nov 1994 08:49:37",
                                "Sun, 06 Nov 1994 08:49:37 UTC",
                                "Sun, 06 Nov 1994 08:49:37 AEST",
                                "Sun, 06 Nov 1994 08:49:37 GMT x",
                                "Sun, 6 Nov 1994 08:49:37 GMT",
                                "Sun, 06 Nov 94 08:49:37 GMT",
                                "Sun, 06-Nov-1994 08:49:37 GMT",
                                "Sun, 06 Nov 1994 8:49:37 GMT",
                                "Sun,  06 Nov 1994 08:49:37 GMT",
                                "Sun 06 Nov 1994 08:49:37 GMT",
                                "Sun, 06 Nov 1994 08.49.37 GMT",
                                "Sun, 06 Nov 1994 24:00:00 GMT",
                                "Sun, 06 Nov 1994 08:60:00 GMT",
                                "Sun, 06 Nov 1994 08:49:61 GMT",
                                "Sun, 31 Nov 1994 08:49:37 GMT",
                                "Sun, 00 Nov 1994 08:49:37 GMT",
                                "Sun, 06 Foo 1994 08:49:37 GMT",
                                "Foo, 06 Nov 1994 08:49:37 GMT",
                                "06 Nov 1994 08:49:37 GMT",
                                "Sunday, 06 Nov 1994 08:49:37 GMT",
                                "Sunday 06-Nov-94 08:49:37 GMT",
                                "Sun Nov 6 08:49:37 1994",
                                "Sun Nov  6 08:49:37 94",
                                "1994-11-06T08:49:37Z"}) {
    EXPECT_EQ(parse_date(text), std::nullopt) << text;
  }
}

TEST(Date, IsWrittenAsAnImfFixdate) {
  std::array<char, kDateBytes> out;
  EXPECT_EQ(written(kNovember1994, out), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(written(sys_seconds{}, out), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(written(sys_seconds{seconds{-1}}, out), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(written(sys_seconds::max(), out), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(written(sys_seconds::min(), out), "Sat, 01 Jan 0000 00:00:00 GMT");
}

TEST(Date, WhatIsWrittenReadsBack) {
  std::array<char, kDateBytes> out;
  for (int64_t at = -2'000'000'000; at < 8'000'000'000; at += 86'399'977) {
    const sys_seconds time{seconds{at}};
    EXPECT_EQ(parse_date(written(time, out)), time);
  }
}

}  // namespace
}  // namespace segue::http
