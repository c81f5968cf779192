// Sizes and durations: what people write is read, what is nearly right is refused.
#include "conf/parse_units.h"

#include <gtest/gtest.h>

#include "base/units.h"

namespace segue::conf {
namespace {

using std::chrono::milliseconds;

TEST(ParseSize, ReadsBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_size("24GiB"), 24 * GiB);
  EXPECT_EQ(parse_size("4TB"), 4'000'000'000'000U);
  EXPECT_EQ(parse_size("512MiB"), 512 * MiB);
  EXPECT_EQ(parse_size("3KB"), 3000U);
  EXPECT_EQ(parse_size("7B"), 7U);
  EXPECT_EQ(parse_size("2TiB"), 2 * TiB);
  EXPECT_EQ(parse_size("1gb"), 1'000'000'000U);
}

TEST(ParseSize, TakesABareNumberAsBytes) { EXPECT_EQ(parse_size("1048576"), MiB); }

TEST(ParseSize, RefusesWhatIsNearlyASize) {
  for (const char* text : {"", "GiB", "24 GiB", "24G", "-1GiB", "1.5GiB", "+1B", "0x10", "1GiBs"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(ParseSize, HoldsTheLargestThatFits63BitsAndRefusesTheNext) {
  EXPECT_EQ(parse_size("9223372036854775807"), uint64_t{INT64_MAX});
  EXPECT_EQ(parse_size("9223372036854775808"), std::nullopt);
  EXPECT_EQ(parse_size("8388607TiB"), 8388607 * TiB);
  EXPECT_EQ(parse_size("8388608TiB"), std::nullopt);
  EXPECT_EQ(parse_size("99999999999999999999"), std::nullopt);
}

TEST(ParseDuration, ReadsEachUnit) {
  EXPECT_EQ(parse_duration("250ms"), milliseconds{250});
  EXPECT_EQ(parse_duration("10s"), milliseconds{10'000});
  EXPECT_EQ(parse_duration("5m"), milliseconds{300'000});
  EXPECT_EQ(parse_duration("24h"), milliseconds{86'400'000});
  EXPECT_EQ(parse_duration("1d"), milliseconds{86'400'000});
  EXPECT_EQ(parse_duration("0"), milliseconds{0});
}

TEST(ParseDuration, RefusesWhatIsNearlyADuration) {
  for (const char* text : {"", "s", "10", "10 s", "-1s", "1.5s", "1S", "1min", "1us"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(ParseDuration, HoldsTenYearsAndRefusesMore) {
  EXPECT_EQ(parse_duration("3650d"), milliseconds{3650LL * 86'400'000});
  EXPECT_EQ(parse_duration("3651d"), std::nullopt);
  EXPECT_EQ(parse_duration("18446744073709551615d"), std::nullopt);
}

TEST(FormatSize, ChoosesTheUnitForPeople) {
  EXPECT_EQ(format_size(96), "96 B");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(512 * MiB), "512.0 MiB");
  EXPECT_EQ(format_size(24 * GiB), "24.0 GiB");
  EXPECT_EQ(format_size(3 * TiB), "3.0 TiB");
}

}  // namespace
}  // namespace segue::conf
