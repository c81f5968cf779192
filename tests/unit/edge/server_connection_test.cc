// Goal: an HTTP/1.1 connection reads requests in whatever pieces they come, answers them in order,
// frames every kind of body, and refuses what is no request (RFC 9112).
// Method: a real EventLoop with virtual time, a scripted handler, clients on socketpairs and TCP.
#include <algorithm>

#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {
namespace {

using ServerConnectionTest = ServerTest;

/// Undoes chunked framing, strictly; the second is false if the last chunk is missing.
std::pair<std::string, bool> dechunk(std::string_view text) {
  std::string body;
  while (true) {
    const size_t line = text.find("\r\n");
    size_t bytes = 0;
    if (line == std::string_view::npos) return {body, false};
    const std::string_view size = text.substr(0, line);
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), bytes, 16);
    EXPECT_EQ(error, std::errc{});
    EXPECT_EQ(end, size.data() + size.size());
    text.remove_prefix(line + 2);
    if (bytes == 0) return {body, text == "\r\n"};
    body += text.substr(0, bytes);
    if (text.size() < bytes + 2) return {body, false};
    EXPECT_EQ(text.substr(bytes, 2), "\r\n");
    text.remove_prefix(bytes + 2);
  }
}

TEST_F(ServerConnectionTest, ARequestIsAnsweredAndTheConnectionKept) {
  TestClient client = connect_pair();
  for (int i = 0; i < 3; ++i) {
    const auto response = parse_response(exchange(client, get("/bytes/1000")));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, ScriptedHandler::pattern(1000));
    EXPECT_NE(response.head.find("Content-Length: 1000\r\n"), std::string::npos);
    EXPECT_NE(response.head.find("Date: Tue, 14 Nov 2023 22:13:2"), std::string::npos);
    EXPECT_EQ(response.head.find("Connection:"), std::string::npos);
  }
  EXPECT_FALSE(client.ended());
  EXPECT_EQ(handler->served.size(), 3U);
  EXPECT_EQ(handler->clients.front(), "unix");
}

TEST_F(ServerConnectionTest, ARequestThatComesByteByByteIsServed) {
  TestClient client = connect_pair();
  const std::string request = get("/bytes/10", "Range: bytes=0-1\r\n");
  for (size_t i = 0; i < request.size(); ++i) {
    EXPECT_EQ(handler->served.size(), 0U);
    client.send(request.substr(i, 1));
    turns(3);
  }
  EXPECT_EQ(parse_response(client.receive()).body, ScriptedHandler::pattern(10));
}

TEST_F(ServerConnectionTest, PipelinedRequestsAreAnsweredInOrderAlsoBeyondOneTurn) {
  TestClient client = connect_pair();
  std::string requests;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    requests += get("/bytes/" + std::to_string(i));
    expected += ScriptedHandler::pattern(static_cast<size_t>(i));
  }
  client.send(requests);
  std::string all = receive_all(client);
  std::string bodies;
  for (int i = 0; i < 100; ++i) {
    const auto response = parse_response(all);
    ASSERT_EQ(response.status, 200) << i;
    bodies += response.body.substr(0, static_cast<size_t>(i));
    all.erase(0, response.head.size() + 2 + static_cast<size_t>(i));
  }
  EXPECT_EQ(bodies, expected);
  EXPECT_TRUE(all.empty());
}

TEST_F(ServerConnectionTest, ARequestPipelinedBehindASlowOneWaitsForIt) {
  TestClient client = connect_pair();
  client.send(get("/wait"));
  turns();
  client.send(get("/bytes/5"));
  turns();
  EXPECT_EQ(handler->served.size(), 1U);
  EXPECT_TRUE(client.receive().empty());
  release();
  const std::string all = receive_all(client);
  EXPECT_EQ(handler->served.size(), 2U);
  EXPECT_LT(all.find("done"), all.find(ScriptedHandler::pattern(5)));
}

TEST_F(ServerConnectionTest, Http10ClosesUnlessAskedToStay) {
  TestClient closing = connect_pair();
  const auto closed =
      parse_response(exchange(closing, "GET /bytes/3 HTTP/1.0\r\nHost: a.example\r\n\r\n"));
  EXPECT_EQ(closed.status, 200);
  EXPECT_NE(closed.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(closing.ended());

  TestClient staying = connect_pair();
  const auto kept =
      parse_response(exchange(staying, "GET /bytes/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_NE(kept.head.find("Connection: keep-alive\r\n"), std::string::npos);
  EXPECT_FALSE(staying.ended());
}

TEST_F(ServerConnectionTest, CloseIsHonouredFromEitherSide) {
  TestClient asking = connect_pair();
  const auto asked = parse_response(exchange(asking, get("/bytes/3", "Connection: close\r\n")));
  EXPECT_NE(asked.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(asking.ended());

  TestClient told = connect_pair();
  const auto response = parse_response(exchange(told, get("/close")));
  EXPECT_NE(response.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(told.ended());
}

TEST_F(ServerConnectionTest, ALargeBodyArrivesWholeThroughTheSmallestSocketBuffer) {
  TestClient client = connect_pair(true);
  const auto response = parse_response(exchange(client, get("/bytes/300000")));
  EXPECT_EQ(response.body, ScriptedHandler::pattern(300000));
  EXPECT_EQ(parse_response(exchange(client, get("/bytes/1"))).status, 200);
}

TEST_F(ServerConnectionTest, AnUnknownLengthIsChunkedAlsoThroughTheSmallestSocketBuffer) {
  for (const bool small_buffers : {false, true}) {
    TestClient client = connect_pair(small_buffers);
    const auto response = parse_response(exchange(client, get("/unknown/200000")));
    EXPECT_NE(response.head.find("Transfer-Encoding: chunked\r\n"), std::string::npos);
    EXPECT_EQ(response.head.find("Content-Length"), std::string::npos);
    const auto [body, complete] = dechunk(response.body);
    EXPECT_TRUE(complete);
    EXPECT_EQ(body, ScriptedHandler::pattern(200000));
    EXPECT_EQ(parse_response(exchange(client, get("/bytes/1"))).status, 200);
  }
}

TEST_F(ServerConnectionTest, AnEmptyBodyOfUnknownLengthIsOneLastChunk) {
  TestClient client = connect_pair();
  EXPECT_EQ(parse_response(exchange(client, get("/unknown/0"))).body, "0\r\n\r\n");
}

TEST_F(ServerConnectionTest, AnUnknownLengthEndsWithTheConnectionOnHttp10) {
  TestClient client = connect_pair();
  const auto response = parse_response(exchange(
      client, "GET /unknown/5000 HTTP/1.0\r\nConnection: keep-alive\r\nHost: a.example\r\n\r\n"));
  EXPECT_NE(response.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_EQ(response.head.find("Transfer-Encoding"), std::string::npos);
  EXPECT_EQ(response.body, ScriptedHandler::pattern(5000));
  EXPECT_TRUE(client.ended());
}

TEST_F(ServerConnectionTest, ACutBodyIsNeverMistakenForAWholeOne) {
  TestClient known = connect_tcp();
  const auto by_length = parse_response(exchange(known, get("/cut/1000")));
  EXPECT_EQ(by_length.body.size(), 1000U);
  EXPECT_NE(by_length.head.find("Content-Length: 2000\r\n"), std::string::npos);
  EXPECT_TRUE(known.ended());

  TestClient chunked = connect_tcp();
  const auto by_chunk = parse_response(exchange(chunked, get("/cutunknown/1000")));
  EXPECT_FALSE(dechunk(by_chunk.body).second);
  EXPECT_TRUE(chunked.ended());

  // Where the close alone tells the end, only a reset tells that it is none.
  TestClient old = connect_tcp();
  (void)exchange(old, "GET /cutunknown/1000 HTTP/1.0\r\nHost: a.example\r\n\r\n");
  EXPECT_TRUE(old.reset());
  EXPECT_FALSE(old.ended());
}

TEST_F(ServerConnectionTest, ABodyLongerThanAnnouncedNeverReachesTheClient) {
  TestClient client = connect_tcp();
  EXPECT_TRUE(exchange(client, get("/toolong/10")).empty());
  EXPECT_TRUE(client.ended() || client.reset());
  EXPECT_EQ(server->usage().connections, 0U);
}

TEST_F(ServerConnectionTest, AHeadThatIsTooLargeEndsTheConnection) {
  handler->extra_field = std::string(kResponseHeadBytesMax, 'x');
  TestClient client = connect_tcp();
  EXPECT_TRUE(exchange(client, get("/bytes/1")).empty());
  EXPECT_TRUE(client.ended() || client.reset());
  handler->extra_field.resize(kResponseHeadBytesMax / 2);
  TestClient other = connect_tcp();
  EXPECT_EQ(parse_response(exchange(other, get("/bytes/1"))).body, "a");
}

TEST_F(ServerConnectionTest, AHeadThatTheSocketDoesNotTakeIsSentFirstLater) {
  handler->extra_field = std::string(kResponseHeadBytesMax / 2, 'x');
  TestClient client = connect_pair(true);
  std::string requests;
  for (int i = 0; i < 8; ++i) requests += get("/bytes/100");
  client.send(requests);
  turns(40);
  EXPECT_EQ(server->usage().unsent_texts, 1U);
  const std::string all = receive_all(client);
  size_t bodies = 0;
  for (size_t at = all.find("\r\n\r\n"); at != std::string::npos;
       at = all.find("\r\n\r\n", at + 1)) {
    EXPECT_EQ(all.substr(at + 4, 100), ScriptedHandler::pattern(100));
    ++bodies;
  }
  EXPECT_EQ(bodies, 8U);
}

TEST_F(ServerConnectionTest, ResponsesWithoutABodyHaveNone) {
  TestClient client = connect_pair();
  const auto to_head =
      parse_response(exchange(client, "HEAD /bytes/0 HTTP/1.1\r\nHost: a.example\r\n\r\n"));
  EXPECT_NE(to_head.head.find("Content-Length: 0\r\n"), std::string::npos);
  EXPECT_TRUE(to_head.body.empty());
  const auto unchanged = parse_response(exchange(client, get("/status/304")));
  EXPECT_EQ(unchanged.status, 304);
  EXPECT_TRUE(unchanged.body.empty());
  const auto nothing = parse_response(exchange(client, get("/status/204")));
  EXPECT_EQ(nothing.status, 204);
  EXPECT_EQ(nothing.head.find("Content-Length"), std::string::npos);  // RFC 9110 §8.6
  EXPECT_EQ(parse_response(exchange(client, get("/bytes/1"))).body, "a");
}

TEST_F(ServerConnectionTest, HeadsUpToTheLimitAreTakenAndBeyondItRefused) {
  // Five lines of 6 KiB: more than a small buffer, less than the limit of 32 KiB.
  std::string fields;
  for (int i = 0; i < 5; ++i) {
    fields += "X-" + std::to_string(i) + ": " + std::string(6000, 'x') + "\r\n";
  }
  TestClient client = connect_pair();
  EXPECT_EQ(parse_response(exchange(client, get("/bytes/4", fields))).body.size(), 4U);
  EXPECT_EQ(server->usage().large_buffers, 0U);
  // Pipelined behind a large head, in the same buffer.
  client.send(get("/bytes/4", fields) + get("/bytes/6"));
  EXPECT_NE(receive_all(client).find(ScriptedHandler::pattern(6)), std::string::npos);

  TestClient refused = connect_pair();
  const auto response = parse_response(exchange(refused, get("/bytes/4", fields + fields)));
  EXPECT_EQ(response.status, 431);
  EXPECT_TRUE(refused.ended());
  TestClient long_line = connect_pair();
  EXPECT_EQ(parse_response(exchange(long_line, get("/" + std::string(9000, 'a')))).status, 414);
}

TEST_F(ServerConnectionTest, WhatIsNoRequestIsRefusedAndWhatFollowsIsNotRead) {
  const std::pair<std::string, int> cases[] = {
      {"GET /bytes/1 HTTP/1.1\nHost: a.example\n\n", 400},
      {"GET /bytes/1 HTTP/1.1\r\n\r\n", 400},
      {"GET /bytes/1 HTTP/2.0\r\nHost: a.example\r\n\r\n", 505},
      {"GET /bytes/1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
       400},
      {"GET /bytes/1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: "
       "chunked\r\n\r\n",
       400},
      {std::string("GET /") + '\0' + " HTTP/1.1\r\nHost: a.example\r\n\r\n", 400},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400}};
  for (const auto& [request, status] : cases) {
    TestClient client = connect_pair();
    client.send(request + get("/bytes/1"));
    const std::string all = receive_all(client);
    EXPECT_EQ(parse_response(all).status, status) << request;
    EXPECT_EQ(all.find("HTTP/1.1", 8), std::string::npos) << all;
    EXPECT_TRUE(client.ended());
  }
  EXPECT_TRUE(handler->served.empty());
  EXPECT_EQ(handler->refused.size(), std::size(cases));
  EXPECT_EQ(server->counters().refused_400.get(), std::size(cases) - 1);
  EXPECT_EQ(server->counters().refused_505.get(), 1U);
}

TEST_F(ServerConnectionTest, ABodyIsSkippedAndTheNextRequestFound) {
  const std::string bodies[] = {"Content-Length: 5\r\n\r\nhello",
                                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                                "Content-Length: 0\r\n\r\n"};
  for (const std::string& body : bodies) {
    TestClient client = connect_pair();
    client.send("GET /bytes/3 HTTP/1.1\r\n" + std::string(kHost) + body + get("/bytes/4"));
    const std::string all = receive_all(client);
    EXPECT_NE(all.find(ScriptedHandler::pattern(4)), std::string::npos) << body;
    EXPECT_FALSE(client.ended());
  }
}

TEST_F(ServerConnectionTest, ABodyThatTricklesInIsSkippedBytewise) {
  TestClient client = connect_pair();
  client.send("POST /bytes/3 HTTP/1.1\r\n" + std::string(kHost) +
              "Transfer-Encoding: chunked\r\n\r\n");
  turns();
  for (const char c : std::string_view("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n")) {
    client.send({&c, 1});
    turns(3);
  }
  EXPECT_EQ(parse_response(client.receive()).status, 200);
  EXPECT_EQ(parse_response(exchange(client, get("/bytes/7"))).body.size(), 7U);
}

TEST_F(ServerConnectionTest, ABodyAtTheLimitIsSkippedAndOneByteMoreCloses) {
  for (const size_t extra : {size_t{0}, size_t{1}}) {
    TestClient client = connect_pair();
    const std::string body(kRequestBodyDrainBytesMax + extra, 'b');
    client.send("POST /bytes/3 HTTP/1.1\r\n" + std::string(kHost) +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    const auto response = parse_response(receive_all(client));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(client.ended(), extra == 1);
    EXPECT_EQ(response.head.find("Connection: close") != std::string::npos, extra == 1);
  }
  TestClient chunked = connect_pair();
  chunked.send("POST /bytes/3 HTTP/1.1\r\n" + std::string(kHost) +
               "Transfer-Encoding: chunked\r\n\r\n10001\r\n" + std::string(0x10001, 'b') +
               "\r\n0\r\n\r\n");
  EXPECT_EQ(parse_response(receive_all(chunked)).status, 200);
  EXPECT_TRUE(chunked.ended());
  EXPECT_EQ(server->counters().bodies_too_long.get(), 2U);
}

TEST_F(ServerConnectionTest, AMalformedChunkedBodyEndsTheConnectionAfterTheResponse) {
  TestClient client = connect_pair();
  client.send("GET /bytes/3 HTTP/1.1\r\n" + std::string(kHost) +
              "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + get("/bytes/9"));
  EXPECT_EQ(parse_response(receive_all(client)).body, ScriptedHandler::pattern(3));
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(handler->served.size(), 1U);
}

TEST_F(ServerConnectionTest, ExpectContinueGetsTheFinalAnswerAndAClose) {
  TestClient client = connect_pair();
  const auto response =
      parse_response(exchange(client, "PUT /bytes/3 HTTP/1.1\r\n" + std::string(kHost) +
                                          "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(response.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(client.ended());
}

TEST_F(ServerConnectionTest, AHandlerThatWantsBodiesGetsThem) {
  handler->body_max = 5000;
  TestClient client = connect_pair();
  const std::string body = ScriptedHandler::pattern(5000);
  const std::string by_length =
      "POST /body HTTP/1.1\r\n" + std::string(kHost) + "Content-Length: 5000\r\n\r\n" + body;
  EXPECT_EQ(parse_response(exchange(client, by_length + by_length)).body.substr(0, 5000), body);
  const auto chunked = parse_response(
      exchange(client, "POST /body HTTP/1.1\r\n" + std::string(kHost) +
                           "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  EXPECT_EQ(chunked.body, "abcde");
  EXPECT_EQ(parse_response(exchange(client, get("/body"))).body, "");
  const std::string continued =
      exchange(client, "POST /body HTTP/1.1\r\n" + std::string(kHost) +
                           "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(continued, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(parse_response(exchange(client, "ok")).body, "ok");

  TestClient over = connect_pair();
  const auto refused =
      parse_response(exchange(over, "POST /body HTTP/1.1\r\n" + std::string(kHost) +
                                        "Content-Length: 5001\r\n\r\n" + std::string(5001, 'x')));
  EXPECT_EQ(refused.status, 413);
  EXPECT_TRUE(over.ended());
}

TEST_F(ServerConnectionTest, AHeadThatFillsTheBufferToTheLastByteStillGetsItsBody) {
  handler->body_max = 100;
  const std::string begin =
      "POST /body HTTP/1.1\r\n" + std::string(kHost) + "Content-Length: 4\r\nX-Fill: ";
  const std::string fill(kReadBufferBytes - begin.size() - 4, 'f');
  TestClient client = connect_pair();
  client.send(begin + fill + "\r\n\r\n");
  turns();
  EXPECT_EQ(parse_response(exchange(client, "abcd")).body, "abcd");
}

TEST_F(ServerConnectionTest, AResponseSurvivesAClientThatStillSends) {
  // With a plain close(2) the bytes in flight would answer the response with a reset.
  TestClient client = connect_tcp();
  client.send("BAD\r\n\r\n" + std::string(20000, 'x'));
  turns();
  client.send(std::string(20000, 'x'));
  turns();
  client.send(std::string(20000, 'x'));
  const auto response = parse_response(receive_all(client));
  EXPECT_EQ(response.status, 400);
  EXPECT_TRUE(client.ended());
  EXPECT_FALSE(client.reset());
}

TEST_F(ServerConnectionTest, LingeringEndsWhenTheClientSendsTooMuch) {
  TestClient client = connect_pair();
  client.send("BAD\r\n\r\n");
  turns();
  size_t sent = 0;
  while (server->usage().connections == 1 && sent < size_t{4} * kLingerBytesMax) {
    sent += client.try_send(std::string(16384, 'x'));
    turns(4);
  }
  EXPECT_GT(sent, kLingerBytesMax / 2);
  EXPECT_LE(sent, kLingerBytesMax + 65536 + 16384);
  EXPECT_EQ(server->usage().connections, 0U);
}

TEST_F(ServerConnectionTest, AnIdleConnectionHoldsNothingButItself) {
  std::vector<TestClient> clients;
  clients.reserve(10);
  for (int i = 0; i < 10; ++i) clients.push_back(connect_pair());
  for (TestClient& client : clients) (void)exchange(client, get("/bytes/1"));
  EXPECT_EQ(server->usage().connections, 10U);
  EXPECT_EQ(server->usage().request_memories, 0U);
  EXPECT_EQ(server->usage().exchanges, 0U);
  static_assert(sizeof(Connection) <= 1024);
}

TEST_F(ServerConnectionTest, TheClientsAddressIsKnownToTheHandler) {
  TestClient four = connect_tcp();
  (void)exchange(four, get("/bytes/1"));
  EXPECT_EQ(handler->clients.back(), "127.0.0.1");
  TestClient six = connect_to(listen("[::1]:0"));
  (void)exchange(six, get("/bytes/1"));
  EXPECT_EQ(handler->clients.back(), "::1");
}

}  // namespace
}  // namespace segue::edge
