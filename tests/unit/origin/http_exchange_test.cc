// Goal: what one fetch does when a server fails it - retries, failover, resume, redirects - and
// that it can be slowed down or dropped at any point. Method: real loop, scripted origins.
#include "origin/http_exchange.h"

#include "tests/unit/origin/fetching.h"

namespace segue::origin {
namespace {

[[nodiscard]] std::string unused_url() {
  const ScriptedOrigin gone;
  return gone.url();
}

class Exchanging : public Fetching {
 protected:
  void use(std::vector<std::string> servers) { options_.servers = std::move(servers); }
  ScriptedOrigin first_;
  ScriptedOrigin second_;
};

// --- failover ---

TEST_F(Exchanging, TheNextServerAnswersWhereTheFirstIsNotThere) {
  use({unused_url(), second_.url()});
  second_.on("/t", Reply::whole("200 OK", "", "second"));
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "second");
  EXPECT_EQ(got.head->server, 1);
  EXPECT_EQ(counters().failovers.get(), 1U);
  EXPECT_EQ(faults(Fault::ConnectRefused), 1U);
}

TEST_F(Exchanging, TheNextServerAnswersWhereTheFirstIsBusy) {
  use({first_.url(), second_.url()});
  first_.on("/t", Reply::whole("503 Service Unavailable", "", "busy"));
  second_.on("/t", Reply::whole("200 OK", "", "second"));
  EXPECT_EQ(run(whole("/t")).body, "second");
  first_.on("/busy", Reply::whole("503 Service Unavailable", "", "busy"));
  second_.on("/busy", Reply::whole("502 Bad Gateway", "", "busy too"));
  const Fetched got = run(whole("/busy"));
  ASSERT_FALSE(got.error) << got.where();  // where nobody does better the answer is passed on
  EXPECT_EQ(got.head->status, 502);
  EXPECT_EQ(got.body, "busy too");
}

TEST_F(Exchanging, AServerThatClosesIsTriedOnceMoreAndThenLeft) {
  use({first_.url(), second_.url()});
  first_.on("/t", Reply().reset());
  second_.on("/t", Reply::whole("200 OK", "", "second"));
  EXPECT_EQ(run(whole("/t")).body, "second");
  EXPECT_EQ(first_.requests(), 2U);
  EXPECT_EQ(counters().retries.get(), 1U);
  EXPECT_EQ(counters().failovers.get(), 1U);
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

TEST_F(Exchanging, TheNextServerAnswersWhereTheFirstIsSilent) {
  use({first_.url(), second_.url()});
  first_.on("/t", Reply().wait());
  second_.on("/t", Reply::whole("200 OK", "", "second"));
  fetcher();
  const Fetched got = testing::run_on(*loop_, [&] {
    return fetch_past(*fetcher_, whole("/t"), first_, clock_, options_.timeout.first_byte);
  });
  EXPECT_EQ(got.body, "second");
  EXPECT_EQ(faults(Fault::FirstByteTimeout), 1U);
}

TEST_F(Exchanging, AnAnswerThatIsWrongIsNotAskedForElsewhere) {
  use({first_.url(), second_.url()});
  first_.on("/t", Reply::raw("rubbish\r\n\r\n"));
  second_.on("/t", Reply::whole("200 OK", "", "second"));
  EXPECT_EQ(run(whole("/t")).where(), "status_line");
  EXPECT_EQ(second_.requests(), 0U);
}

TEST_F(Exchanging, ThePreferredServerIsAskedFirstThenTheOthersInTurn) {
  use({first_.url(), unused_url(), second_.url()});
  first_.on("/t", Reply::whole("200 OK", "", "first"));
  second_.on("/t", Reply::whole("200 OK", "", "third"));
  const auto preferring = [](int32_t server) {
    FetchRequest request = whole("/t");
    request.preferred_server = server;
    return request;
  };
  EXPECT_EQ(run(preferring(1)).body, "third");
  EXPECT_EQ(run(preferring(2)).head->server, 2);
  EXPECT_EQ(run(preferring(77)).body, "first");  // of settings that were reloaded meanwhile
}

TEST_F(Exchanging, WhereAllServersFailTheLastFaultIsTold) {
  use({unused_url(), first_.url()});
  first_.on("/t", Reply().close());
  options_.retries = 0;
  EXPECT_EQ(run(whole("/t")).where(), "closed_before_head");
}

// --- breaker ---

TEST_F(Exchanging, ADeadServerIsNotAskedUntilItsProbe) {
  use({first_.url()});
  options_.breaker_failures = 3;
  options_.retries = 0;
  first_.on("/bad", Reply().close());
  first_.on("/good", Reply::whole("200 OK", "", "good"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(whole("/bad")).where(), "closed_before_head");
  EXPECT_EQ(health_->state(0), BreakerState::Open);
  const Fetched refused = run(whole("/good"));
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.where(), "no_server");
  EXPECT_EQ(refused.error->kind, Kind::Refused);
  EXPECT_TRUE(refused.error->retryable);
  EXPECT_EQ(first_.requests(), 3U);
  clock_.push(options_.breaker_open_for);
  EXPECT_EQ(run(whole("/bad")).where(), "closed_before_head");  // the probe fails
  EXPECT_EQ(run(whole("/good")).where(), "no_server");
  clock_.push(options_.breaker_open_for);
  EXPECT_EQ(run(whole("/good")).body, "good");  // the probe succeeds
  EXPECT_EQ(health_->state(0), BreakerState::Closed);
  EXPECT_EQ(run(whole("/good")).body, "good");
}

TEST_F(Exchanging, AnAnswerBetweenFailuresKeepsTheBreakerClosed) {
  use({first_.url()});
  options_.breaker_failures = 2;
  options_.retries = 0;
  first_.on("/bad", Reply().close());
  first_.on("/absent", Reply::whole("404 Not Found", "", ""));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(run(whole("/bad")).where(), "closed_before_head");
    EXPECT_EQ(run(whole("/absent")).head->status, 404);
  }
  EXPECT_EQ(health_->state(0), BreakerState::Closed);
}

TEST_F(Exchanging, BodiesThatAreCutOpenTheBreakerToo) {
  use({first_.url()});
  options_.breaker_failures = 3;
  first_.on("/t", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123").close());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(whole("/t")).where(), "body_short");
  EXPECT_EQ(health_->state(0), BreakerState::Open);
}

// --- resume ---

TEST_F(Exchanging, ACutBodyGoesOnWhereItStoppedAtTheNextServer) {
  use({first_.url(), second_.url()});
  const std::string bytes = pattern(1'000'000);
  first_.serve("/t", {.bytes = bytes, .etag = "\"v1\"", .cut_after = 300'001, .cuts = 9});
  second_.serve("/t", {.bytes = bytes, .etag = "\"v1\""});
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_TRUE(got.body == bytes);
  ASSERT_EQ(second_.heads().size(), 1U);
  EXPECT_EQ(field_in(second_.heads()[0], "range"), "bytes=300001-999999");
  EXPECT_EQ(field_in(second_.heads()[0], "if-range"), "\"v1\"");
  EXPECT_EQ(counters().resumes.get(), 1U);
  EXPECT_EQ(counters().resumed.get(), 1U);
  EXPECT_EQ(faults(Fault::BodyShort), 1U);
}

TEST_F(Exchanging, ACutBodyGoesOnAtTheSameServerOnAFreshConnection) {
  use({first_.url()});
  const std::string bytes = pattern(500'000);
  first_.serve("/t",
               {.bytes = bytes, .etag = "\"v1\"", .cut_after = 150'000, .cuts = 3, .reset = true});
  const Fetched got = run(bounded("/t", 1000, 499'000));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_TRUE(got.body == bytes.substr(1000, 498'000));
  EXPECT_EQ(got.head->content_range, (ByteRange{1000, 499'000}));
  EXPECT_EQ(first_.requests(), 4U);
  EXPECT_EQ(first_.connections(), 4U);
  EXPECT_EQ(counters().resumed.get(), 3U);
}

TEST_F(Exchanging, OneCutMoreThanTheLimitEndsTheBody) {
  use({first_.url()});
  options_.resumes_max = 2;
  options_.breaker_failures = 10;
  first_.serve("/t",
               {.bytes = pattern(500'000), .etag = "\"v1\"", .cut_after = 100'000, .cuts = 3});
  const Fetched got = run(whole("/t"));
  EXPECT_EQ(got.where(), "body_short");
  EXPECT_TRUE(got.body == pattern(500'000).substr(0, 300'000));
  EXPECT_EQ(first_.requests(), 3U);
}

TEST_F(Exchanging, TwoVersionsAreNeverJoined) {
  use({first_.url()});
  first_.serve("/t", {.bytes = pattern(300'000),
                      .etag = "\"v1\"",
                      .cut_after = 100'000,
                      .cuts = 1,
                      .etag_after_cuts = "\"v2\""});
  const Fetched got = run(whole("/t"));
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), "resume_mismatch");
  EXPECT_EQ(got.error->kind, Kind::Mismatch);
  EXPECT_EQ(got.body.size(), 100'000U);
}

TEST_F(Exchanging, ARestThatIsNotExactlyTheRestIsRefused) {
  const std::string start = "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\n";
  const std::pair<std::string, std::string> cases[] = {
      {"/other-total", start + "Content-Range: bytes 4-9/11\r\nContent-Length: 6\r\n\r\n456789"},
      {"/unknown-total", start + "Content-Range: bytes 4-9/*\r\nContent-Length: 6\r\n\r\n456789"},
      {"/other-start", start + "Content-Range: bytes 3-9/10\r\nContent-Length: 7\r\n\r\n3456789"},
      {"/other-end", start + "Content-Range: bytes 4-8/10\r\nContent-Length: 5\r\n\r\n45678"},
      {"/no-etag",
       "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n"
       "456789"},
      {"/weak-etag",
       "HTTP/1.1 206 Partial Content\r\nETag: W/\"v1\"\r\nContent-Range: bytes 4-9/10\r\n"
       "Content-Length: 6\r\n\r\n456789"},
      {"/whole", "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n0123456789"},
      {"/gone", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
  };
  use({first_.url()});
  options_.breaker_failures = 100;
  for (const auto& [target, rest] : cases) {
    first_.on(
        target,
        Reply::raw("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n0123").close());
    first_.on(target, Reply::raw(rest));
    const Fetched got = run(whole(target));
    ASSERT_TRUE(got.error) << target;
    EXPECT_EQ(got.where(), "resume_mismatch") << target;
    EXPECT_EQ(got.body, "0123") << target;
  }
}

TEST_F(Exchanging, WithoutAStrongTagNothingIsResumed) {
  use({first_.url()});
  options_.breaker_failures = 100;
  first_.serve("/none", {.bytes = pattern(1000), .cut_after = 100, .cuts = 1});
  first_.serve("/weak", {.bytes = pattern(1000), .etag = "W/\"v1\"", .cut_after = 100, .cuts = 1});
  for (const char* target : {"/none", "/weak"}) {
    EXPECT_EQ(run(whole(target)).where(), "body_short");
    EXPECT_EQ(first_.requests(target), 1U);
  }
}

TEST_F(Exchanging, AResumeGoesOnTryingWhereAServerIsGone) {
  use({first_.url(), unused_url()});
  const std::string bytes = pattern(100'000);
  first_.serve("/t", {.bytes = bytes, .etag = "\"v1\"", .cut_after = 50'000, .cuts = 1});
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_TRUE(got.body == bytes);
  EXPECT_EQ(counters().resumes.get(), 2U);
  EXPECT_EQ(counters().resumed.get(), 1U);
}

// --- redirects ---

TEST_F(Exchanging, RedirectsWithinTheOriginAreFollowed) {
  use({first_.url()});
  first_.on("/1", Reply::whole("302 Found", "Location: 2?x=1\r\n", "moved"));
  first_.on("/2?x=1",
            Reply::whole("301 Moved Permanently", "Location: " + first_.url() + "/d/3\r\n", ""));
  first_.on("/d/3", Reply::whole("308 Permanent Redirect", "Location: ../4\r\n", ""));
  first_.on("/4", Reply::whole("200 OK", "", "there"));
  const Fetched got = run(whole("/1"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.body, "there");
  EXPECT_EQ(counters().redirects.get(), 3U);
}

TEST_F(Exchanging, OneRedirectTooManyIsRefused) {
  use({first_.url()});
  first_.on("/t", Reply::whole("307 Temporary Redirect", "Location: /t\r\n", ""));
  const Fetched got = run(whole("/t"));
  EXPECT_EQ(got.where(), "redirect_loop");
  EXPECT_EQ(first_.requests(), 1U + kRedirectsMax);
}

TEST_F(Exchanging, RedirectsElsewhereNeedToBeListed) {
  use({first_.url()});
  const std::string other = "127.0.0.1:" + std::to_string(second_.port());
  first_.on("/t", Reply::whole("303 See Other", "Location: http://" + other + "/u\r\n", ""));
  second_.on("/u", Reply::whole("200 OK", "", "elsewhere"));
  EXPECT_EQ(run(whole("/t")).where(), "redirect_refused");
  EXPECT_EQ(second_.requests(), 0U);
  options_.redirect_hosts = {other};
  fetcher_.reset();
  EXPECT_EQ(run(whole("/t")).body, "elsewhere");
}

TEST_F(Exchanging, LocationsThatLeadNowhereAreRefused) {
  use({first_.url()});
  const std::string with_user = "http://u:p@127.0.0.1:" + std::to_string(first_.port()) + "/t";
  for (const std::string& location : {std::string("http://[bad"), std::string("/a b"), with_user,
                                      std::string("gopher://127.0.0.1/")}) {
    const std::string target = "/" + std::to_string(first_.requests());
    first_.on(target, Reply::whole("302 Found", "Location: " + location + "\r\n", ""));
    const Fetched got = run(whole(target));
    ASSERT_TRUE(got.error) << location;
    EXPECT_TRUE(got.where().starts_with("redirect_")) << got.where();
  }
  first_.on("/untold", Reply::whole("302 Found", "", "no location"));
  EXPECT_EQ(run(whole("/untold")).head->status, 302);
}

// --- slow consumers ---

Task<Fetched> read_slowly(Fetcher& fetcher, PushedClock& clock, std::chrono::nanoseconds idle,
                          uint64_t& held) {
  auto stream = fetcher.start(whole("/t"));
  auto head = co_await (*stream)->head();
  EXPECT_TRUE(head.has_value());
  while (fetcher.counters()->pauses.get() == 0) co_await Yield{};
  for (int i = 0; i < 1000; ++i) co_await Yield{};
  held = fetcher.counters()->body_bytes.get();
  clock.push(idle * 2);  // it is not the origin that is late
  for (int i = 0; i < 10; ++i) co_await Yield{};
  Fetched fetched = co_await drain(**stream);
  co_return fetched;
}

TEST_F(Exchanging, ASlowConsumerSlowsTheOriginAndHoldsNoMemory) {
  use({first_.url()});
  const std::string bytes = pattern(8'000'000);
  first_.serve("/t", {.bytes = bytes});
  fetcher();
  uint64_t held = 0;
  const Fetched got = testing::run_on(
      *loop_, [&] { return read_slowly(*fetcher_, clock_, options_.timeout.idle, held); });
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_TRUE(got.body == bytes);
  EXPECT_LE(held, uint64_t{CURL_MAX_WRITE_SIZE});
}

// --- side by side ---

Task<void> fetch_in_turn(Fetcher& fetcher, std::string target, const std::string& bytes,
                         uint32_t count, uint32_t& good) {
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t first = uint64_t{i} * 1000;
    const Fetched got = co_await fetch(fetcher, bounded(target, first, first + 50'000));
    if (!got.error && got.body == bytes.substr(first, 50'000)) ++good;
  }
}

Task<void> fetch_side_by_side(EventLoop& loop, Fetcher& fetcher,
                              const std::vector<std::string>& tracks, uint32_t& good) {
  TaskGroup group(loop, static_cast<uint32_t>(tracks.size()));
  for (size_t i = 0; i < tracks.size(); ++i) {
    EXPECT_TRUE(
        group.try_spawn(fetch_in_turn(fetcher, "/" + std::to_string(i), tracks[i], 50, good)));
  }
  co_await group.drain();
}

TEST_F(Exchanging, KeptConnectionsNeverMixWhatIsAskedSideBySide) {
  use({first_.url()});
  std::vector<std::string> tracks;
  for (int i = 0; i < 8; ++i) {
    tracks.push_back(pattern(200'000).substr(static_cast<size_t>(i) * 7) + std::string(60, 'x'));
    first_.serve("/" + std::to_string(i), {.bytes = tracks.back(), .etag = "\"v1\""});
  }
  fetcher();
  uint32_t good = 0;
  testing::run_on(*loop_, [&] { return fetch_side_by_side(*loop_, *fetcher_, tracks, good); });
  EXPECT_EQ(good, 8U * 50U);
  EXPECT_EQ(counters().connections_unsolicited.get(), 0U);
  EXPECT_EQ(counters().retries.get(), 0U);
  EXPECT_LE(first_.connections(), 8U);
  EXPECT_GT(counters().connections_reused.get(), 300U);
}

// --- limits ---

Task<void> start_many(Fetcher& fetcher, bool prefetch, uint32_t& started) {
  std::vector<std::unique_ptr<FetchStream>> streams;
  for (int i = 0; i < 20; ++i) {
    FetchRequest request = whole("/t");
    request.prefetch = prefetch;
    auto stream = fetcher.start(std::move(request));
    if (!stream) {
      EXPECT_EQ(stream.error().side, Side::Self);
      EXPECT_EQ(stream.error().kind, Kind::Overloaded);
      break;
    }
    streams.push_back(std::move(*stream));
  }
  started = static_cast<uint32_t>(streams.size());
  co_return;
}

TEST_F(Exchanging, OneFetchMoreThanTheLimitIsRefusedAndPrefetchesLeaveRoom) {
  use({first_.url()});
  options_.fetches_max = 8;
  first_.on("/t", Reply().wait());
  fetcher();
  uint32_t started = 0;
  testing::run_on(*loop_, [&] { return start_many(*fetcher_, false, started); });
  EXPECT_EQ(started, 8U);
  testing::run_on(*loop_, [&] { return start_many(*fetcher_, true, started); });
  EXPECT_EQ(started, 6U);
  EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
  EXPECT_EQ(counters().fetches_refused.get(), 2U);
}

// --- dropping ---

enum class Stage : uint8_t { Started, Asked, Head, MidBody, Paused, Ended, Failed };

Task<void> drop_at(Fetcher& fetcher, Stage stage, ScriptedOrigin& origin) {
  const char* target = stage == Stage::Asked ? "/silent" : stage == Stage::Failed ? "/bad" : "/t";
  auto stream = fetcher.start(whole(target));
  if (stage == Stage::Started) co_return;
  if (stage == Stage::Asked) {
    while (origin.waiting() == 0) co_await Yield{};
    co_return;
  }
  auto head = co_await (*stream)->head();
  EXPECT_EQ(head.has_value(), stage != Stage::Failed);
  if (stage == Stage::Head || stage == Stage::Failed) co_return;
  if (stage == Stage::Paused) {
    while (fetcher.counters()->pauses.get() == 0) co_await Yield{};
    co_return;
  }
  std::vector<std::byte> into(100'000);
  auto got = co_await (*stream)->read(into);
  EXPECT_TRUE(got.has_value());
  while (stage == Stage::Ended && got.value_or(0) > 0) got = co_await (*stream)->read(into);
}

TEST_F(Exchanging, AStreamMayBeDroppedAtAnyStage) {
  use({first_.url()});
  options_.retries = 0;
  first_.serve("/t", {.bytes = pattern(2'000'000)});
  first_.on("/silent", Reply().wait());
  first_.on("/bad", Reply().close());
  fetcher();
  for (const Stage stage : {Stage::Started, Stage::Asked, Stage::Head, Stage::MidBody,
                            Stage::Paused, Stage::Ended, Stage::Failed}) {
    testing::run_on(*loop_, [&] { return drop_at(*fetcher_, stage, first_); });
    EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
    EXPECT_EQ(run(whole("/t")).body.size(), 2'000'000U);
  }
}

Task<void> wait_on(FetchStream& stream, bool body, std::optional<Error>& error) {
  auto head = co_await stream.head();
  if (!head) {
    error = head.error();
    co_return;
  }
  std::vector<std::byte> into(1000);
  while (body) {
    auto got = co_await stream.read(into);
    if (!got) error = got.error();
    body = got.has_value();
  }
}

Task<void> drop_under_waiter(EventLoop& loop, Fetcher& fetcher, ScriptedOrigin& origin,
                             const char* target, std::optional<Error>& error) {
  auto stream = fetcher.start(whole(target));
  TaskGroup waiters(loop, 1);
  EXPECT_TRUE(waiters.try_spawn(wait_on(**stream, true, error)));
  while (origin.waiting() == 0) co_await Yield{};
  for (int i = 0; i < 100; ++i) co_await Yield{};
  stream->reset();
  co_await waiters.drain();
}

TEST_F(Exchanging, ATaskThatWaitsEndsWhenItsStreamIsDropped) {
  use({first_.url()});
  first_.on("/silent", Reply().wait());
  first_.on("/stalled", Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123").wait());
  fetcher();
  for (const char* target : {"/silent", "/stalled"}) {
    std::optional<Error> error;
    testing::run_on(*loop_,
                    [&] { return drop_under_waiter(*loop_, *fetcher_, first_, target, error); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->side, Side::Self);
    EXPECT_EQ(error->kind, Kind::Closed);
    first_.release();
  }
}

}  // namespace
}  // namespace segue::origin
