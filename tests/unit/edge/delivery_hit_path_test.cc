// Goal: a RAM hit of at most 256 KiB that the socket accepts, also across a slice border, costs one
// read, one writev and no heap allocation through the whole of server, delivery and store; above
// that one writev per 256 KiB. Method: the real parts on a real loop over a socketpair, allocations
// and system calls counted (counted_calls.h).
#include "base/sanitizer.h"
#include "edge/access/sign.h"
#include "edge/delivery/delivery.h"
#include "edge/fill/fills.h"
#include "tests/support/fake_origin.h"
#include "tests/unit/edge/counted_calls.h"
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {
namespace {

using testing::counts;

constexpr uint64_t kTrackBytes = 4 * MiB;
constexpr int kSendBufferBytes = 8 * 1024 * 1024;

class DeliveryHandler final : public RequestHandler {
 public:
  explicit DeliveryHandler(Delivery& to) : delivery(to) {}
  void serve(Exchange& exchange, std::string_view /*body*/) override { delivery.serve(exchange); }
  void refuse(Exchange& exchange, int status, std::string_view reason) override {
    delivery.refuse(exchange, status, reason);
  }
  Delivery& delivery;
};

class DeliveryHitPathTest : public ServerTest {
 protected:
  DeliveryHitPathTest() {
    const Loop::Turn turn(*loop);
    auto site = make_ref<Site>();
    site->name = "test";
    site->hosts = {"*"};
    site->token_names = token_names({TokenForm::Segue, TokenForm::Expires}, "token");
    origin.add("/t", kTrackBytes);
    auto made = cache::Store::create({.ram_bytes = 16 * MiB, .hash_seed = 1, .huge_pages = false},
                                     codec, clock, {});
    store = std::move(*made);
    local = std::make_unique<cache::LocalStore>(*store, *loop, std::vector<Disk*>{});
    fetcher = std::make_unique<testing::FakeFetcher>(origin, *loop);
    fills = std::make_unique<Fills>(*loop, *local, std::vector<origin::Fetcher*>{fetcher.get()},
                                    Fills::Options{});
    rules = site;
    auto sites = make_ref<SiteTable>(std::vector<Ref<const Site>>{site});
    delivery =
        std::make_unique<Delivery>(*loop, *local, *fills, sites, nullptr, Delivery::Options{});
    delivering = std::make_unique<DeliveryHandler>(*delivery);
    answering = delivering.get();
  }
  ~DeliveryHitPathTest() override {
    const Loop::Turn turn(*loop);
    EXPECT_TRUE(ending->try_spawn(server->drain(std::chrono::nanoseconds{0})));
    while (ending->running() > 0) advance(std::chrono::milliseconds{10});
    server.reset();
    EXPECT_TRUE(ending->try_spawn(drain_all()));
    while (ending->running() > 0) advance(std::chrono::milliseconds{10});
    delivery.reset();
    fills.reset();
    local.reset();
  }
  Task<void> drain_all() {
    co_await delivery->drain();
    co_await fills->drain();
    co_await local->drain();
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

  Ref<const Site> rules;
  std::string target = "/t";
  std::string more;  // further field lines of each request
  StoredResponseCodec codec;
  testing::FakeOrigin origin;
  std::unique_ptr<cache::Store> store;
  std::unique_ptr<cache::LocalStore> local;
  std::unique_ptr<testing::FakeFetcher> fetcher;
  std::unique_ptr<Fills> fills;
  std::unique_ptr<Delivery> delivery;
  std::unique_ptr<DeliveryHandler> delivering;
  std::string room = std::string(300000, 0);
};

TEST_F(DeliveryHitPathTest, AHitInsideOneSliceIsOneWritevAndNoAllocation) {
  expect_cost(4096, 64 * KiB, 1);
}

TEST_F(DeliveryHitPathTest, AHitAcrossASliceBorderIsOneWritevAndNoAllocation) {
  expect_cost(kSliceBytes - 10'000, 64 * KiB, 1);
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
  /// "token=...", or "expires=...&signature=...".
  std::string token_for_the_track(const TokenKey& key) const {
    const bool whole = GetParam().form == TokenForm::Jwt;
    const auto url = sign_url({.form = GetParam().form,
                               .url = whole ? "http://a.example/t" : "/t",
                               .name = "token",
                               .pattern = {},
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
  auto tokens = make_ref<TokenRules>();
  tokens->forms = {TokenForm::Segue, TokenForm::EdgeAuth, TokenForm::Expires, TokenForm::Jwt};
  tokens->keys.emplace_back("k1", TokenKey::Kind::Secret, std::string(32, 'k'));
  const std::string shown = token_for_the_track(tokens->keys.front());
  if (GetParam().in_query) {
    target += "?" + shown;
  } else {
    more = "token: " + shown.substr(shown.find('=') + 1) + "\r\n";
  }
  ClientLimits limits(1);
  limits.configure({.requests_per_second = 1'000'000, .miss_bytes_per_second = GiB});
  {
    const Loop::Turn turn(*loop);
    delivery->set_sites(make_ref<SiteTable>(std::vector<Ref<const Site>>{rules},
                                            std::vector<Ref<const TokenRules>>{tokens}));
    delivery->limit_by(&limits);
  }
  expect_cost(4096, 64 * KiB, 1);
  delivery->limit_by(nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    Tokens, DeliveryHitPathTokenTest,
    ::testing::Values(Shown{"SegueInAField", TokenForm::Segue, false, false},
                      Shown{"SegueInTheQueryEncoded", TokenForm::Segue, true, true},
                      Shown{"EdgeAuthInAField", TokenForm::EdgeAuth, false, false},
                      Shown{"EdgeAuthInTheQueryEncoded", TokenForm::EdgeAuth, true, true},
                      Shown{"Expires", TokenForm::Expires, true, false},
                      Shown{"JwtInAField", TokenForm::Jwt, false, false},
                      Shown{"JwtInTheQuery", TokenForm::Jwt, true, false}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace segue::edge
