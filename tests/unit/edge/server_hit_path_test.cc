// Goal: a keep-alive request whose response the socket takes costs one read, one writev, no
// epoll_ctl and no heap allocation.
// Method: operator new and the system calls are counted in this binary while the loop serves; the
// handler answers from memory inside serve(), as delivery does for what is in RAM.
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstdlib>
#include <new>

#include "base/sanitizer.h"
#include "tests/unit/edge/server_fixture.h"

namespace {

struct Counts {
  bool on = false;
  int allocations = 0;
  int reads = 0;
  int writevs = 0;
  int epoll_ctls = 0;
} counts;

void* counted_allocation(size_t bytes, size_t alignment) {
  if (counts.on) ++counts.allocations;
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) != 0) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return counted_allocation(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted_allocation(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

extern "C" {
ssize_t read(int fd, void* into, size_t bytes) {
  // Eventfds and timerfds are read eight bytes at a time; what is counted is the client's socket.
  if (counts.on && bytes > sizeof(uint64_t)) ++counts.reads;
  return syscall(SYS_read, fd, into, bytes);
}
ssize_t writev(int fd, const iovec* pieces, int count) {
  if (counts.on) ++counts.writevs;
  return syscall(SYS_writev, fd, pieces, count);
}
int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event* event) {
  if (counts.on) ++counts.epoll_ctls;
  return static_cast<int>(syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event));
}
}

namespace segue::edge {
namespace {

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
