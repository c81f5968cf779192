// Goal: bytes go through whole, records have the sizes they should, batches are bounded and given
// back, and hostile bytes end one connection and nothing else. Method: a session joined to a client
// in memory.
#include "tls/session.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/tls/test_client.h"

namespace segue::tls {
namespace {

using std::chrono::seconds;

class NothingSource final : public Source {
 public:
  int64_t read(std::span<std::byte> /*into*/) noexcept override { return kNothing; }
};

class SessionTest : public TlsTest {
 protected:
  void SetUp() override { server_ = context({.certificates = {issue("a.example")}}); }
  void TearDown() override { EXPECT_EQ(pool.in_use().get(), 0U); }
  static std::string pattern(size_t bytes) {
    std::string made(bytes, 0);
    for (size_t i = 0; i < bytes; ++i) made[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
    return made;
  }
  static iovec piece(const std::string& text) {
    return {const_cast<char*>(text.data()), text.size()};
  }
  /// Seals all of `pieces`, one batch after the other; how many batches it took.
  int seal_all(Session& session, TestClient& to, std::span<const iovec> pieces, std::string& got) {
    size_t left = 0;
    for (const iovec& each : pieces) left += each.iov_len;
    size_t at = 0;
    int batches = 0;
    while (left > 0) {
      const auto sealed = session.seal(pieces, at, SIZE_MAX, start);
      if (!sealed || *sealed == 0) return -1;
      at += *sealed;
      left -= *sealed;
      ++batches;
      got += to.receive(session);
    }
    return batches;
  }
  std::shared_ptr<const ServerContext> server_;
};

TEST_F(SessionTest, BytesGoThroughWholeInBothDirections) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Session session(server_, pool);
    TestClient::Options options = client("a.example");
    options.version = version;
    TestClient other(options);
    ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
    EXPECT_EQ(other.send(session, "GET /"), "GET /");
    EXPECT_EQ(other.send(session, pattern(100'000)), pattern(100'000));
    const std::string body = pattern(1'000'000);
    const iovec one = piece(body);
    std::string got;
    EXPECT_EQ(seal_all(session, other, {&one, 1}, got), 16);
    EXPECT_TRUE(got == body);
  }
}

TEST_F(SessionTest, AMebibyteWithItsHeadIsSeventeenBatches) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  const std::string head = pattern(400);
  const std::string body = pattern(1 << 20);
  const iovec pieces[] = {piece(head), piece(body)};
  std::string got;
  EXPECT_EQ(seal_all(session, other, pieces, got), 17);
  EXPECT_TRUE(got == head + body);
}

TEST_F(SessionTest, TheFirstRecordsAreSmallAndSmallAgainAfterAPause) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  other.receive(session);
  const std::string head = pattern(400);
  const std::string body = pattern(60'000);
  const iovec pieces[] = {piece(head), piece(body)};
  std::string got;
  for (int i = 0; i < 2; ++i) {
    other.take_record_lengths();
    ASSERT_EQ(seal_all(session, other, pieces, got), 1);
    const std::vector<size_t> lengths = other.take_record_lengths();
    ASSERT_GT(lengths.size(), 4U);
    EXPECT_EQ(lengths[0], 1300U + 17U);  // the head and the body's first bytes in one packet
    EXPECT_EQ(lengths[1], 4096U + 17U);
    EXPECT_EQ(lengths[4], 16384U + 17U);
    start += seconds{2};
  }
  other.take_record_lengths();
  start -= seconds{1};  // no pause
  ASSERT_EQ(seal_all(session, other, pieces, got), 1);
  EXPECT_EQ(other.take_record_lengths()[1], 16384U + 17U);
}

TEST_F(SessionTest, ASmallBodyIsInOneRecordWithItsHead) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  const std::string before = pattern(64 * 1024);  // no first records any more
  const iovec all = piece(before);
  std::string got;
  ASSERT_EQ(seal_all(session, other, {&all, 1}, got), 1);
  const std::string head = pattern(400);
  for (const size_t bytes : {1U, 1000U, 4096U, 8192U - 400U}) {
    const std::string body = pattern(bytes);
    const iovec pieces[] = {piece(head), piece(body)};
    got.clear();
    other.take_record_lengths();
    ASSERT_EQ(seal_all(session, other, pieces, got), 1);
    EXPECT_EQ(other.take_record_lengths(), std::vector<size_t>{400 + bytes + 17});
    EXPECT_EQ(got, head + body);
  }
}

/// A DATA frame's header lies before its payload (edge/server/h2_connection.h).
TEST_F(SessionTest, LargePiecesBetweenSmallOnesAreSealedFromWhereTheyLie) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  const std::string header = pattern(9);
  const std::string payload = pattern(16'000);
  std::vector<iovec> pieces;
  std::string expected, got;
  for (int i = 0; i < 4; ++i) {
    pieces.insert(pieces.end(), {piece(header), piece(payload)});
    expected += header + payload;
  }
  ASSERT_EQ(seal_all(session, other, pieces, got), 1);  // the small ones for the first byte
  other.take_record_lengths();
  got.clear();
  ASSERT_EQ(seal_all(session, other, pieces, got), 1);
  EXPECT_EQ(got, expected);
  const std::vector<size_t> each{9 + 17, 16'000 + 17};
  std::vector<size_t> all;
  for (int i = 0; i < 4; ++i) all.insert(all.end(), each.begin(), each.end());
  EXPECT_EQ(other.take_record_lengths(), all);  // no byte of a payload shares a record: none copied
}

TEST_F(SessionTest, PiecesOfAnySizeArriveInOrder) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  std::vector<std::string> texts;
  for (const size_t bytes :
       {0U, 1U, 2047U, 2048U, 2049U, 1U, 4096U, 0U, 16384U, 3U, 70'000U, 5U, 300U})
    texts.push_back(pattern(bytes));
  std::vector<iovec> pieces;
  std::string all;
  for (const std::string& text : texts) {
    pieces.push_back(piece(text));
    all += text;
  }
  std::string got;
  EXPECT_GT(seal_all(session, other, pieces, got), 0);
  EXPECT_TRUE(got == all);
}

TEST_F(SessionTest, ABoundOnBytesIsKept) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  const std::string text = pattern(5000);
  const iovec one = piece(text);
  EXPECT_EQ(session.seal({&one, 1}, 10, 100, start), 100U);
  EXPECT_EQ(other.receive(session), text.substr(10, 100));
}

TEST_F(SessionTest, AFullBatchTakesNoMoreUntilItIsSent) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  other.receive(session);
  const std::string body = pattern(200'000);
  const iovec one = piece(body);
  EXPECT_EQ(session.seal({&one, 1}, 0, SIZE_MAX, start), kBatchBytes);
  EXPECT_EQ(session.seal({&one, 1}, kBatchBytes, SIZE_MAX, start), 0U);
  EXPECT_EQ(pool.in_use().get(), 1U);
  EXPECT_EQ(other.receive(session), body.substr(0, kBatchBytes));
  EXPECT_EQ(pool.in_use().get(), 0U);
}

TEST_F(SessionTest, WhatAFullSocketLeavesHoldsABatchUnlessItIsLittle) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  other.receive(session);
  const std::string body = pattern(kBatchBytes);
  const iovec one = piece(body);
  ASSERT_EQ(session.seal({&one, 1}, 0, SIZE_MAX, start), kBatchBytes);
  other.take_some(session, session.unsent().size() - kRestBytesMax - 1);
  EXPECT_EQ(pool.in_use().get(), 1U);
  other.take_some(session, 1);
  EXPECT_EQ(pool.in_use().get(), 0U);
  EXPECT_EQ(session.unsent().size(), kRestBytesMax);
  // It goes out before anything else is sealed, and before an alert.
  EXPECT_EQ(session.seal({&one, 1}, 0, 100, start), 0U);
  other.take_some(session, kRestBytesMax - 10);
  EXPECT_EQ(session.unsent().size(), 10U);
  session.seal_end();
  EXPECT_TRUE(other.receive(session) == body);
  EXPECT_TRUE(other.ended());
  EXPECT_EQ(pool.in_use().get(), 0U);
}

TEST_F(SessionTest, ASpentPoolIsAnErrorThatALaterTryCanGetPast) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  other.receive(session);
  std::vector<SealedBatch*> taken;
  while (SealedBatch* batch = pool.take()) taken.push_back(batch);
  EXPECT_EQ(taken.size(), 8U);
  const std::string text = "hello";
  const iovec one = piece(text);
  const auto sealed = session.seal({&one, 1}, 0, SIZE_MAX, start);
  ASSERT_FALSE(sealed.has_value());
  EXPECT_EQ(sealed.error().kind, Kind::Overloaded);
  EXPECT_GE(pool.spent().get(), 2U);
  for (SealedBatch* batch : taken) pool.give_back(batch);
  EXPECT_EQ(session.seal({&one, 1}, 0, SIZE_MAX, start), 5U);
  EXPECT_EQ(other.receive(session), "hello");
}

TEST_F(SessionTest, TheEndIsSaidAndHeard) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  session.seal_end();
  other.receive(session);
  EXPECT_TRUE(other.ended());
}

TEST_F(SessionTest, WhatIsNoTlsIsMalformedAndLeavesNothing) {
  using namespace std::string_view_literals;
  for (const std::string_view bytes :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n"sv, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff"sv,
        "\x80\x09\x01\x03\x01\x00\x15\x00\x00\x00\x10"sv}) {
    Session session(server_, pool);
    TestClient other(client("a.example"));
    struct : Source {
      int64_t read(std::span<std::byte> into) noexcept override {
        const size_t count = std::min(into.size(), left.size());
        if (count == 0) return kNothing;
        std::memcpy(into.data(), left.data(), count);
        left.remove_prefix(count);
        return static_cast<int64_t>(count);
      }
      std::string_view left;
    } source;
    source.left = bytes;
    EXPECT_EQ(session.handshake(source), HandshakeEnd::Malformed);
  }
}

TEST_F(SessionTest, AClientThatLeavesHalfWayIsClosed) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  other.closed = true;  // its end comes behind the ClientHello
  EXPECT_EQ(other.handshake(session), HandshakeEnd::Closed);
  session.drop_unsent();
}

TEST_F(SessionTest, AFlippedBitEndsTheSession) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  EXPECT_EQ(other.send(session, "one"), "one");
  std::string flipped(17 + 5 + 20, 0);
  flipped[0] = 0x17;
  flipped[1] = flipped[2] = 3;
  flipped[4] = static_cast<char>(flipped.size() - 5);
  other.to_server = flipped;
  EXPECT_EQ(other.send(session, ""), "");
  NothingSource nothing;
  std::string room(10, 0);
  size_t bytes = 0;
  EXPECT_EQ(session.receive(nothing, room, bytes), Session::Received::Dead);
  const std::string text = "x";
  const iovec one = piece(text);
  EXPECT_FALSE(session.seal({&one, 1}, 0, SIZE_MAX, start).has_value());
  session.drop_unsent();
}

TEST_F(SessionTest, APendingByteIsTold) {
  Session session(server_, pool);
  TestClient other(client("a.example"));
  ASSERT_EQ(other.handshake(session), HandshakeEnd::Full);
  EXPECT_FALSE(session.has_pending());
  EXPECT_EQ(other.send(session, pattern(150)).size(), 150U);  // read 100 at a time
  EXPECT_FALSE(session.has_pending());
  session.release_buffers();
  EXPECT_EQ(other.send(session, "again"), "again");
}

}  // namespace
}  // namespace segue::tls
