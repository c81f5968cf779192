// Goal: what players need by extension, and nothing a browser would run.
#include "http/media_type.h"

#include <gtest/gtest.h>

namespace segue::http {
namespace {

TEST(MediaType, AudioAndPlaylistsAreKnown) {
  EXPECT_EQ(media_type_of("/a/b.mp3"), "audio/mpeg");
  EXPECT_EQ(media_type_of("/a/b.M4A"), "audio/mp4");
  EXPECT_EQ(media_type_of("b.ogg"), "audio/ogg");
  EXPECT_EQ(media_type_of("/b.opus"), "audio/ogg");
  EXPECT_EQ(media_type_of("/b.flac"), "audio/flac");
  EXPECT_EQ(media_type_of("/b.aac"), "audio/aac");
  EXPECT_EQ(media_type_of("/x.y/list.m3u8"), "application/vnd.apple.mpegurl");
}

TEST(MediaType, TheRestIsBytes) {
  for (std::string_view path : {"", "/", "/a", "/a.", "/.", "/a.mp3/b", "/mp3", "/a.mp3x",
                                "/a.html", "/a.js", "/a.svg", "/a.mp3.exe"}) {
    EXPECT_EQ(media_type_of(path), "application/octet-stream") << path;
  }
}

}  // namespace
}  // namespace segue::http
