// Goal: the segments of an HLS media playlist are found as players find them, and a text that is no
// such playlist names none. Method: texts as RFC 8216 §9 shows them, and broken ones.
#include "edge/prefetch/media_playlist.h"

#include <gtest/gtest.h>

#include <string>

#include "base/hint_limits.h"

namespace segue::edge {
namespace {

using Mistake = PlaylistMistake;

std::string with_segments(uint32_t count, std::string_view end = "#EXT-X-ENDLIST\n") {
  std::string text = "#EXTM3U\n";
  for (uint32_t i = 0; i < count; ++i) text += "#EXTINF:1,\n" + std::to_string(i) + "\n";
  return text.append(end);
}

TEST(MediaPlaylist, NamesItsSegmentsInTheirOrder) {
  const auto playlist = parse_media_playlist(
      "#EXTM3U\r\n#EXT-X-VERSION:3\r\n#EXT-X-TARGETDURATION:10\r\n\r\n# a comment\r\n"
      "#EXTINF:9.009,first, with a comma\r\nfirst.ts\r\n"
      "#EXT-X-PROGRAM-DATE-TIME:2010-02-19T14:54:23.031Z\r\n#EXTINF:3,\r\n../b/second.ts?v=1 \r\n"
      "#EXT-X-ENDLIST");
  ASSERT_TRUE(playlist);
  ASSERT_EQ(playlist->segments.size(), 2U);
  EXPECT_EQ(playlist->segments[0].what.uri, "first.ts");
  EXPECT_TRUE(playlist->segments[0].what.range.empty());
  EXPECT_EQ(playlist->segments[0].map, MediaPlaylist::kNoMap);
  EXPECT_EQ(playlist->segments[1].what.uri, "../b/second.ts?v=1");
  EXPECT_FALSE(playlist->is_live);
}

TEST(MediaPlaylist, IsLiveUntilItSaysThatItEnds) {
  EXPECT_TRUE(parse_media_playlist(with_segments(1, ""))->is_live);
  EXPECT_FALSE(parse_media_playlist(with_segments(1))->is_live);
}

TEST(MediaPlaylist, OfEncryptedSegmentsTheKeyIsOverlooked) {
  const auto playlist = parse_media_playlist(
      "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"https://keys.example/1\"\n#EXTINF:1,\na.ts\n");
  ASSERT_TRUE(playlist);
  EXPECT_EQ(playlist->segments.size(), 1U);
}

TEST(MediaPlaylist, APartBeginsWhereItSaysOrWhereTheOneBeforeEnded) {
  const auto playlist = parse_media_playlist(
      "#EXTM3U\n#EXT-X-BYTERANGE:100@50\n#EXTINF:1,\na.mp4\n#EXTINF:1,\n#EXT-X-BYTERANGE:10\n"
      "a.mp4\n#EXTINF:1,\nb.mp4\n");
  ASSERT_TRUE(playlist);
  ASSERT_EQ(playlist->segments.size(), 3U);
  EXPECT_EQ(playlist->segments[0].what.range, (ByteRange{50, 150}));
  EXPECT_EQ(playlist->segments[1].what.range, (ByteRange{150, 160}));
  EXPECT_TRUE(playlist->segments[2].what.range.empty());
}

TEST(MediaPlaylist, APartOfAnotherFileWithoutItsBeginningIsNone) {
  for (const std::string_view before :
       {"", "#EXTINF:1,\na.mp4\n", "#EXTINF:1,\n#EXT-X-BYTERANGE:5@0\nb.mp4\n"}) {
    const std::string text =
        "#EXTM3U\n" + std::string(before) + "#EXTINF:1,\n#EXT-X-BYTERANGE:10\na.mp4\n";
    const auto playlist = parse_media_playlist(text);
    ASSERT_FALSE(playlist) << text;
    EXPECT_EQ(playlist.error(), Mistake::Malformed);
  }
}

TEST(MediaPlaylist, EachSegmentKnowsItsInitializationSection) {
  const auto playlist = parse_media_playlist(
      "#EXTM3U\n#EXT-X-MAP:URI=\"init,1.mp4\",BYTERANGE=\"720@8\"\n#EXTINF:1,\na\n#EXTINF:1,\nb\n"
      "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:X=\"URI\", URI=\"init2.mp4\"\n#EXTINF:1,\nc\n");
  ASSERT_TRUE(playlist);
  ASSERT_EQ(playlist->maps.size(), 2U);
  EXPECT_EQ(playlist->maps[0].uri, "init,1.mp4");
  EXPECT_EQ(playlist->maps[0].range, (ByteRange{8, 728}));
  EXPECT_EQ(playlist->maps[1].uri, "init2.mp4");
  EXPECT_TRUE(playlist->maps[1].range.empty());
  ASSERT_EQ(playlist->segments.size(), 3U);
  EXPECT_EQ(playlist->segments[0].map, 0U);
  EXPECT_EQ(playlist->segments[1].map, 0U);
  EXPECT_EQ(playlist->segments[2].map, 1U);
}

TEST(MediaPlaylist, SegmentsThatAreNotThereAreLeftOut) {
  const auto playlist =
      parse_media_playlist("#EXTM3U\n#EXTINF:1,\na\n#EXT-X-GAP\n#EXTINF:1,\nb\n#EXTINF:1,\nc\n");
  ASSERT_TRUE(playlist);
  ASSERT_EQ(playlist->segments.size(), 2U);
  EXPECT_EQ(playlist->segments[1].what.uri, "c");
}

TEST(MediaPlaylist, OneOfPlaylistsNamesNoSegments) {
  for (const std::string_view line :
       {"#EXT-X-STREAM-INF:BANDWIDTH=1280000\nlow.m3u8", "#EXT-X-I-FRAME-STREAM-INF:URI=\"i.m3u8\"",
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"n\",URI=\"e.m3u8\""}) {
    const auto playlist = parse_media_playlist("#EXTM3U\n" + std::string(line) + "\n");
    ASSERT_FALSE(playlist);
    EXPECT_EQ(playlist.error(), Mistake::Multivariant);
  }
}

TEST(MediaPlaylist, WhatNoPlayerCouldFollowIsRefused) {
  for (const std::string_view text : {
           "",
           "\n#EXTM3U\n#EXTINF:1,\na\n",
           "\xEF\xBB\xBF#EXTM3U\n",
           "<html>",
           "#EXTM3U8\n",
           "#EXTM3U\na\n",                                                 // no EXTINF
           "#EXTM3U\n#EXTINF:1,\na\nb\n",                                  // nor for the second
           "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:0@5\na\n",               // nothing of it
           "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:x@5\na\n",               // no number
           "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:-1@5\na\n",              //
           "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:5@\na\n",                //
           "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:5@9999999999999999\na",  // beyond any file
           "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:99999999999999999999@0\na",
           "#EXTM3U\n#EXT-X-MAP:BYTERANGE=\"1@0\"\n",
           "#EXTM3U\n#EXT-X-MAP:URI=\"a\n",
           "#EXTM3U\n#EXT-X-MAP:URI=\"\"\n",
           "#EXTM3U\n#EXT-X-MAP:URI=\"a\",BYTERANGE=\"x\"\n",
           "#EXTM3U\n#EXT-X-DEFINE:NAME=\"v\",VALUE=\"a\"\n#EXTINF:1,\n{$v}\n",
       }) {
    const auto playlist = parse_media_playlist(text);
    ASSERT_FALSE(playlist) << text;
    EXPECT_EQ(playlist.error(), Mistake::Malformed) << text;
  }
}

TEST(MediaPlaylist, OfManySegmentsTheFirstAreKeptOfALiveOneTheLast) {
  const uint32_t most = kPlaylistSegmentsMax;
  EXPECT_EQ(parse_media_playlist(with_segments(most))->segments.size(), most);
  const std::string text = with_segments(most + 1);
  const auto whole = parse_media_playlist(text);
  ASSERT_EQ(whole->segments.size(), most);
  EXPECT_EQ(whole->segments.front().what.uri, "0");
  const std::string live_text = with_segments(most + 1, "");
  const auto live = parse_media_playlist(live_text);
  ASSERT_EQ(live->segments.size(), most);
  EXPECT_EQ(live->segments.front().what.uri, "1");
}

TEST(MediaPlaylist, BytesLinesAndMapsAreBounded) {
  std::string text = "#EXTM3U\n";
  text.resize(kPlaylistBytesMax, '#');
  EXPECT_TRUE(parse_media_playlist(text));
  EXPECT_EQ(parse_media_playlist(text + "#").error(), Mistake::TooLarge);
  const std::string lines = "#EXTM3U\n" + std::string(kPlaylistLinesMax - 1, '\n');
  EXPECT_TRUE(parse_media_playlist(lines));
  EXPECT_EQ(parse_media_playlist(lines + "\n").error(), Mistake::TooLarge);
  std::string maps = "#EXTM3U\n";
  for (uint32_t i = 0; i < kPlaylistMapsMax; ++i) maps += "#EXT-X-MAP:URI=\"a\"\n";
  EXPECT_TRUE(parse_media_playlist(maps));
  EXPECT_EQ(parse_media_playlist(maps + "#EXT-X-MAP:URI=\"a\"\n").error(), Mistake::TooLarge);
}

}  // namespace
}  // namespace segue::edge
