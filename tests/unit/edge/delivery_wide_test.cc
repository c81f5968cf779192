// Goal: a client that has taken all it was sent is offered more at once, few of them are at a time,
// and every byte comes. Method: the real parts over loopback TCP; the gauge tells how many clients
// may hold more.
#include "tests/unit/edge/delivery_fixture.h"

namespace segue::edge {
namespace {

constexpr uint64_t kTrackBytes = 4 * MiB;

class DeliveryWideTest : public DeliveryTest {
 protected:
  void start_with(uint32_t wide_max) {
    origin.add("/t", kTrackBytes);
    ConnectionLimits limits;
    limits.wide_sockets_max = wide_max;
    start(limits);
    TestClient pair = connect_pair();
    track = body_of(pair, 0, kTrackBytes);
    ASSERT_EQ(track.size(), kTrackBytes);
    EXPECT_EQ(wide(), 0U) << "a unix socket has no cap that could be raised";
  }
  static std::string range(uint64_t first, uint64_t bytes) {
    return get("/t", "Range: bytes=" + std::to_string(first) + "-" +
                         std::to_string(first + bytes - 1) + "\r\n");
  }
  std::string body_of(TestClient& client, uint64_t first, uint64_t bytes) {
    return parse_response(exchange(client, range(first, bytes))).body;
  }
  void expect_whole(TestClient& client, uint64_t first, uint64_t bytes) {
    EXPECT_TRUE(body_of(client, first, bytes) == track.substr(first, bytes));
  }
  uint64_t wide() { return server->counters().wide_sockets.get(); }

  std::string track;
};

TEST_F(DeliveryWideTest, WhoHasTakenAllAndAsksForMoreThanABatchMayHoldMore) {
  start_with(kWideSocketsPerLoopMax);
  TestClient client = connect_tcp();
  for (const uint64_t bytes : {uint64_t{1}, 64 * KiB, uint64_t{kWriteBatchBytes}}) {
    expect_whole(client, 5000, bytes);
    EXPECT_EQ(wide(), 0U) << bytes;
  }
  // Also from the last byte of a slice on, where the batch touches three.
  for (const uint64_t first : {uint64_t{0}, uint64_t{1000}, uint64_t{kSliceBytes - 1}}) {
    expect_whole(client, first, MiB);
    EXPECT_EQ(wide(), 1U);
  }
  client.close_now();
  turns();
  EXPECT_EQ(wide(), 0U);
}

TEST_F(DeliveryWideTest, WhoStalledKeepsItsPlaceAndWhoHasReadAllGivesItUpToAnother) {
  start_with(1);
  TestClient stalled = connect_tcp();
  TestClient reading = connect_tcp();
  expect_whole(stalled, 0, 1000);
  expect_whole(reading, 0, 1000);
  stalled.send(range(0, kTrackBytes));
  turns();
  EXPECT_EQ(wide(), 1U);
  expect_whole(reading, 0, MiB);  // without the place
  EXPECT_EQ(wide(), 1U);
  EXPECT_TRUE(parse_response(receive_all(stalled)).body == track);
  stalled.send("G");  // a byte that acknowledges at once
  turns();
  expect_whole(reading, 0, MiB);
  stalled.close_now();
  turns();
  EXPECT_EQ(wide(), 1U) << "it is the other's now";
  reading.close_now();
  turns();
  EXPECT_EQ(wide(), 0U);
}

TEST_F(DeliveryWideTest, WithoutAPlaceEverybodyIsServedAsBefore) {
  start_with(0);
  TestClient client = connect_tcp();
  expect_whole(client, 0, 1000);
  expect_whole(client, 100, 2 * MiB);
  EXPECT_EQ(wide(), 0U);
}

}  // namespace
}  // namespace segue::edge
