// Goal: the announced length is the length of what is sent, and the parts are what RFC 2046 wants.
#include "http/multipart.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace segue::http {
namespace {

std::string body_of(const MultipartLayout& layout, std::span<const ByteRange> parts,
                    std::string_view text) {
  std::array<char, kPartHeadBytesMax> scratch;
  std::string body;
  for (size_t i = 0; i < parts.size(); ++i) {
    body += layout.part_head(i, scratch);
    body += text.substr(parts[i].first, parts[i].length());
  }
  body += layout.closing(scratch);
  return body;
}

TEST(Multipart, TheBodyIsWrittenByteForByte) {
  const Boundary boundary(0x0123456789abcdef, 0xf);
  const std::array<ByteRange, 2> parts{{{.first = 0, .end = 2}, {.first = 8, .end = 10}}};
  MultipartLayout layout(boundary, "audio/ogg", parts, 10);
  const std::string body = body_of(layout, parts, "0123456789");
  EXPECT_EQ(body,
            "--0123456789abcdef000000000000000f\r\nContent-Type: audio/ogg\r\n"
            "Content-Range: bytes 0-1/10\r\n\r\n01"
            "\r\n--0123456789abcdef000000000000000f\r\nContent-Type: audio/ogg\r\n"
            "Content-Range: bytes 8-9/10\r\n\r\n89"
            "\r\n--0123456789abcdef000000000000000f--\r\n");
  EXPECT_EQ(layout.total_bytes(), body.size());
  std::array<char, kMultipartTypeBytes> type;
  EXPECT_EQ(boundary.write_content_type(type),
            "multipart/byteranges; boundary=0123456789abcdef000000000000000f");
}

TEST(Multipart, TheLengthIsRightForManySizes) {
  const Boundary boundary(1, 2);
  const std::string text(30000, 'x');
  for (uint64_t step : {1u, 9u, 99u, 1000u}) {
    std::array<ByteRange, 16> parts;
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i] = {.first = i * 1500, .end = i * 1500 + step};
    }
    MultipartLayout layout(boundary, "", parts, text.size());
    EXPECT_EQ(layout.total_bytes(), body_of(layout, parts, text).size());
  }
}

TEST(Multipart, ABadContentTypeIsLeftOut) {
  const Boundary boundary(1, 2);
  const std::array<ByteRange, 1> parts{{{.first = 0, .end = UINT64_MAX}}};
  std::array<char, kPartHeadBytesMax> scratch;
  for (const std::string& type : {std::string("a\r\nX: y"), std::string(257, 'a'), std::string()}) {
    MultipartLayout layout(boundary, type, parts, UINT64_MAX);
    EXPECT_EQ(layout.part_head(0, scratch).find("Content-Type"), std::string_view::npos);
  }
  const std::string longest(256, 'a');
  MultipartLayout layout(boundary, longest, parts, UINT64_MAX);
  EXPECT_NE(layout.part_head(0, scratch).find(longest), std::string_view::npos);
}

}  // namespace
}  // namespace segue::http
