// Goal: a keep-alive request whose response the socket takes costs one read, one writev, no
// epoll_ctl and no heap allocation.
// Method: operator new and the system calls are counted in this binary while the loop serves; the
// handler answers from memory inside serve(), as delivery does for what is in RAM.
#include "base/sanitizer.h"
#include "tests/unit/edge/counted_calls.h"
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {
namespace {

using testing::counts;

constexpr size_t kPieceBytes = 50000;

class MemoryHandler final : public RequestHandler {
 public:
  void serve(Exchange& exchange, std::string_view /*body*/) override {
    exchange.head.status = 206;
    exchange.head.content_length = 2 * kPieceBytes;
    exchange.head.stored_http1_block = "Content-Type: audio/ogg\r\nETag: \"a\"\r\n";
    exchange.head.add("Content-Range", "bytes 0-99999/1000000");
    // As across the border of two slices.
    const iovec pieces[] = {{bytes.data(), kPieceBytes}, {bytes.data() + kPieceBytes, kPieceBytes}};
    const auto sent = exchange.stream.try_send(&exchange.head, pieces);
    ASSERT_TRUE(sent.has_value());
    ASSERT_EQ(*sent, 2 * kPieceBytes);
    exchange.stream.finished(Stream::End::Complete);
  }
  void refuse(Exchange& exchange, int /*status*/, std::string_view /*reason*/) override {
    exchange.stream.finished(Stream::End::Cut);
    ADD_FAILURE();
  }
  std::string bytes = ScriptedHandler::pattern(2 * kPieceBytes);
};

class ServerHitPathTest : public ServerTest {
 protected:
  ServerHitPathTest() { answering = &memory_handler; }
  ~ServerHitPathTest() override {
    if (server == nullptr) return;
    const Loop::Turn turn(*loop);
    EXPECT_TRUE(ending->try_spawn(server->drain(std::chrono::nanoseconds{0})));
    turns(20);
    server.reset();
  }
  /// Reads one response without allocating; returns its bytes.
  size_t take_response(const TestClient& client) {
    size_t taken = 0;
    for (ssize_t got = 1; got > 0;) {
      got = recv(client.fd(), room.data(), room.size(), MSG_DONTWAIT);
      if (got > 0) taken += static_cast<size_t>(got);
    }
    return taken;
  }

  MemoryHandler memory_handler;
  std::string room = std::string(300000, 0);
};

TEST_F(ServerHitPathTest, ARequestCostsOneReadOneWritevAndNothingElse) {
  TestClient client = connect_pair();
  const std::string request = get("/t", "Range: bytes=0-99999\r\nUser-Agent: player\r\n");
  for (int i = 0; i < 10; ++i) {  // warm: pools, libevent's tables
    client.send(request);
    turns(4);
    ASSERT_GT(take_response(client), 2 * kPieceBytes);
  }
  counts = {};
  constexpr int kRequests = 1000;
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_EQ(::send(client.fd(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    counts.on = true;
    turns(4);
    counts.on = false;
    ASSERT_GT(take_response(client), 2 * kPieceBytes);
  }
  EXPECT_EQ(counts.reads, kRequests);
  EXPECT_EQ(counts.writevs, kRequests);
  EXPECT_EQ(counts.epoll_ctls, 0);
  // Sanitized pools give every piece its own allocation.
  if (!kSanitized) EXPECT_EQ(counts.allocations, 0);
  EXPECT_EQ(server->usage().request_memories, 0U);
}

}  // namespace
}  // namespace segue::edge
