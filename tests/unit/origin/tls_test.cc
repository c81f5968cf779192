// Goal: https origins are verified, and spoken to in HTTP/1.1 and HTTP/2 alike. Method: scripted
// origins behind certificates of a throw-away authority; names by a scripted name server.
#include "origin/http_fetcher.h"
#include "tests/support/throwaway_ca.h"
#include "tests/unit/origin/fetching.h"
#include "tests/unit/origin/scripted_name_server.h"

namespace segue::origin {
namespace {

using testing::ThrowawayCa;

class TlsFetching : public Fetching {
 protected:
  void serve(const ThrowawayCa::Files& files, bool http2 = false) {
    origin_ = std::make_unique<ScriptedOrigin>(
        ScriptedOrigin::Tls{files.certificate_file, files.key_file, http2});
    options_.servers = {"https://origin.test:" + std::to_string(origin_->port())};
    options_.ca_file = ca_.ca_file();
    options_.name_servers = names_.address();
    names_.on("origin.test", {.ipv4 = {"127.0.0.1"}});
    origin_->on("/t", Reply::whole("200 OK", "", "secret"));
  }

  ThrowawayCa ca_;
  ScriptedNameServer names_;
  std::unique_ptr<ScriptedOrigin> origin_;
};

TEST_F(TlsFetching, ACertificateOfOurAuthorityForTheNameIsTaken) {
  serve(ca_.issue("origin.test"));
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "secret");
  EXPECT_EQ(run(whole("/t")).body, "secret");
  EXPECT_EQ(origin_->connections(), 1U);
}

TEST_F(TlsFetching, CertificatesThatProveNothingAreRefused) {
  ThrowawayCa stranger;
  for (const ThrowawayCa::Files& files :
       {stranger.issue("origin.test"), ca_.issue("other.test"), ca_.issue("origin.test", true)}) {
    fetcher_.reset();
    serve(files);
    const Fetched got = run(whole("/t"));
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.where(), "tls_refused");
    EXPECT_EQ(got.error->side, Side::Origin);
    EXPECT_EQ(origin_->requests(), 0U);
  }
}

TEST_F(TlsFetching, AnOriginThatAsksWhoWeAreIsShownOurCertificate) {
  const ThrowawayCa::Files server = ca_.issue("origin.test");
  const ThrowawayCa::Files ours = ca_.issue("node.test");
  const ThrowawayCa::Files strange = ThrowawayCa().issue("node.test");
  serve(server);
  origin_ = std::make_unique<ScriptedOrigin>(
      ScriptedOrigin::Tls{server.certificate_file, server.key_file, false, ca_.ca_file()});
  options_.servers = {"https://origin.test:" + std::to_string(origin_->port())};
  origin_->on("/t", Reply::whole("200 OK", "", "secret"));
  EXPECT_TRUE(run(whole("/t")).error);  // we show none
  EXPECT_EQ(origin_->requests(), 0U);

  fetcher_.reset();
  options_.certificate_file = ours.certificate_file;
  options_.key_file = ours.key_file;
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "secret");

  fetcher_.reset();
  options_.certificate_file = strange.certificate_file;  // gone with its authority: unreadable
  options_.key_file = strange.key_file;
  EXPECT_TRUE(run(whole("/t")).error);
  EXPECT_EQ(origin_->requests(), 1U);
}

TEST_F(TlsFetching, AnAuthorityThatIsNotTheSystemsIsRefusedWithoutTheSetting) {
  serve(ca_.issue("origin.test"));
  options_.ca_file.clear();
  EXPECT_EQ(run(whole("/t")).where(), "tls_refused");
}

Task<Fetched> fetch_past_connecting(Fetcher& fetcher, ScriptedOrigin& origin, PushedClock& clock,
                                    std::chrono::nanoseconds by) {
  auto stream = fetcher.start(whole("/t"));
  while (origin.connections() == 0) co_await Yield{};
  clock.push(by);
  Fetched fetched = co_await drain(**stream);
  co_return fetched;
}

TEST_F(TlsFetching, AHandshakeThatNeverEndsCostsTheFirstByteTimeoutAtMost) {
  ScriptedOrigin plain;  // waits for the end of a head in the ClientHello
  options_.servers = {"https://127.0.0.1:" + std::to_string(plain.port())};
  fetcher();
  const Fetched got = testing::run_on(*loop_, [&] {
    return fetch_past_connecting(*fetcher_, plain, clock_, options_.timeout.first_byte);
  });
  EXPECT_EQ(got.where(), "first_byte_timeout");
}

TEST_F(TlsFetching, ARedirectNeverLeadsFromHttpsToHttp) {
  serve(ca_.issue("origin.test"));
  ScriptedOrigin plain;
  const std::string host = "127.0.0.1:" + std::to_string(plain.port());
  options_.redirect_hosts = {host};
  origin_->on("/down", Reply::whole("302 Found", "Location: http://" + host + "/t\r\n", ""));
  EXPECT_EQ(run(whole("/down")).where(), "redirect_refused");
  EXPECT_EQ(plain.requests(), 0U);
}

TEST_F(TlsFetching, ACutIsNoEndOfABodyWithoutLength) {
  serve(ca_.issue("origin.test"));
  origin_->on("/cut", Reply::raw("HTTP/1.1 200 OK\r\n\r\nhalf of it").reset());
  const Fetched got = run(whole("/cut"));
  EXPECT_TRUE(got.error);  // no close_notify: anybody on the path could have ended it
}

// --- HTTP/2 ---

class Http2Fetching : public TlsFetching {
 protected:
  Http2Fetching() { serve(ca_.issue("origin.test"), true); }
};

TEST_F(Http2Fetching, ABodyComesAsItIsAndTheConnectionIsKept) {
  const std::string bytes = pattern(1'000'000);
  origin_->on("*", Reply::whole("200 OK", "ETag: \"v1\"\r\nContent-Type: audio/ogg\r\n", bytes));
  for (int i = 0; i < 3; ++i) {
    const Fetched got = run(whole("/t"));
    ASSERT_FALSE(got.error) << got.where();
    EXPECT_EQ(got.head->status, 200);
    EXPECT_EQ(got.head->complete_length, 1'000'000U);
    EXPECT_EQ(got.field("content-type"), "audio/ogg");
    EXPECT_TRUE(got.body == bytes);
  }
  EXPECT_EQ(origin_->connections(), 1U);
  EXPECT_EQ(counters().connections_reused.get(), 2U);
}

TEST_F(Http2Fetching, ABodyWithoutLengthEndsByItsStream) {
  origin_->on("*", Reply::raw("HTTP/1.1 200 OK\r\n\r\nall of it"));
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "all of it");
  EXPECT_FALSE(got.head->close_delimited);
  EXPECT_FALSE(got.head->content_length);
}

TEST_F(Http2Fetching, AStreamThatIsResetIsNoEndOfABody) {
  origin_->on("*", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").reset());
  const Fetched got = run(whole("/t"));
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.error->kind, Kind::Closed) << got.where();
  EXPECT_EQ(origin_->requests(), 1U);
}

TEST_F(Http2Fetching, HeadsAreCheckedAsStrictly) {
  origin_->on("*", Reply::raw("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\n\r\n"
                              "0123"));
  EXPECT_EQ(run(bounded("/t", 4, 8)).where(), "other_range");
  EXPECT_EQ(run(whole("/t")).where(), "unasked_partial");
}

Task<Fetched> read_slowly(Fetcher& fetcher, uint64_t& held) {
  auto stream = fetcher.start(whole("/t"));
  auto head = co_await (*stream)->head();
  EXPECT_TRUE(head.has_value());
  while (fetcher.counters()->pauses.get() == 0) co_await Yield{};
  for (int i = 0; i < 1000; ++i) co_await Yield{};
  held = fetcher.counters()->body_bytes.get();
  Fetched fetched = co_await drain(**stream, 10'000);
  co_return fetched;
}

TEST_F(Http2Fetching, ASlowConsumerGetsEveryByte) {
  const std::string bytes = pattern(5'000'000);
  origin_->on("*", Reply::whole("200 OK", "", bytes));
  fetcher();
  uint64_t held = 0;
  const Fetched got = testing::run_on(*loop_, [&] { return read_slowly(*fetcher_, held); });
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_TRUE(got.body == bytes);
  EXPECT_LE(held, uint64_t{CURL_MAX_WRITE_SIZE});
}

Task<std::string> read_past_a_stalled_one(Fetcher& fetcher) {
  auto stalled = fetcher.start(whole("/t"));
  auto head = co_await (*stalled)->head();
  EXPECT_TRUE(head.has_value());
  while (fetcher.counters()->pauses.get() == 0) co_await Yield{};
  const Fetched got = co_await fetch(fetcher, whole("/t"));
  co_return got.body;
}

TEST_F(Http2Fetching, AStalledFetchHoldsUpNoOther) {
  const std::string bytes = pattern(2'000'000);
  origin_->on("*", Reply::whole("200 OK", "", bytes));
  fetcher();
  const std::string got =
      testing::run_on(*loop_, [&] { return read_past_a_stalled_one(*fetcher_); });
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(origin_->connections(), 2U);
}

TEST_F(Http2Fetching, IsNotOfferedWhereItIsSwitchedOff) {
  options_.http2 = false;
  EXPECT_EQ(run(whole("/t")).body, "secret");
}

}  // namespace
}  // namespace segue::origin
