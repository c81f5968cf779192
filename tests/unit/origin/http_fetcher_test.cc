// Goal: a fetch over HTTP is answered, or told apart, exactly as origin/fetcher.h says. Method: a
// real loop against a scripted origin in a thread of this process; timeouts by pushing the clock.
#include "origin/http_fetcher.h"

#include <thread>

#include "tests/unit/origin/fetching.h"

namespace segue::origin {
namespace {

class HttpFetching : public Fetching {
 protected:
  HttpFetching() { options_.servers = {origin_.url()}; }
  ScriptedOrigin origin_;
};

TEST_F(HttpFetching, AWholeBodyComesAsItIs) {
  const std::string bytes = pattern(1'000'000);
  origin_.serve("/t", {.bytes = bytes, .etag = "\"v1\"", .fields = "X-Own: 1\r\n"});
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->status, 200);
  EXPECT_EQ(got.head->content_length, 1'000'000U);
  EXPECT_EQ(got.head->complete_length, 1'000'000U);
  EXPECT_FALSE(got.head->content_range);
  EXPECT_FALSE(got.head->close_delimited);
  EXPECT_EQ(got.head->server, 0);
  EXPECT_EQ(got.field("etag"), "\"v1\"");
  EXPECT_EQ(got.field("x-own"), "1");
  EXPECT_GT(got.head->first_byte_latency.count(), 0);
  EXPECT_LE(got.head->request_time, got.head->response_time);
  EXPECT_TRUE(got.body == bytes);
  EXPECT_EQ(counters().bodies_complete.get(), 1U);
  EXPECT_EQ(counters().body_bytes.get(), 1'000'000U);
  EXPECT_EQ(counters().first_byte_count.get(), 1U);
  EXPECT_EQ(counters().heads_by_class[2].get(), 1U);
  EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
}

TEST_F(HttpFetching, ATargetThatLibcurlDoesNotTakeIsNotAskedForAsAnother) {
  origin_.serve("/", {.bytes = "another"});
  const std::string too_long(8'000'001, 'x');  // CURL_MAX_INPUT_LENGTH and one
  const Fetched got = run(whole("/" + too_long));
  EXPECT_EQ(got.where(), "out_of_memory");
  EXPECT_EQ(got.body, "");
  EXPECT_EQ(origin_.requests(), 0U);
}

TEST_F(HttpFetching, RangesComeAsAsked) {
  const std::string bytes = pattern(100'000);
  origin_.serve("/t", {.bytes = bytes, .etag = "\"v1\""});
  struct Case {
    FetchRequest request;
    ByteRange expected;
  };
  Case cases[] = {
      {bounded("/t", 0, 2), {0, 2}},
      {bounded("/t", 65'536, 131'072), {65'536, 100'000}},
      {bounded("/t", 99'999, UINT64_MAX), {99'999, 100'000}},
      {suffix("/t", 7), {99'993, 100'000}},
      {suffix("/t", 1'000'000), {0, 100'000}},
  };
  for (auto& [request, expected] : cases) {
    const Fetched got = run(std::move(request));
    ASSERT_FALSE(got.error) << got.where();
    EXPECT_EQ(got.head->status, 206);
    EXPECT_EQ(got.head->content_range, expected);
    EXPECT_EQ(got.head->complete_length, 100'000U);
    EXPECT_EQ(got.head->content_length, expected.length());
    EXPECT_TRUE(got.body == bytes.substr(expected.first, expected.length()));
  }
  const auto heads = origin_.heads();
  ASSERT_EQ(heads.size(), 5U);
  EXPECT_EQ(field_in(heads[0], "range"), "bytes=0-1");
  EXPECT_EQ(field_in(heads[2], "range"), "bytes=99999-");
  EXPECT_EQ(field_in(heads[3], "range"), "bytes=-7");
}

TEST_F(HttpFetching, AnyReadSizeGivesTheSameBytes) {
  const std::string bytes = pattern(200'000);
  origin_.serve("/t", {.bytes = bytes});
  for (const size_t read_bytes : {1U << 20U, 100'000U, 16'384U, 4'097U, 333U}) {
    const Fetched got = run(whole("/t"), read_bytes);
    ASSERT_FALSE(got.error) << got.where();
    EXPECT_TRUE(got.body == bytes) << read_bytes;
  }
}

TEST_F(HttpFetching, ExactlyOurFieldsAreSent) {
  options_.node_name = "fra1-03";
  options_.user_agent = "Segue/test";
  origin_.serve("/a%20b?q=1", {.bytes = "0123456789", .etag = "\"v1\""});
  FetchRequest request = bounded("/a%20b?q=1", 2, 5);
  request.if_none_match = "\"v0\"";
  request.if_modified_since = "Sun, 06 Nov 1994 08:49:37 GMT";
  request.fields.add("X-Listed", "yes");
  request.fields.add("X-Empty", "");
  request.fields.add("Host", "elsewhere.example");   // ours to say
  request.fields.add("Range", "bytes=0-");           // ours to say
  request.fields.add("Connection", "close, x-hop");  // of one connection only
  request.fields.add("X-Hop", "1");                  // listed by Connection
  request.fields.add("Transfer-Encoding", "chunked");
  request.fields.add("Content-Length", "5");
  EXPECT_EQ(run(std::move(request)).body, "234");
  const std::string expected =
      "GET /a%20b?q=1 HTTP/1.1\r\n"
      "Host: 127.0.0.1:" +
      std::to_string(origin_.port()) +
      "\r\n"
      "User-Agent: Segue/test\r\n"
      "Accept-Encoding: identity\r\n"
      "Range: bytes=2-4\r\n"
      "If-None-Match: \"v0\"\r\n"
      "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
      "Via: 1.1 fra1-03\r\n"
      "CDN-Loop: fra1-03\r\n"
      "X-Listed: yes\r\n"
      "X-Empty:\r\n"
      "\r\n";
  EXPECT_EQ(origin_.heads().at(0), expected);
}

TEST_F(HttpFetching, ABasePathGoesBeforeTheTargetAndDotsStay) {
  options_.servers = {origin_.url() + "/music/"};
  origin_.serve("/music/a//b/..%2Fc", {.bytes = "found"});
  EXPECT_EQ(run(whole("/a//b/..%2Fc")).body, "found");
}

TEST_F(HttpFetching, ARequestThatWouldBreakTheRequestLineIsRefused) {
  for (const char* target : {"", "t", "/a b", "/a\r\nX: y", "/a\x01", "/\xC3\xA9", "/a#b"}) {
    const Fetched got = run(whole(target));
    ASSERT_TRUE(got.error) << target;
    EXPECT_EQ(got.error->side, Side::Client);
  }
  FetchRequest request = whole("/t");
  request.if_none_match = "\"a\"\r\nX-Injected: 1";
  EXPECT_EQ(run(std::move(request)).error->kind, Kind::Malformed);
  EXPECT_EQ(run(bounded("/t", 5, 5)).error->kind, Kind::Malformed);
  EXPECT_EQ(run(suffix("/t", 0)).error->kind, Kind::Malformed);
  EXPECT_EQ(origin_.requests(), 0U);
}

TEST_F(HttpFetching, AConnectionIsKeptAndUsedAgain) {
  origin_.serve("/t", {.bytes = pattern(5000)});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run(whole("/t")).body.size(), 5000U);
  EXPECT_EQ(origin_.connections(), 1U);
  EXPECT_EQ(counters().connections_opened.get(), 1U);
  EXPECT_EQ(counters().connections_reused.get(), 4U);
  EXPECT_EQ(counters().connections_open.get(), 1U);
}

TEST_F(HttpFetching, AConnectionTheOriginClosesIsNotUsedAgain) {
  origin_.on("/t", Reply::whole("200 OK", "Connection: close\r\n", "one").close());
  EXPECT_EQ(run(whole("/t")).body, "one");
  EXPECT_EQ(run(whole("/t")).body, "one");
  EXPECT_EQ(origin_.connections(), 2U);
}

TEST_F(HttpFetching, ChunkedBodiesEndWithTheLastChunkAndTrailersAreDropped) {
  origin_.on("/t",
             Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                        "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\nX-T: late\r\n\r\n"));
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "abcdefgh");
  EXPECT_FALSE(got.head->content_length);
  EXPECT_FALSE(got.head->complete_length);
  EXPECT_FALSE(got.head->close_delimited);
  EXPECT_EQ(got.field("x-t"), "(absent)");
  EXPECT_EQ(got.field("transfer-encoding"), "(absent)");  // hop by hop
  EXPECT_EQ(run(whole("/t")).body, "abcdefgh");
  EXPECT_EQ(origin_.connections(), 1U);
}

TEST_F(HttpFetching, ABodyThatEndsByCloseIsMarked) {
  origin_.on("/t", Reply::raw("HTTP/1.1 200 OK\r\n\r\nall of it").close());
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "all of it");
  EXPECT_TRUE(got.head->close_delimited);
  EXPECT_FALSE(got.head->complete_length);
}

TEST_F(HttpFetching, InterimResponsesAreSkipped) {
  origin_.on("/t", Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                              "HTTP/1.1 100 Continue\r\n\r\n"
                              "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->status, 200);
  EXPECT_EQ(got.field("link"), "(absent)");
  EXPECT_EQ(got.body, "ok");
}

TEST_F(HttpFetching, AnAskedNotModifiedIsHandedOn) {
  origin_.serve("/t", {.bytes = "0123456789", .etag = "\"v1\""});
  FetchRequest request = bounded("/t", 0, 5);
  request.if_none_match = "\"v1\"";
  const Fetched got = run(std::move(request));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->status, 304);
  EXPECT_EQ(got.head->content_length, 0U);
  EXPECT_FALSE(got.head->close_delimited);
  EXPECT_EQ(got.body, "");
}

TEST_F(HttpFetching, AWholeAnswerToARangeIsHandedOnAsSuch) {
  origin_.on("/t", Reply::whole("200 OK", "", "0123456789"));
  const Fetched got = run(bounded("/t", 2, 5));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->status, 200);
  EXPECT_EQ(got.head->complete_length, 10U);
  EXPECT_EQ(got.body, "0123456789");
}

TEST_F(HttpFetching, EveryFormOfUnsatisfiedIsTold) {
  const std::tuple<std::string, std::string, std::optional<uint64_t>> cases[] = {
      {"/known", "Content-Range: bytes */500\r\n", 500},
      {"/empty", "Content-Range: bytes */0\r\n", 0},
      {"/untold", "", std::nullopt},
      {"/garbage", "Content-Range: bytes 0-5\r\n", std::nullopt},
      {"/contradiction", "Content-Range: bytes 0-4/500\r\n", std::nullopt},
  };
  for (const auto& [target, fields, length] : cases) {
    origin_.on(target, Reply::whole("416 Range Not Satisfiable", fields, "no"));
    const Fetched got = run(bounded(target, 600, 700));
    ASSERT_FALSE(got.error) << got.where();
    EXPECT_EQ(got.head->status, 416);
    EXPECT_EQ(got.head->complete_length, length) << target;
    EXPECT_EQ(got.body, "no");
  }
}

TEST_F(HttpFetching, ErrorAnswersArePassedOn) {
  for (const char* status : {"404 Not Found", "410 Gone", "500 Internal Server Error",
                             "503 Service Unavailable", "300 Multiple Choices"}) {
    const std::string target = std::string("/") + std::string(status).substr(0, 3);
    origin_.on(target, Reply::whole(status, "Content-Encoding: gzip\r\n", "body"));
    const Fetched got = run(bounded(target, 0, 5));
    ASSERT_FALSE(got.error) << got.where();
    EXPECT_EQ(std::to_string(got.head->status), target.substr(1));
    EXPECT_EQ(got.body, "body");
  }
}

TEST_F(HttpFetching, BytesThatCameUnseenOnAnIdleConnectionAreNeverTheNextAnswerEither) {
  origin_.on("/first", Reply::whole("200 OK", "", "first")
                           .wait()
                           .send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"));
  origin_.on("/second", Reply::whole("200 OK", "", "second"));
  EXPECT_EQ(run(whole("/first")).body, "first");
  origin_.release();
  while (origin_.played() == 0) std::this_thread::yield();  // the loop stands still meanwhile
  EXPECT_EQ(run(whole("/second")).body, "second");
  EXPECT_EQ(origin_.connections(), 2U);
  EXPECT_EQ(counters().connections_unsolicited.get(), 1U);
}

TEST_F(HttpFetching, BytesBehindABodyCostTheConnectionOnly) {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
  origin_.on("/t", Reply::raw(answer + "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n"));
  EXPECT_EQ(run(whole("/t")).body, "body");
  EXPECT_EQ(run(whole("/t")).body, "body");
  EXPECT_EQ(origin_.connections(), 2U);
}

Task<void> wait_for_unsolicited(const OriginCounters& counters) {
  while (counters.connections_unsolicited.get() == 0) co_await Yield{};
}

TEST_F(HttpFetching, BytesOnAnIdleConnectionAreNeverTheNextAnswer) {
  origin_.on("/first", Reply::whole("200 OK", "", "first")
                           .wait()
                           .send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"));
  origin_.on("/second", Reply::whole("200 OK", "", "second"));
  EXPECT_EQ(run(whole("/first")).body, "first");
  origin_.release();
  testing::run_on(*loop_, [&] { return wait_for_unsolicited(counters()); });
  EXPECT_EQ(run(whole("/second")).body, "second");
  EXPECT_EQ(origin_.connections(), 2U);
}

// --- what a server does wrong before its head ---

TEST_F(HttpFetching, ARefusedConnectionIsTold) {
  uint16_t port = 0;
  {
    const ScriptedOrigin gone;
    port = gone.port();
  }
  options_.servers = {"http://127.0.0.1:" + std::to_string(port)};
  const Fetched got = run(whole("/t"));
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), "connect_refused");
  EXPECT_EQ(got.error->side, Side::Origin);
  EXPECT_EQ(got.error->kind, Kind::Refused);
  EXPECT_TRUE(got.error->retryable);
  EXPECT_EQ(faults(Fault::ConnectRefused), 1U);
}

Task<Fetched> fetch_past(Fetcher& fetcher, FetchRequest request, ScriptedOrigin& origin,
                         PushedClock& clock, std::chrono::nanoseconds by) {
  auto stream = fetcher.start(std::move(request));
  EXPECT_TRUE(stream.has_value());
  while (origin.waiting() == 0) co_await Yield{};
  clock.push(by);
  Fetched fetched = co_await drain(**stream);
  co_return fetched;
}

TEST_F(HttpFetching, ASilentServerIsLeftAtTheFirstByteTimeout) {
  origin_.on("/t", Reply().wait());
  fetcher();
  const Fetched got = testing::run_on(*loop_, [&] {
    return fetch_past(*fetcher_, whole("/t"), origin_, clock_, options_.timeout.first_byte);
  });
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), "first_byte_timeout");
  EXPECT_EQ(got.error->kind, Kind::Timeout);
  EXPECT_EQ(origin_.requests(), 1U);  // no second try at a server that is slow
}

TEST_F(HttpFetching, AHeadThatComesTooSlowlyIsLeftToo) {
  origin_.on("/t", Reply::raw("HTTP/1.1 200 OK\r\nContent-Le").wait());
  fetcher();
  const Fetched got = testing::run_on(*loop_, [&] {
    return fetch_past(*fetcher_, whole("/t"), origin_, clock_, options_.timeout.first_byte);
  });
  EXPECT_EQ(got.where(), "first_byte_timeout");
}

TEST_F(HttpFetching, TheTotalTimeoutAndTheRequestsOwnDeadlineEndAllTries) {
  origin_.on("/t", Reply().wait());
  fetcher();
  const Fetched total = testing::run_on(*loop_, [&] {
    return fetch_past(*fetcher_, whole("/t"), origin_, clock_, options_.timeout.total);
  });
  EXPECT_EQ(total.where(), "total_timeout");
  origin_.release();
  FetchRequest request = whole("/t");
  request.first_byte_deadline = clock_.mono() + std::chrono::seconds{50};
  const Fetched own = testing::run_on(*loop_, [&] {
    return fetch_past(*fetcher_, std::move(request), origin_, clock_, std::chrono::seconds{50});
  });
  EXPECT_EQ(own.where(), "total_timeout");
}

Task<Fetched> stall_after(Fetcher& fetcher, size_t bytes, PushedClock& clock,
                          std::chrono::nanoseconds by) {
  auto stream = fetcher.start(whole("/t"));
  Fetched fetched;
  auto head = co_await (*stream)->head();
  if (head) fetched.head = **head;
  std::vector<std::byte> into(1000);
  while (fetched.body.size() < bytes) {
    auto got = co_await (*stream)->read(into);
    fetched.body.append(reinterpret_cast<const char*>(into.data()), got.value_or(0));
  }
  clock.push(by);
  auto got = co_await (*stream)->read(into);
  if (!got) fetched.error = got.error();
  co_return fetched;
}

TEST_F(HttpFetching, AStalledBodyIsLeftAtTheIdleTimeout) {
  origin_.on("/t", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc").wait());
  fetcher();
  const Fetched got = testing::run_on(
      *loop_, [&] { return stall_after(*fetcher_, 3, clock_, options_.timeout.idle); });
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), "idle_timeout");
  EXPECT_EQ(got.error->kind, Kind::Timeout);
  EXPECT_EQ(got.head->status, 200);
  EXPECT_EQ(got.body, "abc");
}

struct EarlyEnd {
  const char* name;
  Reply reply;
  std::string where;
};

TEST_F(HttpFetching, AConnectionThatEndsBeforeAHeadIsTriedOnceMore) {
  const EarlyEnd cases[] = {
      {"/closed", Reply().close(), "closed_before_head"},
      {"/reset", Reply().reset(), "closed_before_head"},
      {"/in-head", Reply::raw("HTTP/1.1 200 OK\r\nContent-").close(), "closed_in_head"},
      {"/reset-in-head", Reply::raw("HTTP/1.1 200 OK\r\nX: y\r\n").reset(), "closed_in_head"},
  };
  for (const EarlyEnd& expected : cases) {
    origin_.on(expected.name, expected.reply);
    const Fetched got = run(whole(expected.name));
    ASSERT_TRUE(got.error) << expected.name;
    EXPECT_EQ(got.error->kind, Kind::Closed) << expected.name << got.where();
    EXPECT_EQ(origin_.requests(expected.name), 2U) << expected.name;
    health_.reset();
    fetcher_.reset();
  }
}

TEST_F(HttpFetching, TheSecondTryAnswersForTheFirst) {
  origin_.on("/t", Reply().reset());
  origin_.on("/t", Reply::whole("200 OK", "", "second"));
  EXPECT_EQ(run(whole("/t")).body, "second");
  EXPECT_EQ(counters().retries.get(), 1U);
  EXPECT_EQ(faults(Fault::ClosedBeforeHead), 1U);
  options_.retries = 0;
  fetcher_.reset();
  origin_.on("/u", Reply().reset());
  EXPECT_EQ(run(whole("/u")).error->kind, Kind::Closed);
  EXPECT_EQ(origin_.requests("/u"), 1U);
}

[[nodiscard]] std::string ok(const std::string& fields) {
  return "HTTP/1.1 200 OK\r\n" + fields + "\r\n";
}
[[nodiscard]] std::string partial(const std::string& fields) {
  return "HTTP/1.1 206 Partial Content\r\n" + fields + "\r\n";
}

// --- bodies that are not what their head says ---

TEST_F(HttpFetching, AShortBodyIsClosedNeverPadded) {
  const Reply cases[] = {
      Reply::raw(ok("Content-Length: 10\r\n") + "0123").close(),
      Reply::raw(ok("Content-Length: 10\r\n") + "0123").reset(),
      Reply::raw(ok("Transfer-Encoding: chunked\r\n") + "4\r\n0123\r\n").close(),
      Reply::raw(ok("Transfer-Encoding: chunked\r\n") + "a\r\n0123").close(),
  };
  int number = 0;
  for (const Reply& reply : cases) {
    const std::string target = "/" + std::to_string(number++);
    origin_.on(target, reply);
    const Fetched got = run(whole(target));
    ASSERT_TRUE(got.error) << target;
    EXPECT_EQ(got.error->kind, Kind::Closed) << target << got.where();
    EXPECT_TRUE(std::string("0123").starts_with(got.body)) << target;
    EXPECT_EQ(origin_.requests(target), 1U);  // without a strong ETag nothing can be resumed
  }
  origin_.on("/206", Reply::raw(partial("Content-Range: bytes 2-5/10\r\n") + "23").close());
  const Fetched got = run(bounded("/206", 2, 6));
  EXPECT_EQ(got.where(), "body_short");
}

TEST_F(HttpFetching, AChunkedPartLongerThanItsRangeIsAMismatch) {
  origin_.on("/t", Reply::raw(partial("Content-Range: bytes 2-5/10\r\n"
                                      "Transfer-Encoding: chunked\r\n") +
                              "4\r\n2345\r\n4\r\n6789\r\n0\r\n\r\n"));
  const Fetched got = run(bounded("/t", 2, 6));
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), "body_long");
  EXPECT_EQ(got.error->kind, Kind::Mismatch);
}

TEST_F(HttpFetching, MalformedChunksAreNoCompleteBody) {
  for (const char* body : {"zz\r\n0123\r\n0\r\n\r\n", "-4\r\n0123\r\n0\r\n\r\n",
                           "ffffffffffffffffff\r\n0123\r\n0\r\n\r\n", "4\r\n0123XX0\r\n\r\n"}) {
    const std::string target = "/" + std::to_string(origin_.requests());
    origin_.on(target, Reply::raw(ok("Transfer-Encoding: chunked\r\n") + body).close());
    const Fetched got = run(whole(target));
    EXPECT_TRUE(got.error) << body;
  }
}

}  // namespace
}  // namespace segue::origin
