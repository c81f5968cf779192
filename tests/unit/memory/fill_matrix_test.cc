// Goal: whichever allocation is refused on the way from a client's range to the origin and back,
// over HTTP, the client has right bytes, an error or a cut, and the next one is served.
// Method: memory_matrix.h; the real server, delivery, fills, store, libcurl and c-ares on one loop
// with virtual time, before a scripted origin whose every other target has other bytes.
#include <poll.h>

#include "edge/delivery/delivery.h"
#include "edge/fill/fills.h"
#include "origin/make_fetcher.h"
#include "tests/support/scripted_origin.h"
#include "tests/unit/edge/server_fixture.h"
#include "tests/unit/memory/memory_matrix.h"

namespace segue::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Counted;
using testing::NotCounted;
using testing::run_matrix;
using testing::ScriptedOrigin;
using testing::Whose;

constexpr size_t kTrackBytes = 700'000;

class DeliveryHandler final : public RequestHandler {
 public:
  explicit DeliveryHandler(Delivery& to) : delivery(to) {}
  void serve(Exchange& exchange, std::string_view /*body*/) override { delivery.serve(exchange); }
  void refuse(Exchange& exchange, int status, std::string_view reason) override {
    delivery.refuse(exchange, status, reason);
  }
  Delivery& delivery;
};

std::string track_bytes(char name) {
  std::string bytes(kTrackBytes, 0);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(static_cast<uint8_t>(name) + i % 251 + i / 997);
  return bytes;
}

class FillRun final : public ServerTest {
 public:
  FillRun() {
    // What is asked for, and what would be if a piece of it were lost: "/", "/r" for "/r?d".
    for (const auto& [target, bytes] : std::map<std::string, char>{
             {"/", 'Y'}, {"/a", 'a'}, {"/b", 'b'}, {"/c", 'c'}, {"/r", 'Z'}, {"/r?d", 'd'}})
      origin_->serve(target, {.bytes = track_bytes(bytes), .etag = "\"" + target + "\""});
    origin_->on("/d", testing::Reply::whole("302 Found", "Location: /r?d\r\n", ""));
    const Loop::Turn turn(*loop);
    site_->name = "test";
    site_->hosts = {"*"};
    store_ = std::move(*cache::Store::create(
        {.ram_bytes = 16 * MiB, .hash_seed = 1, .huge_pages = false}, codec_, clock, {}));
    local_ = std::make_unique<cache::LocalStore>(*store_, *loop, std::vector<Disk*>{});
    options_.servers = {origin_->url()};
    health_ = origin::make_health(options_);
    fetcher_ = std::move(*origin::make_fetcher(*loop, options_, health_));
    fills_ = std::make_unique<Fills>(*loop, *local_, std::vector<origin::Fetcher*>{fetcher_.get()},
                                     Fills::Options{});
    auto sites = make_ref<SiteTable>(std::vector<Ref<const Site>>{site_});
    delivery_ =
        std::make_unique<Delivery>(*loop, *local_, *fills_, sites, nullptr, Delivery::Options{});
    delivering_ = std::make_unique<DeliveryHandler>(*delivery_);
    answering = delivering_.get();
  }
  ~FillRun() override {
    drain([&] { return server->drain(std::chrono::nanoseconds{0}); });
    server.reset();
    drain([&] { return drain_all(); });
    const Loop::Turn turn(*loop);
    delivery_.reset();
    fills_.reset();
    local_.reset();
    fetcher_.reset();
    origin_.reset();
  }

  std::string run() {
    std::string wrong;
    {
      const Counted counted;
      wrong = ask("/a", "bytes=1000-399999", 1000, 400'000);              // cold
      if (wrong.empty()) wrong = ask("/a", "bytes=0-99999", 0, 100'000);  // a hit
      if (wrong.empty()) wrong = ask("/b", "bytes=-5000", kTrackBytes - 5000, kTrackBytes);
      if (wrong.empty()) wrong = ask("/b", "bytes=0-", 0, kTrackBytes);
      if (wrong.empty()) wrong = ask("/d", "bytes=0-9999", 0, 10'000);  // elsewhere, it says
    }
    clock.advance(seconds{30});  // a breaker that had opened tries again
    strict_ = true;
    if (wrong.empty()) wrong = ask("/c", "bytes=0-", 0, kTrackBytes);
    if (wrong.empty()) wrong = ask("/a", "bytes=1000-399999", 1000, 400'000);
    return wrong;
  }

 private:
  void TestBody() override {}

  Task<void> drain_all() {
    co_await delivery_->drain();
    co_await fills_->drain();
    co_await local_->drain();
  }
  template <class Make>
  void drain(Make make) {
    {
      const Loop::Turn turn(*loop);
      EXPECT_TRUE(ending->try_spawn(make()));
    }
    while (ending->running() > 0) advance(milliseconds{10});
  }

  /// What is wrong with the answer, if anything; errors are right where memory was refused.
  std::string ask(const char* target, const char* range, size_t first, size_t end) {
    TestClient client = connect_pair();
    client.send(get(target, "Connection: close\r\nRange: " + std::string(range) + "\r\n"));
    std::string got;
    for (int idle = 0; !client.ended() && !client.reset() && idle < 2000;) {
      turns(2);
      const NotCounted aside;
      const std::string some = client.receive();
      got += some;
      idle = some.empty() ? idle + 1 : 0;
      if (!some.empty()) continue;
      pollfd socket{client.fd(), POLLIN, 0};
      (void)poll(&socket, 1, 1);
      // What is late by now waits for a deadline.
      clock.advance(milliseconds{idle < 200 ? 1 : 50});
    }
    const NotCounted aside;
    return judge(target, got, first, end);
  }

  std::string judge(const char* target, const std::string& got, size_t first, size_t end) const {
    const bool may_fail = !strict_ && testing::memory_was_refused();
    const auto answer = parse_response(got);
    if (answer.status != 206) {
      const bool error = answer.status == 0 || answer.status >= 500;
      return may_fail && error ? "" : std::string(target) + " is answered " + got.substr(0, 300);
    }
    const std::string expected = track_bytes(target[1]).substr(first, end - first);
    if (!expected.starts_with(answer.body)) return std::string("WRONG BYTES of ") + target;
    if (!answer.head.contains("/" + std::to_string(kTrackBytes) + "\r\n"))
      return "another length: " + answer.head;
    const bool whole = answer.body.size() == expected.size();
    return whole || may_fail ? "" : std::string(target) + " is cut for no reason";
  }

  bool strict_ = false;
  std::unique_ptr<ScriptedOrigin> origin_ = std::make_unique<ScriptedOrigin>();
  Ref<Site> site_ = make_ref<Site>();
  StoredResponseCodec codec_;
  origin::OriginOptions options_;
  std::shared_ptr<origin::Health> health_;
  std::unique_ptr<cache::Store> store_;
  std::unique_ptr<cache::LocalStore> local_;
  std::unique_ptr<origin::Fetcher> fetcher_;
  std::unique_ptr<Fills> fills_;
  std::unique_ptr<Delivery> delivery_;
  std::unique_ptr<DeliveryHandler> delivering_;
};

std::string over_http() { return FillRun().run(); }

TEST(FillMatrix, BytesAreRightOrMissingAndTheNextOnesAreThere) {
  EXPECT_GT(run_matrix(&over_http, Whose::OperatorNew).ended_cleanly, 0U);
  EXPECT_GT(run_matrix(&over_http, Whose::Malloc).allocations, 0U);
}

}  // namespace
}  // namespace segue::edge
