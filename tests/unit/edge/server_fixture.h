// A Server on a real EventLoop whose time is virtual, a scripted handler behind it, and clients on
// socketpairs or loopback TCP. Every test ends with nothing held.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop/event_loop.h"
#include "edge/server/connection.h"
#include "edge/server/listen_address.h"
#include "edge/server/server.h"

namespace segue::edge {

/// Answers by the request's path:
///   /bytes/N    200, Content-Length N, at once; the rest by a task where the socket is full
///   /unknown/N  200 of unknown length N
///   /cut/N      announces 2 N bytes, sends N, cuts
///   /cutunknown/N  unknown length, N bytes, cuts
///   /wait       a task that waits until the test calls release() or the client is gone
///   /status/N   status N without a body
///   /close      200, empty, asks for the connection to be closed
///   /body       200, the request's body
///   /toolong/N  announces N bytes, offers one more
class ScriptedHandler final : public RequestHandler {
 public:
  explicit ScriptedHandler(Loop& loop) : tasks(loop, 1000) {}

  void serve(Exchange& exchange, std::string_view body) override {
    const std::string_view target = exchange.request.target;
    served.emplace_back(target);
    clients.emplace_back(exchange.client.address);
    cookie = exchange.request.fields.find("cookie").value_or("");
    const auto number = number_of(target);
    exchange.head.content_length = number;
    if (!extra_field.empty()) exchange.head.add("X-Extra", extra_field);
    if (target.starts_with("/wait")) {
      start(exchange, wait(exchange));
    } else if (target.starts_with("/bytes/")) {
      send_at_once(exchange, pattern(number));
    } else if (target.starts_with("/unknown/")) {
      exchange.head.content_length.reset();
      start(exchange, send(exchange, pattern(number), Stream::End::Complete));
    } else if (target.starts_with("/cut/")) {
      exchange.head.content_length = 2 * number;
      start(exchange, send(exchange, pattern(number), Stream::End::Cut));
    } else if (target.starts_with("/cutunknown/")) {
      exchange.head.content_length.reset();
      start(exchange, send(exchange, pattern(number), Stream::End::Cut));
    } else if (target.starts_with("/status/")) {
      exchange.head.status = static_cast<int>(number);
      exchange.head.content_length = 12;
      exchange.head.bodyless = true;
      send_at_once(exchange, "");
    } else if (target.starts_with("/toolong/")) {
      start(exchange, send(exchange, pattern(number + 1), Stream::End::Complete));
    } else if (target.starts_with("/body")) {
      exchange.head.content_length = body.size();
      send_at_once(exchange, body);
    } else {
      exchange.head.close = true;
      exchange.head.content_length = 0;
      send_at_once(exchange, "");
    }
  }

  void refuse(Exchange& exchange, int status, std::string_view reason) override {
    refused.emplace_back(status, reason);
    exchange.head.status = status;
    exchange.head.content_length = reason.size();
    exchange.head.close = true;
    send_at_once(exchange, reason);
  }

  [[nodiscard]] uint32_t body_bytes_max(const http::Request& /*request*/) const noexcept override {
    return body_max;
  }

  /// Lets every waiting /wait answer.
  void release() {
    released = true;
    for (Exchange* exchange : waiting) exchange->signal.raise();
  }

  /// Bytes that differ from place to place, so that a gap or a repeat is seen.
  static std::string pattern(size_t bytes) {
    std::string made(bytes, 0);
    for (size_t i = 0; i < bytes; ++i) made[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
    return made;
  }
  static uint64_t number_of(std::string_view target) {
    uint64_t number = 0;
    const size_t slash = target.rfind('/');
    std::from_chars(target.data() + slash + 1, target.data() + target.size(), number);
    return number;
  }

  std::vector<std::string> served;
  std::vector<std::string> clients;
  std::string cookie;  // of the last one
  std::vector<std::pair<int, std::string>> refused;
  uint32_t gone = 0;
  bool released = false;
  uint32_t body_max = 0;
  std::string extra_field;
  std::vector<Exchange*> waiting;
  TaskGroup tasks;

 private:
  /// Without memory for a frame the exchange ends as delivery's would.
  void start(Exchange& exchange, Task<void> task) {
    if (!tasks.try_spawn(std::move(task))) exchange.stream.finished(Stream::End::Gone);
  }

  void send_at_once(Exchange& exchange, std::string_view body) {
    const iovec piece{const_cast<char*>(body.data()), body.size()};
    const auto sent = exchange.stream.try_send(&exchange.head, {&piece, body.empty() ? 0U : 1U});
    if (!sent) {
      ++gone;
      exchange.stream.finished(Stream::End::Gone);
    } else if (*sent == body.size()) {
      exchange.stream.finished(Stream::End::Complete);
    } else {
      start(exchange, send(exchange, std::string(body.substr(*sent)), Stream::End::Complete));
    }
  }

  Task<void> send(Exchange& exchange, std::string body, Stream::End end) {
    size_t at = 0;
    while (true) {
      const iovec piece{body.data() + at, body.size() - at};
      const auto sent = exchange.stream.try_send(&exchange.head, {&piece, 1});
      if (!sent || exchange.stream.gone()) {
        end = Stream::End::Gone;
        ++gone;
        break;
      }
      at += *sent;
      if (at == body.size()) break;
      exchange.stream.want_writable();
      (void)co_await exchange.signal.wait(kNever);
    }
    exchange.stream.finished(end);
  }

  Task<void> wait(Exchange& exchange) {
    waiting.push_back(&exchange);
    while (!released && !exchange.stream.gone()) (void)co_await exchange.signal.wait(kNever);
    std::erase(waiting, &exchange);
    if (exchange.stream.gone()) {
      ++gone;
      exchange.stream.finished(Stream::End::Gone);
      co_return;
    }
    exchange.head.content_length = 4;
    const iovec piece{const_cast<char*>("done"), 4};
    const auto sent = exchange.stream.try_send(&exchange.head, {&piece, 1});
    exchange.stream.finished(sent ? Stream::End::Complete : Stream::End::Gone);
  }
};

/// The test's end of a connection; non-blocking.
class TestClient {
 public:
  explicit TestClient(int fd) : fd_(fd) {}
  TestClient(TestClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  TestClient& operator=(TestClient&&) = delete;
  ~TestClient() { close_now(); }

  void send(std::string_view text) const {
    ASSERT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  /// As much as the socket takes.
  [[nodiscard]] size_t try_send(std::string_view text) const {
    const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }
  void shut_writing() const { shutdown(fd_, SHUT_WR); }
  void close_now() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  /// What has arrived, at most `bytes_max`. Sets ended() and reset().
  std::string receive(size_t bytes_max = SIZE_MAX) {
    std::string all;
    std::string some(65536, 0);
    while (all.size() < bytes_max) {
      const ssize_t got =
          recv(fd_, some.data(), std::min(some.size(), bytes_max - all.size()), MSG_DONTWAIT);
      if (got > 0) {
        all.append(some.data(), static_cast<size_t>(got));
        continue;
      }
      if (got == 0) ended_ = true;
      if (got < 0 && errno == ECONNRESET) reset_ = true;
      break;
    }
    return all;
  }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool reset() const { return reset_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  bool ended_ = false;
  bool reset_ = false;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    auto made = EventLoop::create(0, clock, {.io = IoBackend::Threads, .io_threads = 1});
    EXPECT_TRUE(made.has_value());
    loop = std::move(*made);
    handler = std::make_unique<ScriptedHandler>(*loop);
    answering = handler.get();
    ending = std::make_unique<TaskGroup>(*loop, 1);
  }
  ~ServerTest() override {
    if (server == nullptr) return;
    release();
    const Loop::Turn turn(*loop);
    // On its own group: drain() waits for what the handler's tasks do.
    EXPECT_TRUE(ending->try_spawn(server->drain(std::chrono::nanoseconds{0})));
    turns(20);
    EXPECT_EQ(server->usage().connections, 0U);
    EXPECT_EQ(server->usage().request_memories, 0U);
    EXPECT_EQ(server->usage().large_buffers, 0U);
    EXPECT_EQ(server->usage().exchanges, 0U);
    EXPECT_EQ(server->usage().unsent_texts, 0U);
    EXPECT_EQ(server->counters().active.get(), 0U);
    EXPECT_EQ(handler->tasks.running(), 0U);
    server.reset();
  }

  void start(ConnectionLimits limits = {}) {
    const Loop::Turn turn(*loop);
    server = std::make_unique<Server>(*loop, *answering, limits);
  }
  /// Runs `count` turns of the loop: each wakes, runs what is ready, and looks at the sockets.
  void turns(int count = 12) {
    struct Counted : PostNode {
      using PostNode::PostNode;
      EventLoop* on = nullptr;
      int left = 0;
      static void run(PostNode& node) {
        auto& self = static_cast<Counted&>(node);
        if (--self.left == 0) {
          self.on->stop();
        } else {
          self.on->post(self);
        }
      }
    };
    Counted counted(&Counted::run);
    counted.on = loop.get();
    counted.left = count;
    loop->post(counted);
    loop->run();
  }
  void release() {
    const Loop::Turn turn(*loop);
    handler->release();
  }
  void advance(std::chrono::nanoseconds by) {
    clock.advance(by);
    turns();
  }
  /// A client over a socketpair: peer "unix", buffers as small as the kernel allows if asked.
  TestClient connect_pair(bool small_buffers = false) {
    if (server == nullptr) start();
    int ends[2] = {};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    if (small_buffers) {
      const int bytes = 1;
      setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    const Loop::Turn turn(*loop);
    sockaddr_storage nobody{};
    nobody.ss_family = AF_UNIX;
    server->adopt(ends[0], peer_of(nobody, 0));
    return TestClient(ends[1]);
  }
  /// Listens on `address` and returns where.
  std::string listen(std::string_view address) {
    if (server == nullptr) start();
    auto parsed = ListenAddress::parse(address);
    EXPECT_TRUE(parsed.has_value());
    auto fd = open_listener(*parsed);
    EXPECT_TRUE(fd.has_value()) << fd.error().where << " " << fd.error().os_errno;
    std::string where = listening_at(*fd);
    const Loop::Turn turn(*loop);
    server->listen(*fd);
    return where;
  }
  static TestClient connect_to(const std::string& where) {
    const auto address = ListenAddress::parse(where);
    EXPECT_TRUE(address.has_value());
    const int fd = socket(address->socket_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(
        connect(fd, reinterpret_cast<const sockaddr*>(&address->socket_address), address->bytes),
        0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return TestClient(fd);
  }
  TestClient connect_tcp() {
    if (tcp_address.empty()) tcp_address = listen("127.0.0.1:0");
    TestClient client = connect_to(tcp_address);
    turns(4);
    return client;
  }
  /// Reads while the loop runs, until `bytes` have come or nothing more does.
  std::string receive_all(TestClient& client, size_t bytes = SIZE_MAX) {
    std::string all;
    for (int idle = 0; idle < 3 && all.size() < bytes;) {
      turns(4);
      const std::string some = client.receive(bytes - all.size());
      idle = some.empty() ? idle + 1 : 0;
      all += some;
      if (client.ended() || client.reset()) break;
    }
    return all;
  }
  std::string exchange(TestClient& client, std::string_view request) {
    client.send(request);
    return receive_all(client);
  }

  VirtualClock clock;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<ScriptedHandler> handler;
  RequestHandler* answering = nullptr;  // the scripted one unless the test says otherwise
  std::unique_ptr<TaskGroup> ending;
  std::unique_ptr<Server> server;
  std::string tcp_address;
};

/// The parts of a response, as a client reads them.
struct ParsedResponse {
  int status = 0;
  std::string head;
  std::string body;
};
inline ParsedResponse parse_response(std::string_view text) {
  ParsedResponse parsed;
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return parsed;
  parsed.head = text.substr(0, end + 2);
  parsed.body = text.substr(end + 4);
  std::from_chars(text.data() + 9, text.data() + 12, parsed.status);
  return parsed;
}

inline constexpr std::string_view kHost = "Host: a.example\r\n";
inline std::string get(std::string_view target, std::string_view more = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\n" + std::string(kHost) + std::string(more) +
         "\r\n";
}

}  // namespace segue::edge
