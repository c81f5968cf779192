// Goal: chunked bodies are decoded exactly, and anything two decoders could read differently is
// refused. Method: every body is decoded whole and byte by byte.
#include "http/chunked.h"

#include <gtest/gtest.h>

#include <string>

namespace segue::http {
namespace {

using Status = ChunkedDecoder::Status;

struct Decoded {
  Status status = Status::NeedMore;
  std::string payload;
  size_t consumed = 0;
};

Decoded decode(std::string_view text, size_t step, uint64_t bytes_max) {
  ChunkedDecoder decoder(bytes_max);
  Decoded result;
  while (true) {
    const size_t given = std::min(step, text.size() - result.consumed);
    auto [status, consumed, data] = decoder.decode({text.data() + result.consumed, given});
    result.consumed += consumed;
    result.payload.append(data.data(), data.size());
    result.status = status;
    if (status == Status::Data) continue;
    if (status != Status::NeedMore || result.consumed == text.size()) break;
  }
  EXPECT_EQ(decoder.body_bytes(), result.payload.size());
  return result;
}

Decoded decode_both(std::string_view text, uint64_t bytes_max = 1000) {
  Decoded whole = decode(text, text.size() + 1, bytes_max);
  Decoded pieces = decode(text, 1, bytes_max);
  EXPECT_EQ(whole.status, pieces.status) << text;
  EXPECT_EQ(whole.payload, pieces.payload) << text;
  EXPECT_EQ(whole.consumed, pieces.consumed) << text;
  return whole;
}

TEST(Chunked, DecodesChunksExtensionsAndTrailers) {
  const std::string_view text =
      "4\r\nWiki\r\n6;a=b;c=\"d;e\"\r\npedia \r\nA\r\n0123456789\r\n000\r\nX: y\r\nZ:\r\n\r\nNEXT";
  Decoded decoded = decode_both(text);
  EXPECT_EQ(decoded.status, Status::Complete);
  EXPECT_EQ(decoded.payload, "Wikipedia 0123456789");
  EXPECT_EQ(text.substr(decoded.consumed), "NEXT");
}

TEST(Chunked, AnEmptyBodyIsFiveBytes) {
  Decoded decoded = decode_both("0\r\n\r\nGET");
  EXPECT_EQ(decoded.status, Status::Complete);
  EXPECT_EQ(decoded.payload, "");
  EXPECT_EQ(decoded.consumed, 5u);
}

TEST(Chunked, AnUnfinishedBodyNeedsMore) {
  for (std::string_view text : {"", "4", "4\r", "4\r\nWi", "4\r\nWiki", "4\r\nWiki\r\n0\r\n",
                                "0\r\nX: y\r\n", "0\r\nX: y\r\n\r"}) {
    EXPECT_EQ(decode_both(text).status, Status::NeedMore) << text;
  }
}

TEST(Chunked, WhatDecodersDisagreeOnIsRefused) {
  for (std::string_view text : {
           "\r\n",
           " 4\r\nWiki\r\n0\r\n\r\n",
           "4 \r\nWiki\r\n",
           "+4\r\nWiki\r\n",
           "-1\r\n",
           "0x4\r\n",
           "4_0\r\n",
           "4\nWiki\n",
           "4\r\r\n",
           "4\rWiki",
           "g\r\n",
           ";a\r\n",
           "4\r\nWiki0\r\n",
           "4\r\nWiki\n0\r\n",
           "4\r\nWikixx",
           "12345678901234567\r\n",
           "00000000000000001\r\n",
           "4;a\nb\r\n",
           "4;a\x01\r\n",
           "0\r\n X: y\r\n\r\n",
           "0\r\n: y\r\n\r\n",
           "0\r\nX y\r\n\r\n",
           "0\r\nX: y\n\r\n",
           "0\r\nX: \x01\r\n\r\n",
           "0\r\n\rx",
           "0\r\n\n",
       }) {
    EXPECT_EQ(decode_both(text).status, Status::Malformed) << text;
  }
}

TEST(Chunked, TheBodyIsLimitedToItsMaximum) {
  EXPECT_EQ(decode_both("4\r\nabcd\r\n4\r\nefgh\r\n0\r\n\r\n", 8).status, Status::Complete);
  Decoded over = decode_both("4\r\nabcd\r\n5\r\nefghi\r\n0\r\n\r\n", 8);
  EXPECT_EQ(over.status, Status::TooLong);
  EXPECT_EQ(over.payload, "abcd");  // nothing of the chunk that does not fit
  EXPECT_EQ(decode_both("ffffffffffffffff\r\nx", 8).status, Status::TooLong);
  EXPECT_EQ(decode_both("ffffffffffffffff\r\nx", UINT64_MAX).status, Status::NeedMore);
}

TEST(Chunked, ExtensionsAndTrailersAreLimitedToTheirMaximum) {
  const std::string extension(kChunkExtensionBytesMax, 'e');
  EXPECT_EQ(decode_both("0;" + extension + "\r\n\r\n").status, Status::Complete);
  EXPECT_EQ(decode_both("0;" + extension + "e\r\n\r\n").status, Status::TooLong);
  EXPECT_EQ(decode_both("1;" + extension + "\r\na\r\n0;e\r\n\r\n").status, Status::TooLong);
  // "X:" value CR LF CR = maximum; the last LF is not counted.
  const std::string value(kTrailerBytesMax - 5, 'v');
  EXPECT_EQ(decode_both("0\r\nX:" + value + "\r\n\r\n").status, Status::Complete);
  EXPECT_EQ(decode_both("0\r\nX:" + value + "v\r\n\r\n").status, Status::TooLong);
}

TEST(Chunked, StaysAtItsEnd) {
  ChunkedDecoder decoder(10);
  const std::string_view text = "0\r\n\r\n";
  EXPECT_EQ(decoder.decode(text).status, Status::Complete);
  ChunkedDecoder::Step again = decoder.decode(text);
  EXPECT_EQ(again.status, Status::Complete);
  EXPECT_EQ(again.consumed, 0u);
}

}  // namespace
}  // namespace segue::http
