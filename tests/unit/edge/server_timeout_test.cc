// Goal: every wait for a client has an end, at the time it is said to have, and a client that left
// is noticed.
// Method: virtual time is moved to just before and just past each limit.
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {
namespace {

using ServerTimeoutTest = ServerTest;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(ServerTimeoutTest, AnIdleConnectionIsClosedAfterItsTime) {
  TestClient client = connect_pair();
  (void)exchange(client, get("/bytes/1"));
  advance(kKeepAliveTimeout - milliseconds(1));
  EXPECT_EQ(server->usage().connections, 1U);
  (void)exchange(client, get("/bytes/1"));  // each request renews it
  advance(kKeepAliveTimeout - milliseconds(1));
  EXPECT_EQ(server->usage().connections, 1U);
  advance(milliseconds(2));
  EXPECT_TRUE(receive_all(client).empty());
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->counters().timeout_keep_alive.get(), 1U);
}

TEST_F(ServerTimeoutTest, AHeadThatDripsIsCutAfterItsTimeHoweverOftenBytesCome) {
  TestClient client = connect_pair();
  advance(seconds(30));  // idle time does not count
  client.send("GET /bytes/1 HTTP/1.1\r\nX: ");
  turns();
  for (int i = 0; i < 9; ++i) {
    advance(seconds(1));
    client.send("x");
    turns();
  }
  advance(milliseconds(999));
  EXPECT_TRUE(client.receive().empty());
  advance(milliseconds(2));
  EXPECT_EQ(parse_response(receive_all(client)).status, 408);
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(server->counters().timeout_head.get(), 1U);
  ASSERT_EQ(handler->refused.size(), 1U);
  EXPECT_EQ(handler->refused[0].second, "head_timeout");
}

TEST_F(ServerTimeoutTest, ABodyThatDoesNotComeIsNotWaitedForLong) {
  TestClient client = connect_pair();
  const std::string request =
      "POST /bytes/1 HTTP/1.1\r\n" + std::string(kHost) + "Content-Length: 10\r\n\r\nabc";
  EXPECT_EQ(parse_response(exchange(client, request)).status, 200);
  advance(kHeaderReadTimeout + milliseconds(1));
  (void)receive_all(client);
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(server->counters().timeout_body.get(), 1U);
}

TEST_F(ServerTimeoutTest, AWantedBodyThatDoesNotComeIsRefused) {
  handler->body_max = 100;
  TestClient client = connect_pair();
  client.send("POST /body HTTP/1.1\r\n" + std::string(kHost) + "Content-Length: 10\r\n\r\nabc");
  turns();
  advance(kHeaderReadTimeout + milliseconds(1));
  EXPECT_EQ(parse_response(receive_all(client)).status, 408);
  EXPECT_TRUE(client.ended());
}

TEST_F(ServerTimeoutTest, AClientThatTakesNoByteIsCutAfterItsTime) {
  TestClient client = connect_pair(true);
  client.send(get("/bytes/300000"));
  turns();
  advance(kClientStallTimeout - milliseconds(1));
  EXPECT_EQ(server->usage().exchanges, 1U);
  advance(milliseconds(2));
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->counters().timeout_stall.get(), 1U);
  EXPECT_EQ(handler->gone, 1U);
}

TEST_F(ServerTimeoutTest, AClientThatTakesSomeBytesIsNot) {
  TestClient client = connect_pair(true);
  client.send(get("/bytes/300000"));
  turns();
  std::string all;
  for (int i = 0; i < 20; ++i) {
    advance(kClientStallTimeout - seconds(1));
    all += client.receive(3000);
    turns();
  }
  EXPECT_EQ(server->counters().timeout_stall.get(), 0U);
  all += receive_all(client);
  EXPECT_EQ(parse_response(all).body, ScriptedHandler::pattern(300000));
}

TEST_F(ServerTimeoutTest, BytesTakenFromTheSocketsBufferCountBeforeTheSocketIsWritableAgain) {
  // TCP calls the socket writable only once much of its buffer is free: the slow client's bytes
  // must be seen all the same.
  start({.client_stall = seconds(10)});
  TestClient client = connect_tcp();
  client.send(get("/bytes/30000000"));
  turns(200);
  size_t taken = 0;
  for (int i = 0; i < 10; ++i) {
    // Enough that the client's kernel announces a window again, too little to empty our buffer.
    advance(seconds(9));
    taken += client.receive(400000).size();
    turns();
  }
  EXPECT_GT(taken, 1500000U);
  EXPECT_EQ(server->counters().timeout_stall.get(), 0U);
  EXPECT_EQ(server->usage().exchanges, 1U);
  advance(seconds(11));
  advance(seconds(11));
  EXPECT_EQ(server->counters().timeout_stall.get(), 1U);
  EXPECT_EQ(server->usage().connections, 0U);
}

TEST_F(ServerTimeoutTest, ALingeringConnectionIsClosedAfterItsTime) {
  TestClient client = connect_pair();
  EXPECT_EQ(parse_response(exchange(client, get("/close"))).status, 200);
  EXPECT_EQ(server->usage().connections, 1U);  // the client has not closed
  advance(kLingerTimeout + milliseconds(1));
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->counters().timeout_linger.get(), 1U);
}

TEST_F(ServerTimeoutTest, AClientThatLeavesWhileItWaitsFreesEverythingAtOnce) {
  TestClient client = connect_pair();
  client.send(get("/wait"));
  turns();
  EXPECT_EQ(server->usage().exchanges, 1U);
  client.close_now();
  turns();
  EXPECT_EQ(handler->gone, 1U);
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->counters().clients_gone.get(), 1U);
}

TEST_F(ServerTimeoutTest, ATcpClientThatClosesWhileItWaitsIsGivenUpWithinASecond) {
  TestClient client = connect_tcp();
  client.send(get("/wait"));
  turns();
  client.close_now();  // a FIN: a client that only shut its writing side looks the same
  turns();
  EXPECT_EQ(handler->gone, 0U);
  advance(milliseconds(501));
  EXPECT_EQ(handler->gone, 1U);
  EXPECT_EQ(server->usage().connections, 0U);
  EXPECT_EQ(server->counters().timeout_half_close.get(), 1U);
}

TEST_F(ServerTimeoutTest, AResetIsNoticedAtOnceAlsoBehindPipelinedBytes) {
  for (const bool pipelined : {false, true}) {
    TestClient client = connect_tcp();
    const uint32_t gone = handler->gone;
    client.send(get("/wait"));
    turns();
    if (pipelined) client.send(get("/bytes/1"));
    turns();
    constexpr struct linger kReset{1, 0};
    setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &kReset, sizeof kReset);
    client.close_now();
    turns();
    EXPECT_EQ(handler->gone, gone + 1);
    EXPECT_EQ(server->usage().connections, 0U);
  }
}

TEST_F(ServerTimeoutTest, AClientThatClosesItsSideStillGetsWhatItAskedFor) {
  TestClient client = connect_tcp();
  client.send(get("/bytes/3000000") + get("/bytes/5"));
  client.shut_writing();
  const std::string all = receive_all(client);
  EXPECT_NE(all.find(ScriptedHandler::pattern(3000000)), std::string::npos);
  EXPECT_TRUE(all.ends_with(ScriptedHandler::pattern(5)));
  EXPECT_TRUE(client.ended());
  EXPECT_FALSE(client.reset());
  EXPECT_EQ(server->usage().connections, 0U);
}

TEST_F(ServerTimeoutTest, AHalfClosedClientIsServedIfTheAnswerComesWithinTheGrace) {
  TestClient client = connect_tcp();
  client.send(get("/wait"));
  client.shut_writing();
  turns();
  advance(milliseconds(400));
  release();
  EXPECT_EQ(parse_response(receive_all(client)).body, "done");
  EXPECT_EQ(handler->gone, 0U);
}

TEST_F(ServerTimeoutTest, AStalledHalfClosedClientHasTheTimeOfAStalledOne) {
  TestClient client = connect_pair(true);
  client.send(get("/bytes/300000"));
  client.shut_writing();
  turns();
  advance(kHalfCloseGrace + milliseconds(1));
  EXPECT_EQ(server->usage().exchanges, 1U);
  EXPECT_EQ(parse_response(receive_all(client)).body, ScriptedHandler::pattern(300000));
}

TEST_F(ServerTimeoutTest, AClientThatLeavesMidBodyIsGone) {
  TestClient client = connect_tcp();
  client.send(get("/bytes/30000000"));
  turns(40);
  EXPECT_GT(client.receive(100000).size(), 0U);
  client.close_now();
  turns(40);
  EXPECT_EQ(handler->gone, 1U);
  EXPECT_EQ(server->usage().connections, 0U);
}

}  // namespace
}  // namespace segue::edge
