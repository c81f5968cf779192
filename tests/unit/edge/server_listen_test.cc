// Goal: listeners on every kind of address; limits on connections and descriptors; draining.
// Method: loopback TCP and unix sockets on ports and paths the kernel picks.
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <cstdlib>

#include "edge/overload/overload.h"
#include "edge/server/connection_budget.h"
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {
namespace {

using ServerListenTest = ServerTest;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ListenAddressTest, EveryKindOfAddressIsRead) {
  for (const char* text : {"127.0.0.1:0", "0.0.0.0:65535", "[::]:80", "[::1]:443",
                           "[2001:db8::7]:8080", "unix:/run/segue/segue.sock"}) {
    EXPECT_TRUE(ListenAddress::parse(text).has_value()) << text;
  }
}

TEST(ListenAddressTest, NonsenseIsRefusedWithAReason) {
  const std::string long_path = "unix:/" + std::string(120, 'x');
  for (const std::string& text :
       {std::string(), std::string("80"), std::string("localhost:80"), std::string("127.0.0.1:"),
        std::string("127.0.0.1:65536"), std::string("127.0.0.1:80x"), std::string("::1:80"),
        std::string("[::1:80"), std::string("[::1]80"), std::string("unix:relative"),
        std::string("unix:"), long_path}) {
    const auto parsed = ListenAddress::parse(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().kind, Kind::Malformed);
    EXPECT_GT(std::string_view(parsed.error().where).size(), 10U);
  }
}

TEST(ListenAddressTest, AcceptedSocketsInheritTheListenersOptions) {
  const auto listener = open_listener(*ListenAddress::parse("127.0.0.1:0"));
  ASSERT_TRUE(listener.has_value());
  const auto address = ListenAddress::parse(listening_at(*listener));
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(
      connect(client, reinterpret_cast<const sockaddr*>(&address->socket_address), address->bytes),
      0);
  const int accepted = accept4(*listener, nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(accepted, 0);
  int value = 0;
  socklen_t bytes = sizeof value;
  ASSERT_EQ(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &value, &bytes), 0);
  EXPECT_EQ(value, 1);
  ASSERT_EQ(getsockopt(accepted, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &bytes), 0);
  EXPECT_EQ(value, static_cast<int>(kNotSentLowatBytes));
  for (const int fd : {accepted, client, *listener}) close(fd);
}

TEST(ListenAddressTest, SeveralLoopsListenOnOneTcpPort) {
  const auto first = open_listener(*ListenAddress::parse("127.0.0.1:0"));
  ASSERT_TRUE(first.has_value());
  const auto second = open_listener(*ListenAddress::parse(listening_at(*first)));
  EXPECT_TRUE(second.has_value());
  close(*first);
  if (second) close(*second);
}

class TemporaryFolder {
 public:
  TemporaryFolder() { path_ = mkdtemp(text_); }
  ~TemporaryFolder() { rmdir(path_.c_str()); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  char text_[32] = "/tmp/segue_listen_XXXXXX";
  std::string path_;
};

TEST(ListenAddressTest, AStaleUnixSocketIsReplacedAndALivingOneIsNot) {
  const TemporaryFolder folder;
  const auto address = ListenAddress::parse("unix:" + folder.file("s"));
  const auto first = open_listener(*address);
  ASSERT_TRUE(first.has_value());
  const auto taken = open_listener(*address);
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().kind, Kind::Refused);
  close(*first);  // as after a crash: the file stays
  const auto again = open_listener(*address);
  EXPECT_TRUE(again.has_value());
  if (again) close(*again);
  unlink(folder.file("s").c_str());
}

TEST_F(ServerListenTest, RequestsAreServedOverUnixSockets) {
  const TemporaryFolder folder;
  TestClient client = connect_to(listen("unix:" + folder.file("s")));
  turns();
  EXPECT_EQ(parse_response(exchange(client, get("/bytes/9"))).body, ScriptedHandler::pattern(9));
  EXPECT_EQ(handler->clients.back(), "unix");
  unlink(folder.file("s").c_str());
}

TEST_F(ServerListenTest, ConnectionsAreTakenUpToTheLimitAndBeyondItAnswered503) {
  start({.connections_max = 3});
  std::vector<TestClient> clients;
  clients.reserve(3);
  for (int i = 0; i < 3; ++i) clients.push_back(connect_tcp());
  for (TestClient& client : clients) {
    EXPECT_EQ(parse_response(exchange(client, get("/bytes/1"))).status, 200);
  }
  TestClient over = connect_tcp();
  // Also one that has sent its request before it looks.
  const auto told = parse_response(exchange(over, get("/bytes/1")));
  EXPECT_EQ(told.status, 503);
  EXPECT_EQ(told.body, "503 too many connections to this node\n");
  EXPECT_NE(told.head.find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_NE(told.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(over.ended());
  EXPECT_EQ(server->counters().refused_limit.get(), 1U);
  EXPECT_EQ(server->counters().requests.get(), 3U);
  EXPECT_EQ(server->usage().connections, 3U);
  clients.pop_back();
  turns();
  TestClient next = connect_tcp();
  EXPECT_EQ(parse_response(exchange(next, get("/bytes/1"))).status, 200);
}

TEST_F(ServerListenTest, OneThatWasTurnedAwayAndStaysIsClosedByTheClock) {
  start({.connections_max = 1});
  TestClient first = connect_tcp();
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
  TestClient over = connect_tcp();
  (void)receive_all(over);
  EXPECT_EQ(server->counters().active.get(), 2U);
  advance(kLingerTimeout + milliseconds(1));
  EXPECT_EQ(server->counters().active.get(), 1U);
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
}

TEST_F(ServerListenTest, OfTooManyTurnedAwayAtOnceTheRestIsJustClosed) {
  start({.connections_max = 1});
  TestClient first = connect_tcp();
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
  std::vector<TestClient> over;
  for (uint32_t i = 0; i < kTurnedAwayMax + 1; ++i) {
    over.push_back(connect_tcp());
    turns();
  }
  EXPECT_EQ(server->counters().refused_limit.get(), kTurnedAwayMax + 1);
  EXPECT_EQ(server->counters().active.get(), kTurnedAwayMax + 1);
  EXPECT_EQ(receive_all(over.back()), "");
  EXPECT_TRUE(over.back().ended() || over.back().reset());
  EXPECT_EQ(parse_response(receive_all(over[0])).status, 503);
}

TEST_F(ServerListenTest, ABudgetThatLoopsShareIsTakenAndGivenBack) {
  ConnectionBudget budget(2);
  start();
  {
    const Loop::Turn turn(*loop);
    server->share(&budget);
  }
  ASSERT_TRUE(budget.try_take());  // another loop's
  TestClient first = connect_tcp();
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
  TestClient over = connect_tcp();
  EXPECT_EQ(parse_response(exchange(over, get("/bytes/1"))).status, 503);
  budget.give_back();
  TestClient second = connect_tcp();
  EXPECT_EQ(parse_response(exchange(second, get("/bytes/1"))).status, 200);
  EXPECT_FALSE(budget.try_take());
  first.close_now();
  second.close_now();
  over.close_now();
  turns();
  EXPECT_TRUE(budget.try_take());
  EXPECT_TRUE(budget.try_take());
  EXPECT_FALSE(budget.try_take());
  budget.give_back();
  budget.give_back();
  const Loop::Turn turn(*loop);
  server->share(nullptr);
}

TEST_F(ServerListenTest, WhileConnectionsAreShedNewOnesAreClosedAndThoseThereAreServed) {
  Overload overload;
  TestClient first = connect_tcp();
  server->shed_by(&overload);
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
  Readings readings{};
  Reading& descriptors = readings[static_cast<uint8_t>(Resource::Descriptors)];
  descriptors = {.used = 100, .soft = 90, .hard = 100};
  overload.judge(readings);
  TestClient shed = connect_tcp();
  (void)receive_all(shed);
  EXPECT_TRUE(shed.ended() || shed.reset());
  EXPECT_EQ(server->counters().refused_overload.get(), 1U);
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
  descriptors.used = 0;
  overload.judge(readings);
  TestClient later = connect_tcp();
  EXPECT_EQ(parse_response(exchange(later, get("/bytes/1"))).status, 200);
  server->shed_by(nullptr);
}

TEST_F(ServerListenTest, WithoutDescriptorsConnectionsAreClosedAndTheLoopDoesNotSpin) {
  TestClient first = connect_tcp();
  std::vector<int> held;
  rlimit former{};
  getrlimit(RLIMIT_NOFILE, &former);
  const int client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const rlimit tight{static_cast<rlim_t>(client_fd) + 8, former.rlim_max};
  setrlimit(RLIMIT_NOFILE, &tight);
  for (int fd = 0; (fd = dup(0)) >= 0;) held.push_back(fd);
  const auto address = ListenAddress::parse(tcp_address);
  const int connected = connect(
      client_fd, reinterpret_cast<const sockaddr*>(&address->socket_address), address->bytes);
  EXPECT_TRUE(connected == 0 || errno == EINPROGRESS);
  TestClient refused(client_fd);
  (void)receive_all(refused);
  EXPECT_TRUE(refused.ended() || refused.reset());
  EXPECT_EQ(server->counters().refused_fd.get(), 1U);
  const uint64_t errors = server->counters().accept_errors.get();
  turns(50);
  EXPECT_EQ(server->counters().accept_errors.get(), errors);
  for (const int fd : held) close(fd);
  setrlimit(RLIMIT_NOFILE, &former);
  EXPECT_EQ(parse_response(exchange(first, get("/bytes/1"))).status, 200);
  TestClient later = connect_tcp();
  EXPECT_EQ(parse_response(exchange(later, get("/bytes/1"))).status, 200);
}

TEST_F(ServerListenTest, DrainingClosesIdleConnectionsAndLetsResponsesEnd) {
  TestClient idle = connect_tcp();
  TestClient waiting = connect_tcp();
  TestClient half_sent = connect_tcp();
  (void)exchange(idle, get("/bytes/1"));
  waiting.send(get("/wait"));
  half_sent.send("GET /bytes/2 HTTP/1.1\r\n");
  turns();
  {
    const Loop::Turn turn(*loop);
    ASSERT_TRUE(ending->try_spawn(server->drain(seconds(5))));
  }
  (void)receive_all(idle);
  EXPECT_TRUE(idle.ended());
  idle.close_now();
  half_sent.send(std::string(kHost) + "\r\n");
  const auto late = parse_response(receive_all(half_sent));
  EXPECT_EQ(late.body, ScriptedHandler::pattern(2));
  EXPECT_NE(late.head.find("Connection: close\r\n"), std::string::npos);
  half_sent.close_now();
  turns();
  EXPECT_EQ(server->usage().connections, 1U);
  EXPECT_EQ(ending->running(), 1U);
  release();
  const auto response = parse_response(receive_all(waiting));
  EXPECT_EQ(response.body, "done");
  EXPECT_NE(response.head.find("Connection: close\r\n"), std::string::npos);
  waiting.close_now();
  turns();
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(ending->running(), 0U);
}

TEST_F(ServerListenTest, DrainingCutsWhatStillRunsAfterItsTime) {
  TestClient waiting = connect_tcp();
  TestClient stalled = connect_pair(true);
  waiting.send(get("/wait"));
  stalled.send(get("/bytes/300000"));
  turns();
  {
    const Loop::Turn turn(*loop);
    ASSERT_TRUE(ending->try_spawn(server->drain(seconds(5))));
  }
  advance(milliseconds(4999));
  EXPECT_EQ(server->usage().exchanges, 2U);
  advance(milliseconds(2));
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(handler->gone, 2U);
  EXPECT_EQ(ending->running(), 0U);
}

}  // namespace
}  // namespace segue::edge
