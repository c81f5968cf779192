// Goal: what is passed through waits for a buffer only where it needs one. Method: the real parts
// behind a server with one place for bodies, which a client that does not read holds.
#include "tests/unit/edge/delivery_fixture.h"

namespace segue::edge {
namespace {

class DeliveryPassTest : public DeliveryTest {
 protected:
  DeliveryPassTest() : DeliveryTest({.passes_max = 1}), slow(connect_pair()) {
    site->relay_methods = {"POST", "DELETE"};
    origin.add("/live", 64 * MiB).fields.emplace_back("Cache-Control", "no-store");
    slow.send(get("/live"));
    turns(200);
    EXPECT_FALSE(slow.receive(1).empty()) << "its body is under way";
  }
  ParsedResponse answer_to(const std::string& request) {
    TestClient client = connect_pair();
    client.send(request);
    return parse_response(receive_all(client));
  }
  static std::string asking(std::string_view method, std::string_view target) {
    return std::string(method) + get(target).substr(3);
  }
  TestClient slow;
};

TEST_F(DeliveryPassTest, AHeadIsAnsweredAtOnceWhereBodiesWait) {
  EXPECT_EQ(answer_to(asking("HEAD", "/live")).status, 200);
}

TEST_F(DeliveryPassTest, ARelayedRequestWithoutABodyInItsAnswerIsAnsweredAtOnce) {
  origin.add("/gone", 0).status = 204;
  EXPECT_EQ(answer_to(asking("DELETE", "/gone")).status, 204);
  origin.add("/empty", 0).status = 404;
  EXPECT_EQ(answer_to(asking("DELETE", "/empty")).status, 404);
}

TEST_F(DeliveryPassTest, WhatTheOriginHasCarriedOutIsNeverAnsweredByABusyNode) {
  origin.add("/made", 5000).status = 201;
  const ParsedResponse answer = answer_to(asking("POST", "/made"));
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body.size(), 5000U);
  EXPECT_EQ(origin.fetches("/made"), 1U);
}

TEST_F(DeliveryPassTest, ABodyWaitsForItsTurnAndIsToldWhenNoneComes) {
  TestClient client = connect_pair();
  client.send(get("/live"));
  EXPECT_EQ(receive_all(client), "");
  advance(std::chrono::seconds{7});
  const ParsedResponse answer = parse_response(receive_all(client));
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.head.find("Retry-After"), std::string::npos);
}

TEST_F(DeliveryPassTest, ABodyBeginsWhenTheOneBeforeItHasEnded) {
  TestClient client = connect_pair();
  client.send(get("/live"));
  EXPECT_EQ(receive_all(client), "");
  slow.close_now();
  turns(50);
  EXPECT_EQ(parse_response(client.receive()).status, 200);
}

}  // namespace
}  // namespace segue::edge
