// Goal: the admin listener answers what it documents, to known hosts only, and turns purges into
// exactly what was asked.
// Method: the admin handler behind a Server on a real EventLoop; the node behind it is scripted.
#include "edge/admin/admin_handler.h"

#include "edge/admin/purge_request.h"
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {
namespace {

class ScriptedNode final : public AdminActions {
 public:
  [[nodiscard]] std::optional<std::string> listens(bool csv) const override {
    return csv ? "csv" : "{}\n";
  }
  [[nodiscard]] std::string node_json() const override { return "{\"name\":\"a\"}\n"; }
  [[nodiscard]] NodeReadiness ready() const override {
    return {!draining, draining ? "draining" : "serving"};
  }
  void drain() override { draining = true; }
  Task<Result<PurgeOutcome>> purge(PurgeRequest request) override {
    purges.push_back(request);
    if (error) co_return fail(*error);
    co_return PurgeOutcome{.sequence = 42};
  }
  Task<Result<std::string>> explain(std::string url) override {
    if (error) co_return fail(*error);
    co_return "about " + url + "\n";
  }

  bool draining = false;
  std::vector<PurgeRequest> purges;
  std::optional<Error> error;
};

class AdminHandlerTest : public ServerTest {
 protected:
  AdminHandlerTest() {
    counted.add(7);
    registry.add_counter("segue_test_total", "Counted.", {}, counted);
    admin = std::make_unique<AdminHandler>(*loop, registry, node,
                                           AdminHandler::Options{.hosts = {"Admin.Example"}});
    answering = admin.get();
  }
  ~AdminHandlerTest() override {
    if (server != nullptr) {
      const Loop::Turn turn(*loop);
      EXPECT_TRUE(ending->try_spawn(server->drain(std::chrono::nanoseconds{0})));
      turns(20);
      server.reset();
    }
  }
  ParsedResponse ask(std::string_view method, std::string_view target,
                     std::string_view more = "Host: localhost:9090\r\n",
                     std::string_view body = "") {
    TestClient client = connect_pair();
    std::string request =
        std::string(method) + " " + std::string(target) + " HTTP/1.1\r\n" + std::string(more);
    if (!body.empty()) request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return parse_response(exchange(client, request + "\r\n" + std::string(body)));
  }

  Counter counted;
  Registry registry;
  ScriptedNode node;
  std::unique_ptr<AdminHandler> admin;
};

TEST_F(AdminHandlerTest, MetricsAndStatsShowTheRegistry) {
  const auto metrics = ask("GET", "/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.head.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(metrics.body.find("\nsegue_test_total 7\n"), std::string::npos) << metrics.body;
  const auto stats = ask("GET", "/stats.json");
  EXPECT_EQ(stats.status, 200);
  EXPECT_NE(stats.body.find("\"segue_test_total\":7"), std::string::npos) << stats.body;
  const auto head = ask("HEAD", "/metrics");
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.body.empty());
}

TEST_F(AdminHandlerTest, ReadinessFollowsTheNodeAndDrainEndsIt) {
  EXPECT_EQ(ask("GET", "/live").status, 200);
  const auto ready = ask("GET", "/ready");
  EXPECT_EQ(ready.status, 200);
  EXPECT_EQ(ready.body, "{\"ready\":true,\"reason\":\"serving\"}\n");
  EXPECT_EQ(ask("POST", "/drain").status, 202);
  const auto after = ask("GET", "/ready");
  EXPECT_EQ(after.status, 503);
  EXPECT_EQ(after.body, "{\"ready\":false,\"reason\":\"draining\"}\n");
  EXPECT_EQ(ask("GET", "/live").status, 200);
}

TEST_F(AdminHandlerTest, OnlyKnownHostsAreAnswered) {
  for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1:9090", "[::1]:9090",
                           "admin.example", "ADMIN.example:80"}) {
    EXPECT_EQ(ask("GET", "/live", "Host: " + std::string(host) + "\r\n").status, 200) << host;
  }
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.2", "[::2]"}) {
    EXPECT_EQ(ask("GET", "/live", "Host: " + std::string(host) + "\r\n").status, 421) << host;
  }
  EXPECT_EQ(admin->counters().refused_hosts.get(), 4U);
}

TEST_F(AdminHandlerTest, APageOfAnotherOriginCannotAsk) {
  // Another port of this host is another program's page.
  for (const char* origin : {"https://evil.example", "null", "http://localhost.evil.example",
                             "http://localhost:3000", "http://localhost"}) {
    const std::string fields = "Host: localhost:9090\r\nOrigin: " + std::string(origin) + "\r\n";
    EXPECT_EQ(ask("POST", "/drain", fields).status, 403) << origin;
  }
  EXPECT_FALSE(node.draining);
  EXPECT_EQ(
      ask("POST", "/drain", "Host: localhost:9090\r\nOrigin: http://localhost:9090\r\n").status,
      202);
}

TEST_F(AdminHandlerTest, MethodsAndPathsAreChecked) {
  const auto get = ask("GET", "/purge");
  EXPECT_EQ(get.status, 405);
  EXPECT_NE(get.head.find("Allow: POST\r\n"), std::string::npos);
  const auto post = ask("POST", "/metrics");
  EXPECT_EQ(post.status, 405);
  EXPECT_NE(post.head.find("Allow: GET, HEAD\r\n"), std::string::npos);
  EXPECT_EQ(ask("GET", "/").status, 200);
  EXPECT_EQ(ask("GET", "/page.html").status, 404);
  EXPECT_EQ(ask("GET", "/metrics/").status, 404);
  EXPECT_EQ(ask("OPTIONS", "*").status, 404);
}

TEST_F(AdminHandlerTest, APurgeIsWhatTheBodySays) {
  const auto done = ask("POST", "/purge", "Host: localhost\r\n",
                        R"({"url":"https://a.example/t/1","soft":true,"cut":true})");
  EXPECT_EQ(done.status, 200);
  EXPECT_EQ(done.body, "{\"purged\":true,\"sequence\":42}\n");
  EXPECT_EQ(
      ask("POST", "/purge", "Host: localhost\r\n", R"({"prefix":"https://a.example/t/"})").status,
      200);
  EXPECT_EQ(ask("POST", "/purge", "Host: localhost\r\n", R"({"everything":true})").status, 200);
  EXPECT_EQ(ask("POST", "/purge?url=https%3A%2F%2Fa.example%2Ft%2F2&soft=1").status, 200);
  ASSERT_EQ(node.purges.size(), 4U);
  EXPECT_EQ(node.purges[0].target, PurgeTarget::Url);
  EXPECT_EQ(node.purges[0].text, "https://a.example/t/1");
  EXPECT_TRUE(node.purges[0].soft);
  EXPECT_TRUE(node.purges[0].cut);
  EXPECT_EQ(node.purges[1].target, PurgeTarget::Prefix);
  EXPECT_FALSE(node.purges[1].soft);
  EXPECT_FALSE(node.purges[1].cut);
  EXPECT_EQ(node.purges[2].target, PurgeTarget::Everything);
  EXPECT_EQ(node.purges[3].text, "https://a.example/t/2");
  EXPECT_TRUE(node.purges[3].soft);
}

TEST_F(AdminHandlerTest, NonsenseIsRefusedWithAReasonAndPurgesNothing) {
  for (const char* body :
       {"", "{", "[]", "true", R"({"url":1})", R"({"url":""})", R"({"soft":true})",
        R"({"url":"a","prefix":"b"})", R"({"url":"a","url":"b"})", R"({"everything":false})",
        R"({"everything":"true"})", R"({"url":"a","everything":true})",
        R"({"url":"a","sotf":true})", R"({"url":"a","soft":1})",
        R"({"url":"a","soft":true,"soft":false})", R"({"url":"a"} x)", "{\"url\":\"\xff\"}"}) {
    const auto refused = ask("POST", "/purge", "Host: localhost\r\n", body);
    EXPECT_EQ(refused.status, 400) << body;
    EXPECT_TRUE(refused.body.starts_with("{\"error\":\"")) << refused.body;
  }
  const std::string too_long = R"({"url":")" + std::string(kKeyBytesMax + 1, 'a') + "\"}";
  EXPECT_EQ(ask("POST", "/purge", "Host: localhost\r\n", too_long).status, 400);
  for (const char* query : {"?", "?url", "?url=", "?url=%", "?url=%4", "?url=%zz", "?url=%00",
                            "?url=a&soft=yes", "?url=a&x=1", "?everything=0", "?url=a&url=b"}) {
    EXPECT_EQ(ask("POST", "/purge" + std::string(query)).status, 400) << query;
  }
  EXPECT_TRUE(node.purges.empty());
}

TEST_F(AdminHandlerTest, AKeyAtTheLimitIsTaken) {
  const std::string body = R"({"url":")" + std::string(kKeyBytesMax, 'a') + "\"}";
  EXPECT_EQ(ask("POST", "/purge", "Host: localhost\r\n", body).status, 200);
}

TEST_F(AdminHandlerTest, BodiesAreTakenUpToTheLimit) {
  const std::string fill(kAdminBodyBytesMax - std::string_view(R"({"everything":true})").size(),
                         ' ');
  EXPECT_EQ(ask("POST", "/purge", "Host: localhost\r\n", R"({"everything":true})" + fill).status,
            200);
  EXPECT_EQ(
      ask("POST", "/purge", "Host: localhost\r\n", R"({"everything":true})" + fill + " ").status,
      413);
}

TEST_F(AdminHandlerTest, TheNodesErrorsAreTold) {
  const auto purge = [&] {
    return ask("POST", "/purge", "Host: localhost\r\n", R"({"everything":true})");
  };
  node.error = Error{Side::Self, Kind::Full, false, 0, "the table of prefixes is full"};
  const auto full = purge();
  EXPECT_EQ(full.status, 503);
  EXPECT_NE(full.head.find("Retry-After: 1\r\n"), std::string::npos);
  node.error = Error{Side::Client, Kind::NotFound, false, 0, "no such site"};
  EXPECT_EQ(purge().status, 400);
  EXPECT_EQ(ask("GET", "/explain?url=x").body, "{\"error\":\"no such site\"}\n");
  node.error = Error{Side::Disk, Kind::IoError, false, 5, "journal"};
  EXPECT_EQ(purge().status, 500);
}

TEST_F(AdminHandlerTest, ExplainDecodesItsUrl) {
  const auto told = ask("GET", "/explain?url=https%3A%2F%2Fa.example%2Ft%3Fa%3D1%26b");
  EXPECT_EQ(told.status, 200);
  EXPECT_EQ(told.body, "about https://a.example/t?a=1&b\n");
  EXPECT_EQ(ask("GET", "/explain").status, 400);
  EXPECT_EQ(ask("GET", "/explain?url=").status, 400);
  EXPECT_EQ(ask("GET", "/explain?url=%0d").status, 400);
}

TEST_F(AdminHandlerTest, ALargeAnswerArrivesWhole) {
  for (int i = 0; i < 3000; ++i) {
    registry.add_counter("segue_many_total", "Many.", {{"n", std::to_string(i)}}, counted);
  }
  TestClient client = connect_pair(true);
  const auto response =
      parse_response(exchange(client, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_GT(response.body.size(), 80000U);
  EXPECT_NE(response.body.find("segue_many_total{n=\"2999\"} 7\n"), std::string::npos);
  EXPECT_TRUE(response.body.ends_with("\n"));
}

TEST_F(AdminHandlerTest, WhileAllItMayAnswerAtOnceIsUnderWayTheNextIsTold503) {
  for (int i = 0; i < 3000; ++i) {
    registry.add_counter("segue_many_total", "Many.", {{"n", std::to_string(i)}}, counted);
  }
  AdminHandler narrow(*loop, registry, node, {.hosts = {}, .requests_max = 1});
  answering = &narrow;
  TestClient slow = connect_pair(true);
  slow.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  turns();
  const auto refused = ask("GET", "/live");
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.head.find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_GT(parse_response(exchange(slow, "")).body.size(), 80000U);
  EXPECT_EQ(ask("GET", "/live").status, 200);
  const Loop::Turn turn(*loop);
  EXPECT_TRUE(ending->try_spawn(server->drain(std::chrono::nanoseconds{0})));
  turns(20);
  server.reset();
}

TEST(PurgeMessage, IsAPurgeWithAnEnvelope) {
  const auto tag = parse_purge_message(R"({"v":1,"op":"purge","tag":"album-9","soft":true})");
  ASSERT_TRUE(tag.has_value()) << tag.error();
  EXPECT_EQ(tag->target, PurgeTarget::Tag);
  EXPECT_EQ(tag->text, "album-9");
  EXPECT_TRUE(tag->soft);
  EXPECT_FALSE(tag->cut);
  const auto all = parse_purge_message(R"({"everything":true,"op":"purge"})");
  ASSERT_TRUE(all.has_value()) << all.error();
  EXPECT_EQ(all->target, PurgeTarget::Everything);
}

TEST(PurgeMessage, WhatIsNotMeantAsOnePurgesNothing) {
  const auto mistake = [](std::string_view json) {
    const auto read = parse_purge_message(json);
    return read ? std::string() : read.error();
  };
  EXPECT_EQ(mistake(R"({"everything":true})"), "op is missing; allowed: \"purge\"");
  EXPECT_EQ(mistake(R"({"op":"set","everything":true})"), "op is no purge");
  EXPECT_EQ(mistake(R"({"op":1,"everything":true})"), "op is no purge");
  EXPECT_TRUE(mistake(R"({"v":2,"op":"purge","everything":true})").contains("v is not 1"));
  EXPECT_TRUE(mistake(R"({"v":"1","op":"purge","everything":true})").contains("v is not 1"));
  EXPECT_TRUE(mistake(R"({"op":"purge"})").contains("give one of"));
  EXPECT_TRUE(mistake(R"({"op":"purge","url":"/a","tag":"b"})").contains("give one of"));
  EXPECT_TRUE(mistake(R"({"op":"purge","url":"/a","session":"s"})").contains("unknown member"));
  EXPECT_TRUE(mistake("[]").contains("no JSON object"));
  EXPECT_TRUE(mistake("").contains("no JSON"));
  // A body of POST /purge has no envelope.
  EXPECT_FALSE(parse_purge_body(R"({"op":"purge","url":"/a"})").has_value());
}

}  // namespace
}  // namespace segue::edge
