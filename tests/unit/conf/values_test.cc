// The values of single settings: each rule's good cases, and what it must refuse.
#include "conf/values.h"

#include <gtest/gtest.h>

namespace segue::conf {
namespace {

TEST(ParseAddress, ReadsIpv4) {
  const auto address = parse_address("0.0.0.0:443");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->ip, "0.0.0.0");
  EXPECT_EQ(address->port, 443);
  EXPECT_FALSE(address->is_ipv6);
  EXPECT_FALSE(address->is_unix());
}

TEST(ParseAddress, ReadsIpv6InBrackets) {
  const auto address = parse_address("[::1]:8080");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->ip, "::1");
  EXPECT_TRUE(address->is_ipv6);
}

TEST(ParseAddress, ReadsAUnixSocketUpToTheKernelsLength) {
  const auto address = parse_address("unix:/run/segue/admin.sock");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->unix_path, "/run/segue/admin.sock");
  EXPECT_TRUE(address->is_unix());
  EXPECT_TRUE(parse_address("unix:" + std::string(107, 'a')));
  EXPECT_FALSE(parse_address("unix:" + std::string(108, 'a')));
}

TEST(ParseAddress, RefusesNamesMissingPortsAndBarePorts) {
  for (const char* text : {"", "localhost:80", "127.0.0.1", ":80", "::1:80", "[::1]", "1.2.3.4:",
                           "1.2.3.4:65536", "1.2.3.4:80x", "unix:", "[1.2.3.4]:80", "1.2.3:80"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(ParseServer, ReadsSchemeHostPortAndBasePath) {
  const auto server = parse_server("https://Origin-A.example:8443/music/v1/");
  ASSERT_TRUE(server);
  EXPECT_EQ(server->scheme, Server::Scheme::Https);
  EXPECT_EQ(server->host, "origin-a.example");
  EXPECT_EQ(server->port, 8443);
  EXPECT_EQ(server->base_path, "/music/v1");
}

TEST(ParseServer, KnowsTheDefaultPorts) {
  EXPECT_EQ(parse_server("http://a.example")->port, 80);
  EXPECT_EQ(parse_server("https://a.example/")->port, 443);
  EXPECT_EQ(parse_server("https://a.example/")->base_path, "");
}

TEST(ParseServer, ReadsAnIpv6Host) {
  const auto server = parse_server("http://[::1]:9000");
  ASSERT_TRUE(server);
  EXPECT_EQ(server->host, "::1");
  EXPECT_EQ(server->port, 9000);
}

TEST(ParseServer, ReadsAFolder) {
  const auto server = parse_server("dir:/srv/my music");
  ASSERT_TRUE(server);
  EXPECT_EQ(server->scheme, Server::Scheme::Directory);
  EXPECT_EQ(server->directory, "/srv/my music");
}

TEST(ParseServer, RefusesWhatCouldMeanSomethingElse) {
  for (const char* text :
       {"", "origin.example", "ftp://a.example", "http://", "http://user@a.example",
        "http://a.example?x", "http://a.example/#f", "http://a.example:0", "http://a.example:port",
        "http://a.example/a/../b", "http://a.example/..", "http://a.example//b", "http://a b",
        "http://[::1", "http://[a.example]", "dir:", "http://a..b", "http://a.example/%2e"}) {
    EXPECT_FALSE(parse_server(text)) << text;
  }
}

TEST(ParseNodeName, IsATokenThatStartsWithALetter) {
  EXPECT_TRUE(parse_node_name("fra1-03"));
  EXPECT_TRUE(parse_node_name(std::string(64, 'a')));
  for (const std::string& text : {std::string(), std::string("3a"), std::string("a b"),
                                  std::string("a;b"), std::string(65, 'a')}) {
    EXPECT_FALSE(parse_node_name(text)) << text;
  }
}

TEST(ParseHost, LowersNamesAndRefusesPortsAndWildcards) {
  EXPECT_EQ(parse_host("Audio.Example.COM"), "audio.example.com");
  EXPECT_EQ(parse_host("[2001:DB8::1]"), "[2001:db8::1]");
  EXPECT_EQ(parse_site_host("*"), "*");
  EXPECT_TRUE(parse_host(std::string(63, 'a')));
  for (const std::string& text : {std::string("a:80"), std::string("*.example"), std::string(""),
                                  std::string("a/b"), std::string(64, 'a'), std::string("a.")}) {
    EXPECT_FALSE(parse_site_host(text)) << text;
  }
}

TEST(ParseFieldName, RefusesWhatSegueMakesItselfOrAConnectionOwns) {
  EXPECT_EQ(parse_field_name("Authorization"), "authorization");
  for (const char* text : {"Host", "range", "Connection", "cookie", "via", "bad name", "", "a:b"}) {
    EXPECT_FALSE(parse_field_name(text)) << text;
  }
}

TEST(ParseCors, IsAnOriginAStarOrOff) {
  EXPECT_EQ(parse_cors("*"), "*");
  EXPECT_EQ(parse_cors("off"), "");
  EXPECT_EQ(parse_cors("https://player.example:8443"), "https://player.example:8443");
  for (const char* text : {"", "player.example", "https://player.example/", "https://a.example/x",
                           "dir:/x", "https://a.example https://b.example"}) {
    EXPECT_FALSE(parse_cors(text)) << text;
  }
}

TEST(ParsePath, RefusesNothingAndNul) {
  EXPECT_TRUE(parse_path("/srv/music"));
  EXPECT_FALSE(parse_path(""));
  EXPECT_FALSE(parse_path(std::string_view("a\0b", 3)));
}

TEST(ParseNatsServer, HasAPortAndNoSecrets) {
  const auto plain = parse_nats_server("nats://NATS-a.example");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->text, "nats://nats-a.example:4222");
  EXPECT_FALSE(plain->tls);
  const auto tls = parse_nats_server("tls://[::1]:4443");
  ASSERT_TRUE(tls);
  EXPECT_EQ(tls->text, "tls://[::1]:4443");
  EXPECT_TRUE(tls->tls);
  for (const char* text : {"", "nats://", "nats.example", "http://a", "nats://u:p@a", "nats://a/b",
                           "nats://a:0", "nats://a:65536", "nats://::1", "nats://a b"}) {
    EXPECT_FALSE(parse_nats_server(text)) << text;
  }
}

TEST(ParseNatsSubject, IsTokensBetweenDots) {
  for (const std::string& text :
       {std::string("feed"), std::string("segue.feed.eu-1"), std::string("segue.*.feed"),
        std::string("segue.>"), std::string(255, 'a')}) {
    EXPECT_TRUE(parse_nats_subject(text)) << text;
  }
  for (const std::string& text :
       {std::string(), std::string("."), std::string("a."), std::string(".a"), std::string("a..b"),
        std::string("a b"), std::string("a\tb"), std::string("a.>.b"), std::string("a*"),
        std::string("$JS.API.>"), std::string("f\xC3\xA9"), std::string(256, 'a')}) {
    EXPECT_FALSE(parse_nats_subject(text)) << text;
  }
}

TEST(ParseNatsName, IsNoPath) {
  EXPECT_TRUE(parse_nats_name("fra1-03_B"));
  EXPECT_TRUE(parse_nats_name(std::string(64, 'a')));
  for (const std::string& text : {std::string(), std::string("a.b"), std::string("*"),
                                  std::string("a b"), std::string(65, 'a')}) {
    EXPECT_FALSE(parse_nats_name(text)) << text;
  }
}

}  // namespace
}  // namespace segue::conf
