// segue.toml to Settings: every key arrives, and every mistake is told with its line, its key and
// what is allowed.
#include "conf/parse_toml.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace segue::conf {
namespace {

struct Parsed {
  Settings settings;
  std::vector<Mistake> mistakes;
};

Parsed parse(std::string_view text) {
  Mistakes mistakes("segue.toml");
  Settings settings = parse_toml(text, mistakes);
  return {std::move(settings), mistakes.take()};
}

std::string only_mistake(std::string_view text) {
  const Parsed parsed = parse(text);
  EXPECT_EQ(parsed.mistakes.size(), 1U) << text;
  return parsed.mistakes.empty() ? "" : parsed.mistakes.front().line();
}

TEST(ParseToml, AnEmptyFileIsTheDefaults) {
  const Parsed parsed = parse("");
  EXPECT_TRUE(parsed.mistakes.empty());
  EXPECT_EQ(parsed.settings.node.ram_bytes, GiB);
  EXPECT_TRUE(parsed.settings.sites.empty());
  EXPECT_FALSE(parsed.settings.admin);
}

TEST(ParseToml, ReadsNodeListenAndAdmin) {
  const Parsed parsed = parse(R"(
[node]
name = "fra1-03"
ram = "24GiB"
threads = 8
io = "threads"
[[listen]]
addr = ["0.0.0.0:8080", "[::]:8080"]
tls = false
[[listen]]
addr = "unix:/run/segue/http.sock"
[admin]
listen = "unix:/run/segue/admin.sock"
)");
  ASSERT_TRUE(parsed.mistakes.empty()) << parsed.mistakes.front().line();
  EXPECT_EQ(parsed.settings.node.name, "fra1-03");
  EXPECT_EQ(parsed.settings.node.ram_bytes, 24 * GiB);
  EXPECT_EQ(parsed.settings.node.threads, 8U);
  EXPECT_EQ(parsed.settings.node.io, IoBackend::Threads);
  ASSERT_EQ(parsed.settings.listen.size(), 3U);
  EXPECT_TRUE(parsed.settings.listen[1].is_ipv6);
  EXPECT_EQ(parsed.settings.listen[2].unix_path, "/run/segue/http.sock");
  ASSERT_TRUE(parsed.settings.admin);
  EXPECT_EQ(parsed.settings.admin->unix_path, "/run/segue/admin.sock");
}

TEST(ParseToml, ReadsCacheAndDrives) {
  const Parsed parsed = parse(R"(
[cache]
policy = "s3fifo"
size = "20GiB"
ram_shares = { 16KiB = 10, 128KiB = 60, 256KiB = 30 }
[[cache.drive]]
path = "/var/cache/segue"
sparse = true
[[cache.drive]]
path = "/dev/nvme1n1"
size = "1TB"
writes_per_day = "4TB"
shares = { 128KiB = 90, 256KiB = 10 }
)");
  ASSERT_TRUE(parsed.mistakes.empty()) << parsed.mistakes.front().line();
  const CacheSettings& cache = parsed.settings.cache;
  EXPECT_EQ(cache.policy, CachePolicy::S3Fifo);
  EXPECT_EQ(cache.size_bytes, 20 * GiB);
  ASSERT_EQ(cache.drives.size(), 2U);
  EXPECT_TRUE(cache.drives[0].sparse);
  EXPECT_EQ(cache.drives[0].size_bytes, 0U);
  EXPECT_EQ(cache.drives[1].size_bytes, 1'000'000'000'000U);
  EXPECT_EQ(cache.drives[1].writes_bytes_per_day, 4'000'000'000'000U);
  EXPECT_EQ(cache.ram_shares.small, 10U);
  EXPECT_EQ(cache.ram_shares.k64, 0U);
  EXPECT_EQ(cache.ram_shares.k128, 60U);
  EXPECT_EQ(cache.drives[0].shares.k256, 80U);
  EXPECT_EQ(cache.drives[1].shares.k64, 0U);
  EXPECT_EQ(cache.drives[1].shares.k128, 90U);
}

TEST(ParseToml, ReadsAnOrigin) {
  const Parsed parsed = parse(R"(
[origin.store]
servers = ["https://origin-a.example", "http://origin-b.example:8080/music"]
timeout = { connect = "2s", first_byte = "4s", idle = "7s", total = "9s" }
retries = 1
ca = "/etc/ca.pem"
validator = "mtime"
redirects = ["media.example.com"]
breaker = { failures = 3, open_for = "30s" }
)");
  ASSERT_TRUE(parsed.mistakes.empty()) << parsed.mistakes.front().line();
  ASSERT_EQ(parsed.settings.origins.size(), 1U);
  const OriginSettings& origin = parsed.settings.origins[0];
  EXPECT_EQ(origin.name, "store");
  ASSERT_EQ(origin.servers.size(), 2U);
  EXPECT_EQ(origin.servers[1].base_path, "/music");
  EXPECT_EQ(origin.timeout.connect, milliseconds{2000});
  EXPECT_EQ(origin.timeout.first_byte, milliseconds{4000});
  EXPECT_EQ(origin.timeout.idle, milliseconds{7000});
  EXPECT_EQ(origin.timeout.total, milliseconds{9000});
  EXPECT_EQ(origin.retries, 1U);
  EXPECT_EQ(origin.ca, "/etc/ca.pem");
  EXPECT_EQ(origin.validator, ValidatorRule::Mtime);
  EXPECT_EQ(origin.redirect_hosts, std::vector<std::string>{"media.example.com"});
  EXPECT_EQ(origin.breaker.failures, 3U);
  EXPECT_EQ(origin.breaker.open_for, milliseconds{30'000});
}

TEST(ParseToml, ReadsASite) {
  const Parsed parsed = parse(R"(
[[site]]
name = "music"
hosts = ["Audio.example.com", "*"]
origin = "store"
query = ["v", "quality"]
forward = ["Authorization"]
cors = "https://player.example"
[site.ttl]
default = "24h"
negative = "10s"
override = "1h"
stale_if_error = "1d"
stale_while_revalidate = "30s"
[log]
access = "/var/log/segue/access.ndjson"
level = "warning"
)");
  ASSERT_TRUE(parsed.mistakes.empty()) << parsed.mistakes.front().line();
  ASSERT_EQ(parsed.settings.sites.size(), 1U);
  const SiteSettings& site = parsed.settings.sites[0];
  EXPECT_EQ(site.hosts, (std::vector<std::string>{"audio.example.com", "*"}));
  EXPECT_EQ(site.origin, "store");
  EXPECT_EQ(site.query, QueryMode::Listed);
  EXPECT_EQ(site.query_names, (std::vector<std::string>{"v", "quality"}));
  EXPECT_EQ(site.forward, std::vector<std::string>{"authorization"});
  EXPECT_EQ(site.cors, std::vector<std::string>{"https://player.example"});
  EXPECT_EQ(site.ttl.default_lifetime, std::chrono::hours{24});
  EXPECT_EQ(site.ttl.negative, milliseconds{10'000});
  EXPECT_EQ(site.ttl.override_lifetime, std::chrono::hours{1});
  EXPECT_EQ(site.ttl.stale_if_error, std::chrono::hours{24});
  EXPECT_EQ(site.ttl.stale_while_revalidate, milliseconds{30'000});
  EXPECT_EQ(parsed.settings.log.access, "/var/log/segue/access.ndjson");
  EXPECT_EQ(parsed.settings.log.level, LogLevel::Warning);
}

TEST(ParseToml, QueryWordsAreKeepAndDrop) {
  const auto query = [](std::string_view word) {
    const Parsed parsed = parse("[[site]]\nname='a'\nhosts='*'\nquery='" + std::string(word) + "'");
    EXPECT_TRUE(parsed.mistakes.empty());
    return parsed.settings.sites.at(0).query;
  };
  EXPECT_EQ(query("keep"), QueryMode::Keep);
  EXPECT_EQ(query("drop"), QueryMode::Drop);
  EXPECT_EQ(
      only_mistake("[[site]]\nname='a'\nhosts='*'\nquery='some'"),
      "segue.toml:4: site[0].query: \"some\" is not allowed here; allowed: \"keep\", \"drop\", "
      "or a list of the names that stay such as [\"v\"]");
}

TEST(ParseToml, AnUnknownKeyIsAMistakeWithTheNearestKnownOne) {
  EXPECT_EQ(only_mistake("[node]\nname = \"a\"\nrma = \"1GiB\"\n"),
            "segue.toml:3: node.rma: unknown key (did you mean \"ram\"?); allowed: name, ram, "
            "threads, connections, io, drain, retire");
  EXPECT_EQ(
      only_mistake("[caches]\n"),
      "segue.toml:1: caches: unknown key (did you mean \"cache\"?); allowed: node, listen, tls, "
      "admin, cache, origin, site, limits, prefetch, log, listens");
}

TEST(ParseToml, AnUnknownKeyFarFromAllGetsNoGuess) {
  EXPECT_EQ(only_mistake("[log]\nzzzzzz = 1\n"),
            "segue.toml:2: log.zzzzzz: unknown key; allowed: access, sample, level");
}

TEST(ParseToml, AWrongValueNamesWhatIsAllowed) {
  EXPECT_EQ(only_mistake("[node]\nio = \"epoll\"\n"),
            "segue.toml:2: node.io: \"epoll\" is not allowed here; allowed: \"auto\", \"uring\" or "
            "\"threads\"");
  EXPECT_EQ(only_mistake("[node]\nthreads = -1\n"),
            "segue.toml:2: node.threads: -1 is not allowed here; allowed: a whole number from 0 to "
            "64");
}

TEST(ParseToml, AnOriginWithDotsInItsNameHasTheRangesOfAnyOther) {
  EXPECT_TRUE(only_mistake("[origin.\"a.b\"]\nfetches = 257\n")
                  .contains("origin.a.b.fetches: 257 is not allowed here; allowed: a whole number "
                            "from 1 to 256"));
  EXPECT_TRUE(only_mistake("[origin.\"a.b\".timeout]\nidle = \"0\"\n").contains("1ms to 3650d"));
  EXPECT_EQ(
      parse("[origin.\"a.b\".breaker]\nfailures = 7\n").settings.origins.at(0).breaker.failures,
      7U);
}

TEST(ParseToml, AWrongTypeIsToldAsWhatItIs) {
  EXPECT_TRUE(only_mistake("[node]\nram = true\n").contains("true or false is not allowed here"));
  EXPECT_TRUE(only_mistake("node = 3\n").contains("segue.toml:1: node: 3 is not allowed here"));
  EXPECT_TRUE(only_mistake("listen = 3\n").contains("each begun by [[listen]]"));
  EXPECT_TRUE(only_mistake("site = [3]\n").contains("site[0]: 3 is not allowed here"));
  EXPECT_TRUE(only_mistake("[[cache.drive]]\npath='/x'\nsparse = \"yes\"\n")
                  .contains("allowed: true or false"));
}

TEST(ParseToml, TlsIsOfAListenerAndItsCertificatesOfAll) {
  const Parsed parsed = parse(R"([[listen]]
addr = ["0.0.0.0:443", "[::]:443"]
tls = true
client_ca = "/ca.pem"
[tls]
min_version = "1.3"
unknown_name = "refuse"
ticket_keys = "/tickets"
[[tls.certificate]]
chain = "/a.pem"
key = "/a.key"
[[tls.certificate]]
chain = "/b.pem"
key = "/b.key"
ocsp = "/b.der"
)");
  ASSERT_TRUE(parsed.mistakes.empty());
  ASSERT_EQ(parsed.settings.listen.size(), 2U);
  EXPECT_TRUE(parsed.settings.listen[1].tls);
  EXPECT_EQ(parsed.settings.listen[1].client_ca, "/ca.pem");
  EXPECT_FALSE(parsed.settings.tls.tls12);
  EXPECT_TRUE(parsed.settings.tls.refuse_unknown_names);
  EXPECT_EQ(parsed.settings.tls.ticket_keys, "/tickets");
  ASSERT_EQ(parsed.settings.tls.certificates.size(), 2U);
  EXPECT_EQ(parsed.settings.tls.certificates[0].ocsp, "");
  EXPECT_EQ(parsed.settings.tls.certificates[1].key, "/b.key");
  EXPECT_EQ(parsed.settings.tls.certificates[1].ocsp, "/b.der");
}

TEST(ParseToml, MistakesInTlsAreNamed) {
  EXPECT_TRUE(only_mistake("[[tls.certificate]]\nchain = '/a.pem'\n")
                  .contains("tls.certificate[0]: key is missing"));
  EXPECT_TRUE(only_mistake("[tls]\nmin_version = '1.1'\n").contains("allowed: \"1.2\" or \"1.3\""));
  EXPECT_TRUE(
      only_mistake("[tls]\nunknown_name = 'x'\n").contains("allowed: \"default\" or \"refuse\""));
  EXPECT_TRUE(only_mistake("[[listen]]\naddr = '[::]:80'\nclient_ca = '/ca.pem'\n")
                  .contains("listen[0].client_ca: certificates of clients need tls = true"));
}

TEST(ParseToml, EveryMistakeOfAFileIsReportedInTheOrderOfItsLines) {
  const Parsed parsed = parse(R"([node]
ram = "lots"
[[listen]]
addr = ["localhost:80", "0.0.0.0:80"]
[[cache.drive]]
size = "4XB"
[origin.a]
servers = ["gopher://x"]
retries = 11
[[site]]
hosts = ["a:80"]
colour = "red"
)");
  std::vector<uint32_t> lines;
  lines.reserve(parsed.mistakes.size());
  for (const Mistake& mistake : parsed.mistakes) lines.push_back(mistake.place.line);
  // 5: no path; 10: no name.
  EXPECT_EQ(lines, (std::vector<uint32_t>{2, 4, 5, 6, 8, 9, 10, 11, 12}));
}

TEST(ParseToml, ASyntaxErrorNamesItsLine) {
  const std::string line = only_mistake("[node]\nname = \"a\nram = 1\n");
  EXPECT_TRUE(line.starts_with("segue.toml:2: ")) << line;
}

TEST(ParseToml, ALineThatTomlPlusPlusGivesUpOnIsAMistakeAtItsLine) {
  const std::string not_toml = ": toml: this is not TOML; allowed: [table], key = value, # comment";
  EXPECT_EQ(only_mistake("[node]\nthreads = 1\n[\nlater = 1\n"), "segue.toml:3" + not_toml);
}

TEST(ParseToml, LettersOutsideAsciiStandInStringsAndComments) {
  EXPECT_TRUE(only_mistake("[node]\nname = \u0242\n").starts_with("segue.toml:2: toml: "));
  const Parsed parsed =
      parse("# \u00fc \u0242\n[[cache.drive]]\npath = \"/m\u00fcsli\" # \u00e4\n");
  EXPECT_TRUE(parsed.mistakes.empty()) << parsed.mistakes.front().line();
  EXPECT_EQ(parsed.settings.cache.drives.at(0).path, "/m\u00fcsli");
}

TEST(ParseToml, BytesThatAreNotUtf8AreAMistake) {
  EXPECT_TRUE(only_mistake("[node]\nname = \"\xff\"\n").starts_with("segue.toml:2: toml: "));
}

TEST(ParseToml, AListElementIsNamedByItsIndex) {
  EXPECT_TRUE(only_mistake("[[site]]\nname='a'\nhosts = [\"a.example\", \"b:1\"]\n")
                  .starts_with("segue.toml:3: site[0].hosts[1]: "));
}

TEST(ParseToml, AListThatIsEmptyCountsAsMissing) {
  EXPECT_TRUE(only_mistake("[[listen]]\naddr = []\n").contains("addr is missing"));
}

TEST(ParseToml, ABareNumberIsASizeInBytesButNotADuration) {
  EXPECT_EQ(parse("[node]\nram = 1073741824\n").settings.node.ram_bytes, GiB);
  EXPECT_TRUE(only_mistake("[origin.a]\nservers='dir:/x'\ntimeout = { total = 6 }\n")
                  .contains("origin.a.timeout.total: 6 is not allowed here"));
}

}  // namespace
}  // namespace segue::conf
