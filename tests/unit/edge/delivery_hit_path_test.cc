// Goal: a RAM hit of at most 256 KiB that the socket accepts, also across a slice border, costs one
// read, one writev and no heap allocation through the whole of server, delivery and store; above
// that at most one writev per 256 KiB. Method: the real parts on a real loop over a socketpair,
// allocations and system calls counted (counted_calls.h).
#include "base/sanitizer.h"
#include "edge/access/sign.h"
#include "edge/prefetch/asked_queue.h"
#include "tests/unit/edge/counted_calls.h"
#include "tests/unit/edge/delivery_fixture.h"

namespace segue::edge {
namespace {

using testing::counts;

constexpr uint64_t kTrackBytes = 4 * MiB;
constexpr int kSendBufferBytes = 8 * 1024 * 1024;

class DeliveryHitPathTest : public DeliveryTest {
 protected:
  DeliveryHitPathTest() {
    origin.add("/t", kTrackBytes);
    site->token_names = token_names({TokenForm::Segue, TokenForm::Expires}, "token");
  }
  size_t take_response(const TestClient& client) {
    size_t taken = 0;
    for (ssize_t got = 1; got > 0;) {
      got = recv(client.fd(), room.data(), room.size(), MSG_DONTWAIT);
      if (got > 0) taken += static_cast<size_t>(got);
    }
    return taken;
  }
  /// Everything into RAM, pools and tables warm.
  void warm(const TestClient& client, const std::string& request, uint64_t bytes) {
    client.send(get(target, more));
    for (size_t taken = 0, tries = 0; taken < kTrackBytes && tries < 10000; ++tries) {
      turns(4);
      taken += take_response(client);
    }
    for (int i = 0; i < 10; ++i) {
      client.send(request);
      turns(20);
      ASSERT_GT(take_response(client), bytes);
    }
  }
  void expect_cost(uint64_t first, uint64_t bytes, int writevs) {
    TestClient client = connect_pair();
    setsockopt(client.fd(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBufferBytes, sizeof kSendBufferBytes);
    const std::string request =
        get(target, "Range: bytes=" + std::to_string(first) + "-" +
                        std::to_string(first + bytes - 1) + "\r\nUser-Agent: player\r\n" + more);
    warm(client, request, bytes);
    counts = {};
    constexpr int kRequests = 100;
    for (int i = 0; i < kRequests; ++i) {
      ASSERT_EQ(::send(client.fd(), request.data(), request.size(), 0),
                static_cast<ssize_t>(request.size()));
      size_t taken = 0;
      for (int turn = 0; turn < 8; ++turn) {
        counts.on = true;
        turns(4);
        counts.on = false;
        taken += take_response(client);
      }
      ASSERT_GT(taken, bytes);
    }
    EXPECT_EQ(counts.reads, kRequests);
    EXPECT_EQ(counts.writevs, kRequests * writevs);
    // Sanitized pools give every piece its own allocation.
    if (!kSanitized) EXPECT_EQ(counts.allocations, 0);
  }

  std::string target = "/t";
  std::string more;  // further field lines of each request
  std::string room = std::string(300000, 0);
};

TEST_F(DeliveryHitPathTest, AHitInsideOneSliceIsOneWritevAndNoAllocation) {
  expect_cost(4096, 64 * KiB, 1);
}

TEST_F(DeliveryHitPathTest, AHitAcrossASliceBorderIsOneWritevAndNoAllocation) {
  expect_cost(kSliceBytes - 10'000, 64 * KiB, 1);
}

/// Stands where the planner would: takes what it is told.
struct Planning {
  explicit Planning(Loop& loop) : inbox(loop, &Planning::take_asked, &Planning::take_hint, this) {
    inbox.playlists = &table;
    inbox.wants_hints.store(true);
    inbox.segments_ahead.store(2);
  }
  static void take_asked(AskedQueue& queue, void* owner) {
    queue.drain([&](const AskedNote&) { ++static_cast<Planning*>(owner)->asked; });
  }
  static void take_hint(HintQueue& queue, void* owner) {
    queue.drain([&](const HintNote& note) {
      auto& self = *static_cast<Planning*>(owner);
      EXPECT_EQ(note.key_text(), self.expected);
      EXPECT_EQ(note.source, self.source);
      ++self.hints;
    });
  }
  PlaylistTable table{MiB};
  Inbox inbox;
  HintSource source = HintSource::Cmcd;
  std::string_view expected = "test/u";
  int asked = 0, hints = 0;
};

TEST_F(DeliveryHitPathTest, ASegmentOfAKnownPlaylistHintsAtTheNextOneWithoutAnAllocation) {
  Planning planning(*loop);
  planning.source = HintSource::Playlist;
  planning.expected = "test/next";
  auto items = make_ref<PlaylistItems>();
  for (const std::string_view key_text : {"test/t", "test/next"}) {
    items->segments.push_back({.track = track_of(store->hash(key_text)),
                               .range = {},
                               .text_at = static_cast<uint32_t>(items->texts.size()),
                               .text_bytes = static_cast<uint32_t>(key_text.size())});
    items->texts.append(key_text);
  }
  planning.table.renew(sites);
  ASSERT_TRUE(planning.table.put(1, cache::Sequence{1}, *sites, items));
  delivery->tell(&planning.inbox);
  expect_cost(4096, 64 * KiB, 1);
  EXPECT_GE(planning.asked, 100);
  EXPECT_GE(planning.hints, 100);
  delivery->tell(nullptr);
}

struct Shown {
  const char* name;
  TokenForm form;
  bool in_query;
  bool encoded;
};
class DeliveryHitPathTokenTest : public DeliveryHitPathTest,
                                 public ::testing::WithParamInterface<Shown> {
 protected:
  /// Every request of the test shows a token that was made for the track, or for `pattern`.
  void show_token(const std::string& pattern = {}) {
    auto tokens = make_ref<TokenRules>();
    tokens->forms = {TokenForm::Segue, TokenForm::EdgeAuth, TokenForm::Expires, TokenForm::Jwt};
    tokens->keys.emplace_back("k1", TokenKey::Kind::Secret, std::string(32, 'k'));
    const std::string shown = token_for_the_track(tokens->keys.front(), pattern);
    if (GetParam().in_query) {
      target += "?" + shown;
    } else {
      more = "token: " + shown.substr(shown.find('=') + 1) + "\r\n";
    }
    const Loop::Turn turn(*loop);
    delivery->set_sites(make_ref<SiteTable>(std::vector<Ref<const Site>>{site},
                                            std::vector<Ref<const TokenRules>>{tokens}));
  }
  /// "token=...", or "expires=...&signature=...".
  static std::string token_for_the_track(const TokenKey& key, const std::string& pattern) {
    const bool whole = GetParam().form == TokenForm::Jwt;
    using Scope = SignOrder::Scope;
    const auto url = sign_url({.form = GetParam().form,
                               .url = whole ? "http://a.example/t" : "/t",
                               .name = "token",
                               .scope = pattern.empty() ? Scope::Exact : Scope::Prefix,
                               .pattern = pattern,
                               .expires = 253'402'300'799,
                               .not_before = {},
                               .client = {},
                               .preview = {},
                               .id = {},
                               .issuer = {},
                               .audience = {}},
                              key);
    if (!url) return url.error();
    std::string shown = url->substr(url->find('?') + 1);
    if (GetParam().encoded) {
      for (size_t at = 6; (at = shown.find('=', at)) != std::string::npos;)
        shown.replace(at, 1, "%3D");
    }
    return shown;
  }
};

TEST_P(DeliveryHitPathTokenTest, ATokenThatTheConnectionHasShownAndLimitsCostNoAllocation) {
  show_token();
  ClientLimits limits(1);
  limits.configure({.requests_per_second = 1'000'000, .miss_bytes_per_second = GiB});
  {
    const Loop::Turn turn(*loop);
    delivery->limit_by(&limits);
  }
  expect_cost(4096, 64 * KiB, 1);
  delivery->limit_by(nullptr);
}

/// Reads what the delivery tells, as the planner's loop does.
// Every check of a signature, and every expression compiled, allocates: none is what it shows.
TEST_P(DeliveryHitPathTokenTest, AHintBeyondTheTokenCostsNoAllocationAndNoSignature) {
  show_token();
  more += "CMCD-Request: nor=\"u\"\r\n";
  Planning planning(*loop);
  delivery->tell(&planning.inbox);
  expect_cost(4096, 64 * KiB, 1);
  EXPECT_GE(planning.inbox.refused[static_cast<size_t>(HintSource::Cmcd)].forbidden.get(), 100U);
  EXPECT_EQ(planning.hints, 0);
  delivery->tell(nullptr);
}

/// Tokens of more than one path.
class DeliveryHitPathWideTokenTest : public DeliveryHitPathTokenTest {};

TEST_P(DeliveryHitPathWideTokenTest, AHintThatTheTokenLetsInToCostsNoAllocationAndNoSignature) {
  show_token("/");
  more += "CMCD-Request: nor=\"u\"\r\n";
  Planning planning(*loop);
  delivery->tell(&planning.inbox);
  expect_cost(4096, 64 * KiB, 1);
  EXPECT_EQ(planning.inbox.refused[static_cast<size_t>(HintSource::Cmcd)].forbidden.get(), 0U);
  EXPECT_GE(planning.hints, 100);
  delivery->tell(nullptr);
}

std::vector<Shown> ways_to_show(bool also_of_one_path) {
  std::vector<Shown> ways{{"SegueInAField", TokenForm::Segue, false, false},
                          {"SegueInTheQueryEncoded", TokenForm::Segue, true, true},
                          {"EdgeAuthInAField", TokenForm::EdgeAuth, false, false},
                          {"EdgeAuthInTheQueryEncoded", TokenForm::EdgeAuth, true, true},
                          {"JwtInAField", TokenForm::Jwt, false, false},
                          {"JwtInTheQuery", TokenForm::Jwt, true, false}};
  if (also_of_one_path) ways.push_back({"Expires", TokenForm::Expires, true, false});
  return ways;
}
std::string name_of_way(const ::testing::TestParamInfo<Shown>& each) { return each.param.name; }

INSTANTIATE_TEST_SUITE_P(Tokens, DeliveryHitPathTokenTest,
                         ::testing::ValuesIn(ways_to_show(/*also_of_one_path=*/true)), name_of_way);
INSTANTIATE_TEST_SUITE_P(Tokens, DeliveryHitPathWideTokenTest,
                         ::testing::ValuesIn(ways_to_show(/*also_of_one_path=*/false)),
                         name_of_way);

}  // namespace
}  // namespace segue::edge
