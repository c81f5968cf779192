// Goal: settings that cannot work are refused at start, and addresses mean one thing.
#include "origin/options.h"

#include <gtest/gtest.h>

#include <string>

#include "origin/make_fetcher.h"

namespace segue::origin {
namespace {

TEST(ParseServer, TakesEveryFormOfAnAddress) {
  const auto plain = parse_server("http://Origin.Example");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "origin.example");
  EXPECT_EQ(plain->port, 80);
  EXPECT_FALSE(plain->tls);
  EXPECT_FALSE(plain->ip_literal);
  EXPECT_EQ(plain->authority(), "origin.example");
  const auto full = parse_server("HTTPS://origin.example:8443/a/b/");
  ASSERT_TRUE(full);
  EXPECT_TRUE(full->tls);
  EXPECT_EQ(full->port, 8443);
  EXPECT_EQ(full->base_path, "/a/b");
  EXPECT_EQ(full->url(), "https://origin.example:8443");
  const auto v4 = parse_server("http://192.0.2.1:80/");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->ip_literal);
  EXPECT_EQ(v4->authority(), "192.0.2.1");
  const auto v6 = parse_server("https://[2001:db8::1]:444");
  ASSERT_TRUE(v6);
  EXPECT_TRUE(v6->ip_literal);
  EXPECT_EQ(v6->host, "2001:db8::1");
  EXPECT_EQ(v6->authority(), "[2001:db8::1]:444");
}

TEST(ParseServer, RefusesWhatIsNoAddress) {
  for (const char* url : {"",
                          "origin.example",
                          "ftp://origin.example",
                          "file:///etc/passwd",
                          "http://",
                          "http:///t",
                          "http://a b",
                          "http://u@host",
                          "http://u:p@host",
                          "http://host:",
                          "http://host:0",
                          "http://host:65536",
                          "http://host:+80",
                          "http://host:8x",
                          "http://host?q",
                          "http://host/?q",
                          "http://host/#f",
                          "http://[::1",
                          "http://[::1]x",
                          "http://[nonsense]",
                          "http://::1",
                          "http://host/a b",
                          "http://host/a\\b",
                          "http://h\xC3\xB6st"}) {
    EXPECT_FALSE(parse_server(url)) << url;
  }
}

TEST(OriginOptions, EachBadSettingIsNamed) {
  OriginOptions good;
  good.servers = {"http://a.example", "https://b.example"};
  ASSERT_TRUE(good.validate());
  const auto refused = [&good](auto change) {
    OriginOptions options = good;
    change(options);
    const auto valid = options.validate();
    return valid ? std::string() : std::string(valid.error().where);
  };
  using Options = OriginOptions;
  using std::chrono::milliseconds;
  EXPECT_EQ(refused([](Options& o) { o.servers.clear(); }), "servers");
  EXPECT_EQ(refused([](Options& o) { o.servers.assign(16, "http://a.example"); }), "");
  EXPECT_EQ(refused([](Options& o) { o.servers.assign(17, "http://a.example"); }), "servers");
  EXPECT_EQ(refused([](Options& o) { o.servers = {"dir:"}; }), "servers");
  EXPECT_EQ(refused([](Options& o) { o.servers = {"dir:/a", "http://a.example"}; }), "servers");
  EXPECT_EQ(refused([](Options& o) { o.servers = {"dir:/a"}; }), "");
  EXPECT_EQ(refused([](Options& o) { o.timeout.connect = milliseconds{0}; }), "timeout");
  EXPECT_EQ(refused([](Options& o) { o.timeout.idle = milliseconds{-1}; }), "timeout");
  EXPECT_EQ(refused([](Options& o) { o.timeout.total = std::chrono::hours{1}; }), "timeout");
  EXPECT_EQ(refused([](Options& o) { o.breaker_failures = 0; }), "breaker");
  EXPECT_EQ(refused([](Options& o) { o.breaker_open_for = milliseconds{0}; }), "breaker");
  EXPECT_EQ(refused([](Options& o) { o.fetches_max = 0; }), "fetches_max");
  EXPECT_EQ(refused([](Options& o) { o.fetches_max = kOriginConnectionsPerLoopMax; }), "");
  EXPECT_EQ(refused([](Options& o) { o.fetches_max = kOriginConnectionsPerLoopMax + 1; }),
            "fetches_max");
  EXPECT_EQ(refused([](Options& o) { o.idle_connections_max = 100'000; }), "idle_connections_max");
  EXPECT_EQ(refused([](Options& o) { o.name_ttl_max = std::chrono::seconds{0}; }), "name_ttl_max");
  EXPECT_EQ(refused([](Options& o) { o.redirect_hosts = {"c.example", "[::1]:80"}; }), "");
  EXPECT_EQ(refused([](Options& o) { o.redirect_hosts = {"http://c.example"}; }), "redirect_hosts");
  EXPECT_EQ(refused([](Options& o) { o.user_agent = "a\r\nX: y"; }), "user_agent");
  EXPECT_EQ(refused([](Options& o) { o.node_name = "a b"; }), "node_name");
  EXPECT_EQ(refused([](Options& o) { o.node_name = ""; }), "node_name");
}

}  // namespace
}  // namespace segue::origin
