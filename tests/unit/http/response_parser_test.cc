// Goal: response heads, single lines and stored blocks are read strictly and within limits.
#include "http/response_parser.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace segue::http {
namespace {

std::string kind_of(std::string_view text, size_t storage_size = kOriginHeaderFieldsMax + 1) {
  std::vector<Field> storage(storage_size);
  auto head = parse_response_head(text, storage);
  return head ? "ok" : std::string(name_of(head.error().kind));
}

TEST(ResponseHead, IsReadWhole) {
  std::array<Field, 8> storage;
  const std::string_view text =
      "HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Length:  5 \r\n\r\nhello";
  auto head = parse_response_head(text, storage);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->line.status, 206);
  EXPECT_EQ(head->line.reason, "Partial Content");
  EXPECT_EQ(head->fields.size(), 2u);
  EXPECT_EQ(head->fields.find("content-length"), "5");
  EXPECT_EQ(text.substr(head->consumed), "hello");
}

TEST(ResponseHead, IsClosedUntilItsEnd) {
  const std::string_view text = "HTTP/1.0 200 \r\nA: b\r\n\r\n";
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_EQ(kind_of(text.substr(0, length)), "closed") << length;
  }
  EXPECT_EQ(kind_of(text), "ok");
}

TEST(ResponseHead, DefectsAreMalformed) {
  for (std::string_view text :
       {"HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\nA: b\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n", "garbage\r\n\r\n"}) {
    EXPECT_EQ(kind_of(text), "malformed") << text;
  }
}

TEST(ResponseHead, IsLimitedInFieldsAndBytes) {
  auto with_fields = [](size_t count) {
    std::string text = "HTTP/1.1 200 OK\r\n";
    for (size_t i = 0; i < count; ++i) text += "A: b\r\n";
    return text + "\r\n";
  };
  EXPECT_EQ(kind_of(with_fields(kOriginHeaderFieldsMax)), "ok");
  EXPECT_EQ(kind_of(with_fields(kOriginHeaderFieldsMax + 1)), "full");
  EXPECT_EQ(kind_of(with_fields(4), 4), "ok");
  EXPECT_EQ(kind_of(with_fields(5), 4), "full");
  auto with_bytes = [](size_t header_bytes) {
    return "HTTP/1.1 200 OK\r\nA: " + std::string(header_bytes - 7, 'b') + "\r\n\r\n";
  };
  EXPECT_EQ(kind_of(with_bytes(kOriginHeaderBytesMax)), "ok");
  EXPECT_EQ(kind_of(with_bytes(kOriginHeaderBytesMax + 1)), "full");
  EXPECT_EQ(kind_of(std::string(kOriginHeaderBytesMax + 1, 'x')), "full");
  EXPECT_EQ(kind_of("HTTP/1.1 200 OK\r\n" + std::string(kOriginHeaderBytesMax + 1, 'x')), "full");
}

TEST(HeaderLine, IsReadWithOrWithoutItsEnd) {
  EXPECT_EQ(parse_header_line("ETag: \"a\"\r\n")->value, "\"a\"");
  EXPECT_EQ(parse_header_line("ETag:\"a\"")->name, "ETag");
  for (std::string_view line : {"", "\r\n", "ETag", "ETag: a\n", "E Tag: a", "ETag : a", " ETag: a",
                                "ETag: a\r\nX: b", "ETag: a\r", ":a"}) {
    EXPECT_FALSE(parse_header_line(line).has_value()) << line;
  }
}

TEST(StatusLine, IsReadInEachVersion) {
  EXPECT_EQ(parse_status_line("HTTP/1.1 206 Partial Content\r\n")->status, 206);
  EXPECT_EQ(parse_status_line("HTTP/1.0 200")->version_minor, 0);
  EXPECT_EQ(parse_status_line("HTTP/2 404 ")->version_major, 2);
  EXPECT_EQ(parse_status_line("HTTP/2 404")->reason, "");
  for (std::string_view line : {"", "HTTP/", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 2x0 OK",
                                "HTTP/1.1 200OK", "HTTP/1.1 200\n", "HTTP/x 200"}) {
    EXPECT_FALSE(parse_status_line(line).has_value()) << line;
  }
}

TEST(FieldBlock, ReadsBackOnlyWhatIsWhole) {
  std::array<Field, 4> storage;
  auto fields = parse_field_block("A: b\r\nC: d\r\n", storage);
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->find("c"), "d");
  EXPECT_EQ(parse_field_block("", storage)->size(), 0u);
  for (std::string_view block : {"A: b", "A: b\r\nC", "A: b\r\n\r\n", "\r\n", "A\r\n", "A: b\n"}) {
    auto result = parse_field_block(block, storage);
    ASSERT_FALSE(result.has_value()) << block;
    EXPECT_EQ(result.error().side, Side::Disk);
  }
}

}  // namespace
}  // namespace segue::http
