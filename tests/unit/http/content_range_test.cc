// Goal: only exact Content-Range values are believed; what is written reads back.
#include "http/content_range.h"

#include <gtest/gtest.h>

#include <array>

namespace segue::http {
namespace {

TEST(ContentRange, TheThreeFormsAreRead) {
  auto full = parse_content_range("bytes 0-65535/1000000");
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->range, (ByteRange{.first = 0, .end = 65536}));
  EXPECT_EQ(full->complete_length, 1000000u);
  auto unknown = parse_content_range("BYTES 5-5/*");
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(unknown->range, (ByteRange{.first = 5, .end = 6}));
  EXPECT_EQ(unknown->complete_length, std::nullopt);
  auto unsatisfied = parse_content_range("bytes */0");
  ASSERT_TRUE(unsatisfied.has_value());
  EXPECT_EQ(unsatisfied->range, std::nullopt);
  EXPECT_EQ(unsatisfied->complete_length, 0u);
}

TEST(ContentRange, BordersAreChecked) {
  EXPECT_TRUE(parse_content_range("bytes 0-9/10").has_value());
  EXPECT_FALSE(parse_content_range("bytes 0-10/10").has_value());
  EXPECT_FALSE(parse_content_range("bytes 5-4/10").has_value());
  EXPECT_TRUE(parse_content_range("bytes 0-18446744073709551613/*").has_value());
  EXPECT_FALSE(parse_content_range("bytes 0-18446744073709551614/*").has_value());
  EXPECT_FALSE(parse_content_range("bytes 0-18446744073709551615/*").has_value());
  EXPECT_FALSE(parse_content_range("bytes 0-1/18446744073709551615").has_value());
  EXPECT_FALSE(parse_content_range("bytes 0-1/18446744073709551616").has_value());
}

TEST(ContentRange, AnythingElseIsMalformed) {
  for (std::string_view value : {"",
                                 "bytes",
                                 "bytes ",
                                 "bytes 0-1",
                                 "bytes 0-1/",
                                 "bytes /5",
                                 "bytes */*",
                                 "bytes -1/5",
                                 "bytes 0-/5",
                                 "bytes 0-1/5 ",
                                 " bytes 0-1/5",
                                 "bytes  0-1/5",
                                 "bytes=0-1/5",
                                 "items 0-1/5",
                                 "bytes 0-1/5/6",
                                 "bytes 0-1-2/5",
                                 "bytes a-b/c",
                                 "bytes +0-1/5",
                                 "bytes 0 - 1/5",
                                 "bytes 0-1 /5",
                                 "bytes 0-1/ 5",
                                 "bytes 0-1,3-4/5",
                                 "bytes **/5",
                                 "bytes 0-1/-5"}) {
    auto result = parse_content_range(value);
    ASSERT_FALSE(result.has_value()) << value;
    EXPECT_EQ(result.error().kind, Kind::Malformed);
    EXPECT_EQ(result.error().side, Side::Origin);
  }
}

TEST(ContentRange, IsWrittenAsItIsRead) {
  std::array<char, kContentRangeTextMax> out;
  EXPECT_EQ(write_content_range({.first = 0, .end = 2}, 10, out), "bytes 0-1/10");
  EXPECT_EQ(write_content_range({.first = 9, .end = 10}, 10, out), "bytes 9-9/10");
  EXPECT_EQ(write_unsatisfied_range(10, out), "bytes */10");
  EXPECT_EQ(write_content_range({.first = UINT64_MAX - 1, .end = UINT64_MAX}, UINT64_MAX, out),
            "bytes 18446744073709551614-18446744073709551614/18446744073709551615");
}

}  // namespace
}  // namespace segue::http
