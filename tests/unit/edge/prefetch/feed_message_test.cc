// Goal: what conf/feed.md says is what is read; everything else is refused with a reason, and
// bounds hold at their last value and are refused one beyond it.
#include "edge/prefetch/feed_message.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "edge/prefetch/feed_lines.h"

namespace segue::edge {
namespace {

using namespace std::chrono_literals;

FeedMessage read(std::string_view line) {
  FeedParser parser;
  auto message = parser.parse(line);
  EXPECT_TRUE(message.has_value()) << message.error();
  return message ? std::move(*message) : FeedMessage{};
}

std::string mistake(std::string_view line) {
  FeedParser parser;
  auto message = parser.parse(line);
  return message ? "" : message.error();
}

TEST(FeedMessage, APlanIsReadWhole) {
  const auto message =
      read(R"({"v":1,"op":"set","session":"s1","listener":"l","model":"als","revision":12,)"
           R"("ttl_ms":9000,)"
           R"("context":{"type":"playlist","id":"p","collaborative":true,"revision":88},)"
           R"("now":{"site":"music","track":"/a","position_ms":1000,"duration_ms":3000,)"
           R"("playing":false},)"
           R"("next":[{"site":"music","track":"/b?v=1","p":0.25,"eta_ms":2000,"duration_ms":4000,)"
           R"("bytes":70000,"head_ms":500,"tail":true},{"track":"/c"}],"unknown":{"x":[1]}})");
  EXPECT_EQ(message.op, FeedOp::Set);
  EXPECT_EQ(message.session, "s1");
  EXPECT_EQ(message.listener, "l");
  EXPECT_EQ(message.model, "als");
  EXPECT_EQ(message.revision, 12u);
  EXPECT_EQ(message.ttl, 9s);
  EXPECT_EQ(message.context.kind, FeedContextKind::Playlist);
  EXPECT_EQ(message.context.id, "p");
  EXPECT_TRUE(message.context.collaborative);
  EXPECT_EQ(message.context.revision, 88u);
  ASSERT_TRUE(message.now.has_value());
  EXPECT_EQ(message.now->track.path, "/a");
  EXPECT_EQ(message.now->position, 1s);
  EXPECT_EQ(message.now->duration, 3s);
  EXPECT_FALSE(message.now->playing);
  ASSERT_EQ(message.next.size(), 2u);
  EXPECT_EQ(message.next[0].track.site, "music");
  EXPECT_EQ(message.next[0].track.path, "/b?v=1");
  EXPECT_DOUBLE_EQ(message.next[0].probability, 0.25);
  EXPECT_EQ(message.next[0].eta, 2s);
  EXPECT_EQ(message.next[0].bytes, 70000u);
  EXPECT_EQ(message.next[0].duration, 4s);
  EXPECT_EQ(message.next[0].head, 500ms);
  EXPECT_TRUE(message.next[0].tail);
  EXPECT_DOUBLE_EQ(message.next[1].probability, 1);
  EXPECT_FALSE(message.next[1].eta.has_value());
}

TEST(FeedMessage, WhatIsLeftOutOrNullHasItsDefault) {
  const auto message = read(R"({"session":"s","now":null,"next":null,"ttl_ms":null})");
  EXPECT_EQ(message.op, FeedOp::Set);
  EXPECT_EQ(message.ttl, kFeedTtlDefault);
  EXPECT_FALSE(message.now.has_value());
  EXPECT_TRUE(message.next.empty());
}

TEST(FeedMessage, ACancelNeedsNothingButItsSession) {
  EXPECT_EQ(read(R"({"op":"cancel","session":"s","revision":3})").op, FeedOp::Cancel);
  EXPECT_EQ(mistake(R"({"op":"cancel"})"), "session is missing");
}

TEST(FeedMessage, FactsOfATrackAreRead) {
  const auto message =
      read(R"({"op":"track","track":"/a","duration_ms":201000,"bitrate":160000,"bytes":4020000,)"
           R"("head_bytes":210000,"encoding":"ogg","tempo":122.5,"key":9,"energy":0.5,)"
           R"("mood":["warm"]})");
  ASSERT_TRUE(message.facts.has_value());
  EXPECT_EQ(message.facts->duration, 201s);
  EXPECT_EQ(message.facts->bits_per_second, 160000u);
  EXPECT_EQ(message.facts->bytes, 4020000u);
  EXPECT_EQ(message.facts->head_bytes, 210000u);
  EXPECT_FLOAT_EQ(message.facts->tempo, 122.5f);
  EXPECT_EQ(message.facts->key, 9);
  EXPECT_FLOAT_EQ(message.facts->energy, 0.5f);
  EXPECT_EQ(message.facts->mood, std::vector<std::string>{"warm"});
}

TEST(FeedMessage, ATrackIsAPathAndNeverAUrl) {
  for (const char* track : {"https://evil.example/x", "//evil.example/x", "a/b", "", "/a#b"}) {
    EXPECT_NE(mistake(fmt::format(R"({{"session":"s","next":[{{"track":"{}"}}]}})", track)), "")
        << track;
  }
  EXPECT_NE(mistake(R"({"session":"s","next":[{"p":1}]})"), "");
}

TEST(FeedMessage, WrongTypesAndValuesRefuseTheWholeMessage) {
  for (const char* line : {"",
                           "x",
                           "[]",
                           "17",
                           "{}",
                           R"({"session":7})",
                           R"({"session":"s","next":{}})",
                           R"({"session":"s","next":[1]})",
                           R"({"session":"s","next":[{"track":"/a","p":1.01}]})",
                           R"({"session":"s","next":[{"track":"/a","p":-0.1}]})",
                           R"({"session":"s","next":[{"track":"/a","eta_ms":-1}]})",
                           R"({"session":"s","next":[{"track":"/a","tail":1}]})",
                           R"({"session":"s","ttl_ms":0})",
                           R"({"session":"s","ttl_ms":86400001})",
                           R"({"session":"s","revision":-1})",
                           R"({"session":"s","revision":1e300})",
                           R"({"session":"s","context":{"type":"dream"}})",
                           R"({"session":"s","now":{"position_ms":3}})",
                           R"({"v":2,"session":"s"})",
                           R"({"op":"forget","session":"s"})",
                           "{\"session\":\"a\\u0001b\"}",
                           R"({"op":"track","track":"/a","key":24})",
                           R"({"op":"track","track":"/a","mood":[1]})",
                           "{\"session\":\"\xff\"}",
                           R"({"session":"s")"}) {
    EXPECT_NE(mistake(line), "") << line;
  }
}

TEST(FeedMessage, AMemberGivenTwiceRefusesTheMessage) {
  EXPECT_EQ(mistake(R"({"session":"s","session":"t"})"), "session is given twice");
  EXPECT_EQ(mistake(R"({"session":"s","next":[{"track":"/a","track":"/b"}]})"),
            "next: track is given twice");
}

std::string with_next(uint32_t count) {
  std::string line = R"({"session":"s","next":[)";
  for (uint32_t i = 0; i < count; ++i)
    line += fmt::format(R"({}{{"track":"/{}"}})", i ? "," : "", i);
  return line + "]}";
}

TEST(FeedMessage, EntriesAreBounded) {
  EXPECT_EQ(read(with_next(kFeedNextMax)).next.size(), kFeedNextMax);
  EXPECT_NE(mistake(with_next(kFeedNextMax + 1)), "");
}

std::string with_members(uint32_t count) {
  std::string line = R"({"session":"s")";
  for (uint32_t i = 1; i < count; ++i) line += fmt::format(R"(,"x{}":0)", i);
  return line + "}";
}

TEST(FeedMessage, MembersAreBounded) {
  EXPECT_EQ(mistake(with_members(kFeedMembersMax)), "");
  EXPECT_NE(mistake(with_members(kFeedMembersMax + 1)), "");
}

TEST(FeedMessage, NamesAndPathsAreBounded) {
  const auto session = [](size_t bytes) {
    return fmt::format(R"({{"session":"{}"}})", std::string(bytes, 's'));
  };
  EXPECT_EQ(mistake(session(kFeedNameBytesMax)), "");
  EXPECT_NE(mistake(session(kFeedNameBytesMax + 1)), "");
  const auto path = [](size_t bytes) {
    return fmt::format(R"({{"session":"s","next":[{{"track":"/{}"}}]}})",
                       std::string(bytes - 1, 'p'));
  };
  EXPECT_EQ(mistake(path(kFeedPathBytesMax)), "");
  EXPECT_NE(mistake(path(kFeedPathBytesMax + 1)), "");
}

TEST(FeedMessage, DepthIsBoundedAndTheParserGoesOnAfterwards) {
  const auto nested = [](uint32_t depth) {
    return fmt::format(R"({{"session":"s","x":{}{}}})", std::string(depth, '['),
                       std::string(depth, ']'));
  };
  FeedParser parser;
  EXPECT_TRUE(parser.parse(nested(kFeedDepthMax - 2)).has_value());
  EXPECT_FALSE(parser.parse(nested(kFeedDepthMax + 1)).has_value());
  EXPECT_FALSE(parser.parse(nested(30'000)).has_value());
  EXPECT_TRUE(parser.parse(R"({"session":"s"})").has_value());
}

TEST(FeedMessage, ALineIsBounded) {
  std::string line = R"({"session":"s","x":")";
  line += std::string(kFeedLineBytesMax - line.size() - 2, 'x') + "\"}";
  ASSERT_EQ(line.size(), kFeedLineBytesMax);
  EXPECT_EQ(mistake(line), "");
  line.insert(line.size() - 2, "x");
  EXPECT_NE(mistake(line), "");
}

struct Collected {
  std::vector<std::pair<uint64_t, std::string>> lines;
  std::vector<uint64_t> too_long;
};

Collected cut(std::string_view bytes, size_t piece) {
  Collected collected;
  FeedLines lines;
  const auto line = [&](std::string_view text, uint64_t number) {
    collected.lines.emplace_back(number, text);
  };
  const auto too_long = [&](uint64_t number) { collected.too_long.push_back(number); };
  for (size_t at = 0; at < bytes.size(); at += piece)
    lines.take(bytes.substr(at, piece), line, too_long);
  lines.end(line, too_long);
  return collected;
}

TEST(FeedLines, AreTheSameHoweverTheBytesAreCut) {
  for (const size_t piece : {1u, 2u, 3u, 100u}) {
    const auto collected = cut("one\r\n\ntwo\nlast", piece);
    ASSERT_EQ(collected.lines.size(), 3u) << piece;
    EXPECT_EQ(collected.lines[0], std::pair(uint64_t{1}, std::string("one")));
    EXPECT_EQ(collected.lines[1], std::pair(uint64_t{3}, std::string("two")));
    EXPECT_EQ(collected.lines[2], std::pair(uint64_t{4}, std::string("last")));
  }
}

TEST(FeedLines, ALineTooLongIsSkippedAndTheNextIsRead) {
  const std::string fits(kFeedLineBytesMax, 'a');
  for (const size_t piece : {size_t{1000}, size_t{1'000'000}}) {
    std::string lines = fits;
    lines.append("\n").append(fits).append("a\nafter\n");
    const auto collected = cut(lines, piece);
    ASSERT_EQ(collected.lines.size(), 2u) << piece;
    EXPECT_EQ(collected.lines[0].second, fits);
    EXPECT_EQ(collected.lines[1], std::pair(uint64_t{3}, std::string("after")));
    EXPECT_EQ(collected.too_long, std::vector<uint64_t>{2});
  }
}

TEST(FeedMessage, APurgeIsKnownAsOneAndReadElsewhere) {
  EXPECT_EQ(read(R"({"op":"purge","url":"/a"})").op, FeedOp::Purge);
  EXPECT_EQ(read(R"({"v":1,"op":"purge"})").op, FeedOp::Purge);
  EXPECT_NE(mistake(R"({"op":"purge","op":"purge","everything":true})"), "");
  EXPECT_NE(mistake(R"({"v":2,"op":"purge","everything":true})"), "");
  EXPECT_NE(mistake(R"({"op":"purges","everything":true})"), "");
}

}  // namespace
}  // namespace segue::edge
