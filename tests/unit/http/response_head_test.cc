// Goal: heads are written byte for byte, never split by a value, never past the buffer.
#include "http/response_head.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

TEST(HeadWriter, WritesStatusFieldsAndTheEmptyLine) {
  std::array<char, 512> buffer;
  HeadWriter writer(buffer);
  writer.status(206);
  EXPECT_TRUE(writer.field("Content-Type", "audio/ogg"));
  writer.number("Content-Length", uint64_t{18446744073709551615u});
  writer.own("Date", OwnValue::made("Sun, 06 Nov 1994 08:49:37 GMT"));
  writer.own("Connection", "close");
  writer.own(Field{.name = "Age", .value = "7"});
  EXPECT_TRUE(writer.field("X-Empty", ""));
  auto head = writer.finish();
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(*head,
            "HTTP/1.1 206 Partial Content\r\nContent-Type: audio/ogg\r\n"
            "Content-Length: 18446744073709551615\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Connection: close\r\nAge: 7\r\n"
            "X-Empty: \r\n\r\n");
  EXPECT_EQ(writer.dropped(), 0u);
}

TEST(HeadWriter, NumbersAndFieldsOfOurOwnAreNotWrittenPastTheEnd) {
  const std::string expected = "HTTP/1.1 206 Partial Content\r\nAge: 10\r\nVia: a\r\n\r\n";
  for (size_t size = 0; size <= expected.size(); ++size) {
    std::string buffer(size + 8, '#');
    HeadWriter writer(std::span(buffer).first(size));
    writer.status(206);
    writer.number("Age", 10);
    writer.own("Via", "a");
    const auto head = writer.finish();
    EXPECT_EQ(head.has_value(), size == expected.size()) << size;
    if (head) EXPECT_EQ(*head, expected);
    EXPECT_EQ(buffer.substr(size), "########");
  }
}

TEST(HeadWriter, AStatusWithoutPhraseKeepsItsSpace) {
  std::array<char, 64> buffer;
  HeadWriter writer(buffer);
  writer.status(299);
  EXPECT_EQ(writer.finish().value(), "HTTP/1.1 299 \r\n\r\n");
}

TEST(HeadWriter, DropsFieldsThatWouldSplitTheResponse) {
  std::array<char, 256> buffer;
  HeadWriter writer(buffer);
  writer.status(200);
  for (std::string_view value :
       {std::string_view("a\r\nX: y"), std::string_view("a\nb"), std::string_view("a\0b", 3),
        std::string_view("a\x7f"), std::string_view("longer than a word\rx")}) {
    EXPECT_FALSE(writer.field("X", value));
  }
  EXPECT_FALSE(writer.field("X\r\nY", "a"));
  EXPECT_FALSE(writer.field("", "a"));
  EXPECT_FALSE(writer.field("X:", "a"));
  EXPECT_EQ(writer.dropped(), 8u);
  EXPECT_EQ(writer.finish().value(), "HTTP/1.1 200 OK\r\n\r\n");
}

TEST(HeadWriter, OverflowIsToldAtTheEndAndNeverWrittenPast) {
  const std::string expected = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
  for (size_t size = 0; size <= expected.size(); ++size) {
    std::string buffer(size + 8, '#');
    HeadWriter writer(std::span(buffer).first(size));
    writer.status(200);
    writer.field("A", "b");
    auto head = writer.finish();
    EXPECT_EQ(head.has_value(), size == expected.size()) << size;
    if (head) EXPECT_EQ(*head, expected);
    EXPECT_EQ(buffer.substr(size), "########");
  }
}

TEST(HeadWriter, BlocksAreTheFieldsAloneAndCanBeWrittenAgain) {
  std::array<char, 256> buffer;
  HeadWriter first(buffer);
  OwnedFields fields = fields_of({{"ETag", "\"a\""}, {"Vary", "Origin"}});
  first.fields(fields.view());
  std::string block(first.finish_block().value());
  EXPECT_EQ(block, "ETag: \"a\"\r\nVary: Origin\r\n");
  HeadWriter second(buffer);
  second.status(304);
  second.block(block);
  EXPECT_EQ(second.finish_block().value(), block);
  EXPECT_EQ(second.finish().value(), "HTTP/1.1 304 Not Modified\r\n" + block + "\r\n");
}

TEST(HeadWriter, EveryStatusWeAnswerHasAPhrase) {
  for (int status : {200, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 408, 410,
                     412, 413, 414, 416, 421, 429, 431, 500, 501, 502, 503, 504, 505}) {
    EXPECT_NE(reason_phrase(static_cast<uint16_t>(status)), "") << status;
  }
}

}  // namespace
}  // namespace segue::http
