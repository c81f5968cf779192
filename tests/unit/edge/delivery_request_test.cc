// Goal: one canonical form of a request for key and origin, the right site, and a trace id that a
// hostile client cannot break.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "edge/delivery/request_target.h"
#include "edge/delivery/site_table.h"
#include "edge/delivery/trace_context.h"

namespace segue::edge {
namespace {

Ref<const Site> make_site(std::string name, std::vector<std::string> hosts) {
  auto site = make_ref<Site>();
  site->name = std::move(name);
  site->hosts = std::move(hosts);
  return site;
}

TEST(SiteTableTest, FindsByHostInAnyCaseAndWithATrailingDot) {
  const SiteTable table(
      {make_site("music", {"audio.example.com"}), make_site("pods", {"pods.example.com"})});
  ASSERT_NE(table.find("AUDIO.Example.com"), nullptr);
  EXPECT_EQ(table.find("AUDIO.Example.com")->name, "music");
  EXPECT_EQ(table.find("pods.example.com.")->name, "pods");
  EXPECT_EQ(table.find("other.example.com"), nullptr);
  EXPECT_EQ(table.find(""), nullptr);
  EXPECT_EQ(table.find(std::string(4000, 'a')), nullptr);
}

TEST(SiteTableTest, AStarTakesWhatNobodyElseDoes) {
  const SiteTable table({make_site("music", {"audio.example.com"}), make_site("default", {"*"})});
  EXPECT_EQ(table.find("audio.example.com")->name, "music");
  EXPECT_EQ(table.find("10.0.0.1")->name, "default");
  EXPECT_EQ(table.find("")->name, "default");
}

class KeyTextTest : public ::testing::Test {
 protected:
  Result<std::string> key_of(std::string_view target) {
    std::array<char, kKeyBytesMax> scratch;
    std::array<char, kKeyBytesMax> out;
    auto text = write_key_text(site, target, scratch, out);
    if (!text) return fail(text.error());
    EXPECT_TRUE(text->key_text.ends_with(text->target));
    return std::string(text->key_text);
  }
  Site site;
  KeyTextTest() { site.name = "music"; }
};

TEST_F(KeyTextTest, SpellingsOfOneTargetAreOneKey) {
  EXPECT_EQ(key_of("/t/%61.ogg").value(), "music/t/a.ogg");
  EXPECT_EQ(key_of("/t/%c3%a9").value(), "music/t/%C3%A9");
  EXPECT_EQ(key_of("/a%2Fb").value(), "music/a%2Fb");
}

TEST_F(KeyTextTest, TheQueryRuleOfTheSiteDecidesWhatOfTheQueryIsKey) {
  EXPECT_EQ(key_of("/t?v=2&CMCD=bl%3D100").value(), "music/t?v=2");
  EXPECT_EQ(key_of("/t?CMCD=bl%3D100").value(), "music/t");
  site.query = QueryMode::Drop;
  EXPECT_EQ(key_of("/t?v=2&w=3").value(), "music/t");
  site.query = QueryMode::List;
  site.query_names = {"v"};
  EXPECT_EQ(key_of("/t?w=3&v=2").value(), "music/t?v=2");
}

TEST_F(KeyTextTest, TricksAreRefused) {
  for (std::string_view target :
       {"/../etc/passwd", "/a/%2e%2e/b", "/a%00b", "/a\\b", "/%ff", "/a#b"}) {
    auto key = key_of(target);
    ASSERT_FALSE(key.has_value()) << target;
    EXPECT_EQ(key.error().kind, Kind::Malformed) << target;
  }
}

TEST_F(KeyTextTest, AKeyAtTheLimitFitsAndOneByteMoreIsRefused) {
  const std::string at_limit = "/" + std::string(kKeyBytesMax - site.name.size() - 1, 'a');
  EXPECT_TRUE(key_of(at_limit).has_value());
  auto over = key_of(at_limit + "a");
  ASSERT_FALSE(over.has_value());
  EXPECT_EQ(over.error().kind, Kind::Full);
}

class TraceContextTest : public ::testing::Test {
 protected:
  std::string write(std::string_view received) {
    std::array<char, kTraceparentBytes + 1> out{};
    write_traceparent(received, ids, out);
    EXPECT_EQ(out.back(), '\0');
    return {out.data(), kTraceparentBytes};
  }
  IdSource ids{42};
  const std::string valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
};

TEST_F(TraceContextTest, AValidTraceIsContinuedUnderANewParent) {
  const std::string sent = write(valid);
  EXPECT_EQ(sent.substr(0, 36), valid.substr(0, 36));
  EXPECT_NE(sent.substr(36, 16), valid.substr(36, 16));
  EXPECT_EQ(sent.substr(52), "-01");
  EXPECT_EQ(trace_id_of(sent), trace_id_of(valid));
}

TEST_F(TraceContextTest, AnythingElseStartsANewTrace) {
  for (std::string_view bad : {"", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                               "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                               "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                               "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                               "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
                               "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"}) {
    EXPECT_TRUE(trace_id_of(bad).empty()) << bad;
    const std::string sent = write(bad);
    EXPECT_FALSE(trace_id_of(sent).empty()) << bad;
    EXPECT_EQ(sent.substr(52), "-00") << bad;
  }
}

TEST_F(TraceContextTest, IdsAreLowerCaseHex) {
  IdSource same(42);
  for (int i = 0; i < 100; ++i) {
    const uint64_t high = same.next();
    const uint64_t low = same.next() | 1;
    const uint64_t parent = same.next() | 1;
    EXPECT_EQ(write(""), fmt::format("00-{:016x}{:016x}-{:016x}-00", high, low, parent));
  }
}

TEST_F(TraceContextTest, NewTracesDiffer) { EXPECT_NE(write(""), write("")); }

}  // namespace
}  // namespace segue::edge
