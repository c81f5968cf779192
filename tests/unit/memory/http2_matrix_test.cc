// Goal: whichever allocation is refused on an HTTP/2 connection, its streams have right bytes or an
// error, the connection ends rather than stands still, and the next one is served. Method:
// memory_matrix.h over a host of memory.
#include "tests/unit/edge/http2_fixture.h"
#include "tests/unit/memory/memory_matrix.h"

namespace segue::edge {
namespace {

using testing::Counted;
using testing::NotCounted;
using testing::run_matrix;
using testing::Whose;

class Streams final : public Http2Test {
 public:
  std::string run() {
    std::string wrong = one_connection(/*counted=*/true);
    if (wrong.empty()) wrong = one_connection(/*counted=*/false);
    return wrong;
  }

 private:
  void TestBody() override {}

  std::string one_connection(bool counted) {
    counted_ = counted;
    {
      const auto counting = counted ? std::make_unique<Counted>() : nullptr;
      begin();
      const std::string big(7000, 'x');
      asked_ = {{1, "/bytes/150000"}, {3, "/unknown/70000"}, {5, "/bytes/10"}, {7, "/bytes/7"}};
      {
        const NotCounted aside;
        client->ask("/bytes/150000", {{"priority", "u=1, i"}});
        client->ask("/unknown/70000", {{"x-long", big}});
        client->ask("/bytes/10");
        client->ask("/bytes/7");
        client->ask("/wait");
      }
      go(60);
      {
        const NotCounted aside;
        client->reset(9);
      }
      go(200);
    }
    const std::string wrong = judge();
    stop();
    return wrong;
  }

  void begin() {
    const Loop::Turn turn(*loop);
    {
      const NotCounted aside;
      host = std::make_unique<MemoryHost>();
      host->room_bytes = 16'393;
      client = std::make_unique<MemoryClient>();
    }
    context = std::make_unique<ConnectionContext>(*loop, *handler, ConnectionLimits{});
    connection = std::make_unique<Http2Connection>(*context, *host, who);
  }

  void go(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const Loop::Turn turn(*loop);
      std::string sent;
      {
        const NotCounted aside;
        sent = client->to_send();
      }
      connection->receive(sent);
      connection->advance();
      while (loop->run_one()) {
      }
      const NotCounted aside;
      const std::string_view unseen = std::string_view(host->out).substr(host->seen);
      host->seen = host->out.size();
      // What is cut in the middle of a frame is not read.
      (void)nghttp2_session_mem_recv(
          client->session, reinterpret_cast<const uint8_t*>(unseen.data()), unseen.size());
    }
  }

  /// Every stream is whole and right; or refused, or the connection is over.
  std::string judge() {
    const bool may_fail = counted_ && testing::memory_was_refused();
    const bool over =
        connection->status() != Http2Connection::Status::Open || !client->goaways.empty();
    if (over && !may_fail) return "it ended for no reason";
    for (const auto& [id, path] : asked_) {
      const std::string expected = ScriptedHandler::pattern(ScriptedHandler::number_of(path));
      const std::string& got = client->bodies[id];
      if (!expected.starts_with(got)) return "WRONG BYTES of stream " + std::to_string(id);
      const bool whole = client->ended[id] && got.size() == expected.size();
      if (client->ended[id] && !whole && !may_fail) return "a part taken for the whole";
      const bool told = client->resets.contains(id) || over;
      if (!whole && !(may_fail && (told || client->ended[id])))
        return "stream " + std::to_string(id) + " stands still at " + std::to_string(got.size());
    }
    return "";
  }

  bool counted_ = false;
  std::map<int32_t, std::string> asked_;
};

std::string streams() { return Streams().run(); }

TEST(Http2Matrix, EveryStreamIsRightOrToldAndNothingStaysBehind) {
  EXPECT_GT(run_matrix(&streams, Whose::OperatorNew).ended_cleanly, 0U);
  EXPECT_GT(run_matrix(&streams, Whose::Malloc).went_on, 0U);
}

}  // namespace
}  // namespace segue::edge
