// Goal: Range is parsed and resolved as RFC 9110 §14 says, at every border and without overflow.
#include "http/range.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

/// "whole", "416", or the parts as "first-end" pairs, half-open.
std::string resolved(std::string_view value, uint64_t complete_length) {
  Resolved result = resolve(parse_range(value), complete_length);
  if (result.kind == Resolved::Kind::Whole) return "whole";
  if (result.kind == Resolved::Kind::NotSatisfiable) return "416";
  std::string text;
  uint64_t total = 0;
  for (ByteRange part : result.ranges()) {
    EXPECT_FALSE(part.empty());
    EXPECT_LE(part.end, complete_length);
    total += part.length();
    if (!text.empty()) text += ' ';
    text += std::to_string(part.first) + "-" + std::to_string(part.end);
  }
  EXPECT_EQ(result.total_bytes(), total);
  EXPECT_LE(total, complete_length);
  return text;
}

TEST(Range, SingleRangesResolveToHalfOpenOnes) {
  struct Row {
    const char* value;
    uint64_t complete_length;
    const char* expected;
  };
  for (const Row& row : {
           Row{"bytes=0-0", 1000, "0-1"},
           Row{"bytes=0-1", 1000, "0-2"},
           Row{"bytes=0-", 1000, "0-1000"},
           Row{"bytes=0-65535", 1000, "0-1000"},
           Row{"bytes=999-", 1000, "999-1000"},
           Row{"bytes=999-999", 1000, "999-1000"},
           Row{"bytes=1000-", 1000, "416"},
           Row{"bytes=1000-1000", 1000, "416"},
           Row{"bytes=-1", 1000, "999-1000"},
           Row{"bytes=-1000", 1000, "0-1000"},
           Row{"bytes=-1001", 1000, "0-1000"},
           Row{"bytes=-0", 1000, "416"},
           Row{"bytes=000000000000000000000000005-6", 1000, "5-7"},
           Row{"bytes=0-18446744073709551615", 1000, "0-1000"},
           Row{"bytes=0-99999999999999999999999", 1000, "0-1000"},
           Row{"bytes=18446744073709551615-", 1000, "416"},
           Row{"bytes=99999999999999999999999-", 1000, "416"},
           Row{"bytes=-99999999999999999999999", 1000, "0-1000"},
           Row{"bytes=0-", UINT64_MAX, "0-18446744073709551615"},
           Row{"bytes=18446744073709551614-18446744073709551615", UINT64_MAX,
               "18446744073709551614-18446744073709551615"},
           Row{"BYTES=0-1", 1000, "0-2"},
           Row{"Bytes=0-1", 1000, "0-2"},
           Row{"bytes= 0-1", 1000, "0-2"},
           Row{"bytes=0-1 ", 1000, "0-2"},
           Row{"bytes=,0-1,", 1000, "0-2"},
           Row{"bytes=0-", 0, "416"},
           Row{"bytes=0-0", 0, "416"},
           Row{"bytes=-0", 0, "416"},
           Row{"bytes=-5", 0, "whole"},
       }) {
    EXPECT_EQ(resolved(row.value, row.complete_length), row.expected) << row.value;
  }
}

TEST(Range, MalformedOnesAndOtherUnitsAreIgnored) {
  for (std::string_view value : {"",
                                 "bytes",
                                 "bytes=",
                                 "bytes=,",
                                 "bytes=-",
                                 "bytes=--1",
                                 "bytes=a-b",
                                 "bytes=0-b",
                                 "bytes=5-3",
                                 "bytes=0-1,5-3",
                                 "bytes=0-1,x",
                                 "bytes=0-1;2-3",
                                 "bytes=0 -1",
                                 "bytes=0- 1",
                                 "bytes=+0-1",
                                 "bytes=0-+1",
                                 "bytes=0x0-1",
                                 "bytes=1",
                                 "bytes=0-1-2",
                                 "bytes =0-1",
                                 " bytes=0-1",
                                 "bytes:0-1",
                                 "items=0-1",
                                 "byte=0-1",
                                 "bytess=0-1",
                                 "bytes=\"0-1\"",
                                 "bytes=0-1\"",
                                 "bytes==0-1",
                                 "bytes=-1.5"}) {
    EXPECT_EQ(parse_range(value).kind, ParsedRange::Kind::Invalid) << value;
    EXPECT_EQ(resolved(value, 1000), "whole") << value;
  }
}

TEST(Range, SeveralRangesKeepTheirOrderAndAreCoalesced) {
  struct Row {
    const char* value;
    const char* expected;
  };
  for (const Row& row : {
           Row{"bytes=0-0,1000-1000", "0-1 1000-1001"},
           Row{"bytes=1000-1000,0-0", "1000-1001 0-1"},
           Row{"bytes=0-99,100-199", "0-200"},
           Row{"bytes=0-99,50-149", "0-150"},
           Row{"bytes=50-149,0-99", "0-150"},
           Row{"bytes=0-0,81-81", "0-82"},       // a gap of 80
           Row{"bytes=0-0,82-82", "0-1 82-83"},  // of 81
           Row{"bytes=0-0,9999-,20000-", "0-1 9999-10000"},
           Row{"bytes=20000-,30000-", "416"},
           Row{"bytes=-0,-1", "9999-10000"},
           Row{"bytes=5000-5000,0-0,1000-6000,9000-", "1000-6001 0-1 9000-10000"},
           Row{"bytes=0-0,2000-2000,1000-1000,900-2100", "0-1 900-2101"},
           Row{"bytes=0-,0-,0-,0-,0-", "0-10000"},
           Row{"bytes= 0-0 ,\t500-500 , , 1000-1000", "0-1 500-501 1000-1001"},
       }) {
    EXPECT_EQ(resolved(row.value, 10000), row.expected) << row.value;
  }
}

TEST(Range, MoreThanTheMaximumAreIgnored) {
  std::string value = "bytes=0-0";
  for (uint32_t i = 1; i < kRangesMax; ++i) {
    value += "," + std::to_string(i * 1000) + "-" + std::to_string(i * 1000);
  }
  Resolved most = resolve(parse_range(value), 1'000'000);
  EXPECT_EQ(most.kind, Resolved::Kind::Ranges);
  EXPECT_EQ(most.count, kRangesMax);
  EXPECT_EQ(parse_range(value + ",999999-").kind, ParsedRange::Kind::Invalid);
  for (int i = 0; i < 10000; ++i) value += ",0-0";
  EXPECT_EQ(parse_range(value).kind, ParsedRange::Kind::Invalid);
}

TEST(Range, EveryPairOfBordersOfAShortTextIsRight) {
  for (uint64_t length = 1; length <= 6; ++length) {
    for (uint64_t first = 0; first < 8; ++first) {
      for (uint64_t last = first; last < 8; ++last) {
        const std::string value = "bytes=" + std::to_string(first) + "-" + std::to_string(last);
        const std::string expected =
            first >= length
                ? "416"
                : std::to_string(first) + "-" + std::to_string(std::min(last + 1, length));
        EXPECT_EQ(resolved(value, length), expected) << value << " of " << length;
      }
    }
  }
}

TEST(Range, BelongsToGetAndIsThereOnce) {
  OwnedFields one = fields_of({{"Range", "bytes=0-1"}});
  OwnedFields two = fields_of({{"Range", "bytes=0-1"}, {"range", "bytes=0-1"}});
  OwnedFields none = fields_of({{"If-Range", "\"a\""}});
  EXPECT_EQ(requested_range(Method::Get, one.view()).kind, ParsedRange::Kind::Ranges);
  EXPECT_EQ(requested_range(Method::Head, one.view()).kind, ParsedRange::Kind::Absent);
  EXPECT_EQ(requested_range(Method::Get, two.view()).kind, ParsedRange::Kind::Invalid);
  EXPECT_EQ(requested_range(Method::Get, none.view()).kind, ParsedRange::Kind::Absent);
  EXPECT_EQ(resolve(requested_range(Method::Get, none.view()), 5).kind, Resolved::Kind::Whole);
}

TEST(Range, IsWrittenAsItIsRead) {
  std::array<char, kRangeTextMax> out;
  EXPECT_EQ(write_range({.first = 0, .end = 1}, out), "bytes=0-0");
  EXPECT_EQ(write_range({.first = 262144, .end = 524288}, out), "bytes=262144-524287");
  EXPECT_EQ(write_range({.first = 7, .end = UINT64_MAX}, out), "bytes=7-");
  EXPECT_EQ(write_suffix_range(UINT64_MAX, out), "bytes=-18446744073709551615");
  EXPECT_EQ(write_range({.first = UINT64_MAX - 2, .end = UINT64_MAX - 1}, out),
            "bytes=18446744073709551613-18446744073709551613");
}

}  // namespace
}  // namespace segue::http
