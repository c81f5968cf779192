// Goal: HTTP/1.1 over TLS is the same, in few writes; handshakes are bounded in time and number;
// ends and cuts can be told apart. Method: the server on a loop with virtual time, clients on
// socketpairs; writev is counted in this binary.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/limits.h"
#include "base/sanitizer.h"
#include "edge/server/listen_address.h"
#include "tests/support/throwaway_ca.h"
#include "tests/unit/edge/counted_calls.h"
#include "tests/unit/edge/server_fixture.h"
#include "tests/unit/edge/tls_client.h"
#include "tls/server_context.h"

namespace segue::edge {
namespace {

using std::chrono::seconds;
using testing::counts;

class ServerTlsTest : public ServerTest {
 protected:
  ServerTlsTest() { context = context_of(ca.issue("a.example")); }
  std::shared_ptr<const tls::ServerContext> context_of(const testing::ThrowawayCa::Files& issued) {
    std::vector<tls::Finding> findings;
    auto made = tls::ServerContext::create(
        {.certificates = {{issued.certificate_file, issued.key_file, ""}}, .http2 = false}, tickets,
        SystemClock().wall(), findings);
    EXPECT_NE(made, nullptr);
    return made;
  }
  /// Socket of a client that has not said anything yet.
  TestClient connect_raw(int buffer_bytes = 0) {
    if (server == nullptr) start();
    int ends[2] = {};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    if (buffer_bytes != 0)
      setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    const Loop::Turn turn(*loop);
    sockaddr_storage nobody{};
    nobody.ss_family = AF_UNIX;
    server->adopt(ends[0], peer_of(nobody, 0), context);
    return TestClient(ends[1]);
  }
  TlsClient shake(const TestClient& raw, const std::string& name = "a.example") {
    TlsClient client(raw.fd(), ca.ca_file(), name);
    for (int i = 0; i < 4 && !client.handshake(); ++i) turns(4);
    EXPECT_TRUE(client.handshake());
    return client;
  }
  std::string receive(TlsClient& client, size_t bytes = SIZE_MAX) {
    std::string all;
    for (int idle = 0; idle < 3 && all.size() < bytes;) {
      turns(4);
      const std::string some = client.receive();
      idle = some.empty() ? idle + 1 : 0;
      all += some;
      if (client.ended()) break;
    }
    return all;
  }
  std::string ask(TlsClient& client, std::string_view request) {
    client.send(request);
    return receive(client);
  }
  [[nodiscard]] uint64_t ended_by(tls::HandshakeEnd end) const {
    return server->counters().handshakes[static_cast<size_t>(end)].get();
  }

  testing::ThrowawayCa ca;
  tls::TicketKeys tickets{MonoTime{}};
  std::shared_ptr<const tls::ServerContext> context;
};

// What waits sealed holds a batch, so a TLS client gets less ahead than a plain one.
TEST_F(ServerTlsTest, LessMayWaitUnsentThanOfAPlainClient) {
  start();
  const auto listener = open_listener(*ListenAddress::parse("127.0.0.1:0"));
  ASSERT_TRUE(listener.has_value());
  const auto address = ListenAddress::parse(listening_at(*listener));
  const TestClient raw(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(raw.fd(), reinterpret_cast<const sockaddr*>(&address->socket_address),
                    address->bytes),
            0);
  const int accepted = accept4(*listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  ASSERT_GE(accepted, 0);
  const auto unsent_max = [&] {
    int value = 0;
    socklen_t bytes = sizeof value;
    EXPECT_EQ(getsockopt(accepted, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &bytes), 0);
    return static_cast<uint32_t>(value);
  };
  EXPECT_EQ(unsent_max(), kNotSentLowatBytes);
  {
    const Loop::Turn turn(*loop);
    server->adopt(accepted, peer_of(address->socket_address, 0), context);
  }
  fcntl(raw.fd(), F_SETFL, O_NONBLOCK);
  TlsClient client = shake(raw);
  EXPECT_EQ(unsent_max(), kSealedNotSentLowatBytes);
  static_assert(kSealedNotSentLowatBytes < kNotSentLowatBytes);
  close(*listener);
}

TEST_F(ServerTlsTest, RequestsAndResponsesGoThroughAsTheyAre) {
  const TestClient raw = connect_raw();
  TlsClient client = shake(raw);
  for (const size_t bytes : {0U, 1U, 5000U, 100'000U}) {
    const auto got = parse_response(ask(client, get("/bytes/" + std::to_string(bytes))));
    EXPECT_EQ(got.status, 200);
    EXPECT_TRUE(got.body == ScriptedHandler::pattern(bytes));
  }
  EXPECT_EQ(ended_by(tls::HandshakeEnd::Full), 1U);
  EXPECT_EQ(server->usage().handshakes, 0U);
  EXPECT_EQ(server->usage().sealed_batches, 0U);  // an idle connection holds none
}

TEST_F(ServerTlsTest, PipelinedRequestsOfOneRecordAreAllAnswered) {
  const TestClient raw = connect_raw();
  TlsClient client = shake(raw);
  std::string requests;
  for (int i = 0; i < 40; ++i) requests += get("/bytes/10");  // more than a turn and a buffer take
  const std::string got = ask(client, requests);
  EXPECT_EQ(handler->served.size(), 40U);
  size_t answers = 0;
  for (size_t at = 0; (at = got.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++answers;
  EXPECT_EQ(answers, 40U);
}

TEST_F(ServerTlsTest, AMebibyteIsAtMostEighteenWritevs) {
  const TestClient raw = connect_raw(4 << 20);
  TlsClient client = shake(raw);
  ask(client, get("/bytes/1"));
  client.send(get("/bytes/1048576"));
  counts = {};
  counts.on = true;
  turns(40);
  counts.on = false;
  EXPECT_LE(counts.writevs, 18);
  EXPECT_GE(counts.writevs, 16);
  EXPECT_EQ(counts.reads, 1);
  const auto got = parse_response(receive(client));
  EXPECT_TRUE(got.body == ScriptedHandler::pattern(1 << 20));
}

TEST_F(ServerTlsTest, ATicketGoesWithTheFirstResponseWhereTheRequestIsHere) {
  const TestClient raw = connect_raw();
  TlsClient client(raw.fd(), ca.ca_file(), "a.example");
  client.handshake();
  turns(4);
  ASSERT_TRUE(client.handshake());  // its last flight is out, unread by the server
  client.send(get("/bytes/100"));
  counts = {};
  counts.on = true;
  turns(4);
  counts.on = false;
  EXPECT_EQ(counts.writevs, 1);
  EXPECT_EQ(parse_response(receive(client)).status, 200);
}

TEST_F(ServerTlsTest, ASlowClientGetsEveryByte) {
  const TestClient raw = connect_raw(1);
  TlsClient client = shake(raw);
  client.send(get("/bytes/3000000"));
  turns(4);
  EXPECT_EQ(server->usage().sealed_batches, 1U);
  std::string got;
  for (int i = 0; i < 5000 && got.size() < 3'000'000; ++i) {
    turns(2);
    got += client.receive();
  }
  EXPECT_TRUE(parse_response(got).body == ScriptedHandler::pattern(3'000'000));
}

TEST_F(ServerTlsTest, AStalledClientIsCutAndItsBatchGivenBack) {
  const TestClient raw = connect_raw(1);
  TlsClient client = shake(raw);
  client.send(get("/bytes/3000000"));
  turns(8);
  EXPECT_EQ(server->usage().sealed_batches, 1U);
  advance(kClientStallTimeout + seconds{1});
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->usage().sealed_batches, 0U);
}

TEST_F(ServerTlsTest, WithNoBatchLeftAResponseIsCut) {
  ConnectionLimits limits;
  limits.sealed_batches_max = 1;
  start(limits);
  const TestClient stalled_raw = connect_raw(1);
  TlsClient stalled = shake(stalled_raw);
  const TestClient raw = connect_raw();
  TlsClient client = shake(raw);
  stalled.send(get("/bytes/3000000"));
  turns(8);
  ASSERT_EQ(server->usage().sealed_batches, 1U);
  EXPECT_EQ(ask(client, get("/bytes/10")), "");
  EXPECT_EQ(server->usage().connections, 1U);
  EXPECT_GT(server->sealed_spent().get(), 0U);
}

TEST_F(ServerTlsTest, ClientsThatStopReadingDoNotKeepAnotherFromBeingServed) {
  ConnectionLimits limits;
  limits.sealed_batches_max = 4;
  limits.sealed_batches_reserved = 1;
  start(limits);
  std::vector<TestClient> raws;
  std::vector<TlsClient> stalled;
  raws.reserve(8);
  stalled.reserve(8);
  for (int i = 0; i < 8; ++i) {
    raws.push_back(connect_raw(1));
    stalled.push_back(shake(raws.back()));
    stalled.back().send(get("/bytes/3000000"));
    turns(8);
    ASSERT_LE(server->usage().sealed_batches, 3U);
  }
  EXPECT_EQ(server->usage().connections, 3U);  // the last three: who took nothing longest is cut
  EXPECT_EQ(server->counters().batches_reclaimed.get(), 5U);
  const TestClient raw = connect_raw();
  TlsClient client = shake(raw);
  const auto got = parse_response(ask(client, get("/bytes/1000000")));
  EXPECT_TRUE(got.body == ScriptedHandler::pattern(1'000'000));
  EXPECT_EQ(server->sealed_spent().get(), 0U);
}

TEST_F(ServerTlsTest, WhoTakesItsFlightSlowlyIsNotTheOneThatTookNothingLongest) {
  ConnectionLimits limits;
  limits.sealed_batches_max = 4;
  limits.sealed_batches_reserved = 2;  // so two may be held
  start(limits);
  testing::ThrowawayCa::Wanted wanted{.names = {"DNS:a.example"}};
  for (int i = 0; i < 400; ++i)  // a flight of many socket buffers
    wanted.names.push_back("DNS:" + std::string(60, 'n') + std::to_string(i) + ".example");
  const auto usual = std::exchange(context, context_of(ca.issue(wanted)));
  const TestClient slow_raw = connect_raw(1);
  TlsClient slow(slow_raw.fd(), ca.ca_file(), "a.example");
  slow.handshake();
  turns(4);
  ASSERT_EQ(server->usage().sealed_batches, 1U);
  context = usual;
  std::vector<TestClient> raws;
  std::vector<TlsClient> stalled;
  raws.reserve(2);
  stalled.reserve(2);
  for (int i = 0; i < 2; ++i) {
    raws.push_back(connect_raw(1));
    stalled.push_back(shake(raws.back()));
    ASSERT_FALSE(slow.handshake());  // takes what has come, and more follows
    stalled.back().send(get("/bytes/3000000"));
    turns(8);
  }
  EXPECT_EQ(server->counters().batches_reclaimed.get(), 1U);
  EXPECT_EQ(server->usage().connections, 2U);
  bool done = false;
  for (int i = 0; i < 100 && !done; ++i) {
    done = slow.handshake();
    turns(2);
  }
  ASSERT_TRUE(done);
  EXPECT_EQ(parse_response(ask(slow, get("/bytes/10"))).body, ScriptedHandler::pattern(10));
}

TEST_F(ServerTlsTest, ADrainLetsAHandshakeEndAndItsFirstRequestBeServed) {
  const TestClient raw = connect_raw();
  const TestClient silent = connect_raw();
  turns(4);
  {
    const Loop::Turn turn(*loop);
    ASSERT_TRUE(ending->try_spawn(server->drain(seconds{30})));
  }
  turns(4);
  TlsClient client = shake(raw);
  const auto got = parse_response(ask(client, get("/bytes/10")));
  EXPECT_EQ(got.body, ScriptedHandler::pattern(10));
  EXPECT_EQ(server->usage().handshakes, 1U);  // of the other nothing has come yet
  advance(seconds{2});
  EXPECT_EQ(server->usage().connections, 0U);
  turns(4);
}

TEST_F(ServerTlsTest, AnEndIsSaidAndACutIsNot) {
  const TestClient ending_raw = connect_raw();
  TlsClient ended = shake(ending_raw);
  EXPECT_EQ(parse_response(ask(ended, get("/close"))).status, 200);
  EXPECT_TRUE(ended.ended());
  const TestClient cut_raw = connect_raw();
  TlsClient cut = shake(cut_raw);
  const auto got = parse_response(ask(cut, get("/cut/1000")));
  EXPECT_EQ(got.body.size(), 1000U);  // of 2,000 announced
  EXPECT_FALSE(cut.ended());
}

TEST_F(ServerTlsTest, AHostThatTheCertificateDoesNotCoverIs421) {
  const TestClient raw = connect_raw();
  TlsClient client = shake(raw);
  client.send("GET /bytes/1 HTTP/1.1\r\nHost: b.example\r\n\r\n");
  receive(client);
  ASSERT_EQ(handler->refused.size(), 1U);
  EXPECT_EQ(handler->refused[0], std::pair(421, std::string("not_in_certificate")));
  EXPECT_TRUE(handler->served.empty());
  EXPECT_EQ(server->counters().misdirected.get(), 1U);
}

TEST_F(ServerTlsTest, AHandshakeThatDripsIsCutInTime) {
  const TestClient silent = connect_raw();
  TestClient dripping = connect_raw();
  constexpr std::string_view kHello("\x16\x03\x01\x01\x00\x01\x00\x00\xfc", 9);
  for (const char& byte : kHello) {
    dripping.send({&byte, 1});  // each byte is progress, and none counts
    advance(seconds{1});
    EXPECT_EQ(server->usage().handshakes, 2U);
  }
  advance(seconds{2});
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->counters().handshakes_timed_out.get(), 2U);
}

TEST_F(ServerTlsTest, OfTooManyHandshakesTheOldestIsCut) {
  ConnectionLimits limits;
  limits.tls_handshakes_max = 3;
  start(limits);
  std::vector<TestClient> half_open;
  for (int i = 0; i < 3; ++i) half_open.push_back(connect_raw());
  turns(2);
  EXPECT_EQ(server->usage().handshakes, 3U);
  EXPECT_EQ(server->counters().handshakes_crowded_out.get(), 0U);
  for (int i = 0; i < 5; ++i) {
    const TestClient raw = connect_raw();
    TlsClient client = shake(raw);
    EXPECT_EQ(parse_response(ask(client, get("/bytes/1"))).status, 200);
  }
  EXPECT_LE(server->usage().handshakes, 3U);
  EXPECT_GE(server->counters().handshakes_crowded_out.get(), 1U);
  half_open[0].receive();
  EXPECT_TRUE(half_open[0].ended() || half_open[0].reset());
}

TEST_F(ServerTlsTest, PlainHttpOnATlsPortIsCountedAndEnds) {
  TestClient raw = connect_raw();
  raw.send(get("/bytes/1"));
  turns(8);
  EXPECT_EQ(ended_by(tls::HandshakeEnd::Malformed), 1U);
  raw.receive();
  EXPECT_TRUE(raw.ended());
  EXPECT_TRUE(handler->served.empty());
}

TEST_F(ServerTlsTest, AClientThatLeavesHalfWayIsCountedAndGone) {
  TestClient raw = connect_raw();
  TlsClient client(raw.fd(), ca.ca_file(), "a.example");
  client.handshake();
  turns(4);
  raw.close_now();
  turns(4);
  EXPECT_EQ(ended_by(tls::HandshakeEnd::Closed), 1U);
  EXPECT_EQ(server->usage().connections, 0U);
}

}  // namespace
}  // namespace segue::edge
