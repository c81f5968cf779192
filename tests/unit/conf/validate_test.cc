// What takes more than one value to see: each contradiction is found, and what may be left out is
// filled in.
#include "conf/validate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "conf/load.h"

namespace segue::conf {
namespace {

Machine small_machine(const Settings& settings) {
  std::vector<uint64_t> bytes;
  bytes.reserve(settings.cache.drives.size());
  for (const DriveSettings& drive : settings.cache.drives) {
    bytes.push_back(drive.size_bytes != 0 ? drive.size_bytes : settings.cache.size_bytes);
  }
  return {2, bytes, "fra1-03.example.com"};
}

Loaded loaded(std::string_view text, const Flags& flags = {}) {
  return load_text(text, "segue.toml", flags, small_machine);
}

std::string only_mistake(std::string_view text, const Flags& flags = {}) {
  const Loaded result = loaded(text, flags);
  EXPECT_EQ(result.mistakes.size(), 1U) << text;
  return result.mistakes.empty() ? "" : result.mistakes.front().line();
}

constexpr std::string_view kOrigin = "[origin.store]\nservers = 'dir:/srv/music'\n";
std::string with_origin(std::string_view rest) { return std::string(kOrigin) + std::string(rest); }

TEST(Validate, OneOriginAloneGetsADefaultSiteForAllHosts) {
  const Loaded result = loaded(kOrigin);
  ASSERT_TRUE(result.is_right());
  ASSERT_EQ(result.settings.sites.size(), 1U);
  EXPECT_EQ(result.settings.sites[0].name, "default");
  EXPECT_EQ(result.settings.sites[0].hosts, std::vector<std::string>{"*"});
  EXPECT_EQ(result.settings.sites[0].origin, "store");
}

TEST(Validate, TheNodeIsNamedAfterItsHostAndListensOnLoopback) {
  const Loaded result = loaded(kOrigin);
  EXPECT_EQ(result.settings.node.name, "fra1-03");
  ASSERT_EQ(result.settings.listen.size(), 1U);
  EXPECT_EQ(result.settings.listen[0].text, "127.0.0.1:8080");
}

TEST(Validate, AListenerWithTlsNeedsACertificate) {
  EXPECT_TRUE(only_mistake(with_origin("[[listen]]\naddr = '[::]:443'\ntls = true\n"))
                  .contains("tls: a listener has tls = true; needed: [[tls.certificate]]"));
}

TEST(Validate, AHostNameThatIsNoTokenStillGivesAName) {
  const auto digits = [](const Settings&) { return Machine{1, {}, "3com"}; };
  EXPECT_EQ(load_text(kOrigin, "f", {}, digits).settings.node.name, "node-3com");
  const auto none = [](const Settings&) { return Machine{1, {}, ""}; };
  EXPECT_EQ(load_text(kOrigin, "f", {}, none).settings.node.name, "segue");
}

TEST(Validate, WithoutAnyOriginItSaysHowToGiveOne) {
  EXPECT_EQ(only_mistake(""),
            "segue.toml: origin: no origin; give [origin.NAME] with servers, or --origin "
            "URL|dir:PATH");
}

TEST(Validate, ASiteOfAnUnknownOriginIsToldTheNearest) {
  EXPECT_EQ(only_mistake(with_origin("[[site]]\nname='a'\nhosts='*'\norigin='stor'\n")),
            "segue.toml:6: site[0].origin: no origin \"stor\" (did you mean \"store\"?); allowed: "
            "store");
}

TEST(Validate, SeveralOriginsNeedSitesThatNameThem) {
  const std::string two = with_origin("[origin.other]\nservers='http://o.example'\n");
  EXPECT_TRUE(only_mistake(two).contains("several origins and no [[site]]"));
  EXPECT_TRUE(only_mistake(two + "[[site]]\nname='a'\nhosts='*'\n")
                  .contains("origin is missing; allowed: other, store"));
}

TEST(Validate, AHostBelongsToOneSiteWhateverItsCase) {
  EXPECT_EQ(only_mistake(with_origin("[[site]]\nname='a'\nhosts='x.example'\n"
                                     "[[site]]\nname='b'\nhosts=['y.example','X.example']\n")),
            "segue.toml:8: site[1].hosts[1]: \"x.example\" is already given by site[0].hosts[0]");
}

TEST(Validate, ASiteNameIsGivenOnce) {
  EXPECT_TRUE(only_mistake(with_origin("[[site]]\nname='a'\nhosts='x.example'\n"
                                       "[[site]]\nname='a'\nhosts='y.example'\n"))
                  .contains("site[1].name: \"a\" is already given by site[0].name"));
}

TEST(Validate, TwoDrivesNeverShareAPath) {
  EXPECT_TRUE(only_mistake(with_origin("[[cache.drive]]\npath='/c'\n[[cache.drive]]\npath='/c/'\n"))
                  .contains("segue.toml:6: cache.drive[1].path: \"/c\" is already given"));
}

TEST(Validate, ADriveTooSmallToHoldAnythingIsToldTheLeast) {
  EXPECT_TRUE(only_mistake(with_origin("[[cache.drive]]\npath='/c'\nsize='63MiB'\n"))
                  .contains("cache.drive[0].size: \"63MiB\" is not allowed here; allowed: 64MiB to "
                            "1024TiB"));
  EXPECT_TRUE(loaded(with_origin("[[cache.drive]]\npath='/c'\nsize='64MiB'\n")).is_right());
}

TEST(Validate, SharesAddUpToAHundredAndLeaveRoomForFills) {
  EXPECT_EQ(
      only_mistake(with_origin("[cache]\nram_shares = { 64KiB = 50, 256KiB = 51 }\n")),
      "segue.toml:4: cache.ram_shares: the shares add up to 101; allowed: parts of 100 that add "
      "up to 100 (a class left out has 0)");
  EXPECT_EQ(only_mistake(with_origin("[[cache.drive]]\npath = '/a'\nshares = { 64KiB = 100 }\n")),
            "segue.toml:5: cache.drive[0].shares: 256KiB has no share; allowed: from 1");
  EXPECT_TRUE(only_mistake(with_origin("[[cache.drive]]\npath = '/a'\n"
                                       "shares = { 16KiB = 20, 256KiB = 100 }\n"))
                  .contains("unknown key"));
  const std::string little =
      "[node]\nram = '256MiB'\n[cache]\nram_shares = { 64KiB = 99, 256KiB = 1 }\n";
  EXPECT_TRUE(only_mistake(with_origin(little)).contains("is too little"));
}

TEST(Validate, ABudgetTooSmallIsRefusedWithTheNeededFigureAndThatFigureWorks) {
  const std::string text = with_origin("[[cache.drive]]\npath='/c'\nsize='100GiB'\n[node]\nram=");
  const Loaded result = loaded(text + "'64MiB'\n");
  ASSERT_EQ(result.mistakes.size(), 1U);
  const std::string line = result.mistakes[0].line();
  EXPECT_TRUE(line.starts_with("segue.toml:7: node.ram: 64.0 MiB is too little")) << line;
  const std::string needed = std::to_string(result.plan.needed_bytes / MiB) + "MiB";
  EXPECT_TRUE(line.contains("(" + needed + ")")) << line;
  EXPECT_TRUE(loaded(text + "'" + needed + "'\n").is_right());
}

TEST(Validate, ThreadsAreBoundedByTheLoops) {
  EXPECT_TRUE(loaded(with_origin("[node]\nram='4GiB'\nthreads=" + std::to_string(kLoopsMax) + "\n"))
                  .is_right());
  EXPECT_TRUE(only_mistake(with_origin("[node]\nram='4GiB'\nthreads=" +
                                       std::to_string(kLoopsMax + 1) + "\n"))
                  .contains("node.threads: 65 is not allowed here"));
}

TEST(Validate, TheAdminListenerStaysOnThisMachine) {
  EXPECT_TRUE(loaded(with_origin("[admin]\nlisten='127.0.0.2:9180'\n")).is_right());
  EXPECT_TRUE(loaded(with_origin("[admin]\nlisten='[::1]:9180'\n")).is_right());
  EXPECT_TRUE(loaded(with_origin("[admin]\nlisten='unix:/run/s'\n")).is_right());
  EXPECT_TRUE(only_mistake(with_origin("[admin]\nlisten='0.0.0.0:9180'\n"))
                  .contains("segue.toml:4: admin.listen: \"0.0.0.0:9180\" can be reached"));
}

TEST(Validate, AnAddressIsListenedToOnceButPortZeroAsOftenAsWanted) {
  EXPECT_TRUE(only_mistake(with_origin("[[listen]]\naddr=['127.0.0.1:80','127.0.0.1:80']\n"))
                  .contains("\"127.0.0.1:80\" is already given by listen"));
  EXPECT_TRUE(only_mistake(with_origin("[[listen]]\naddr='127.0.0.1:80'\n"
                                       "[admin]\nlisten='127.0.0.1:80'\n"))
                  .contains("admin.listen"));
  EXPECT_TRUE(loaded(with_origin("[[listen]]\naddr=['127.0.0.1:0','127.0.0.1:0']\n")).is_right());
}

TEST(Validate, AFolderStandsAloneInItsOrigin) {
  EXPECT_TRUE(only_mistake("[origin.a]\nservers=['dir:/x','http://a.example']\n")
                  .contains("origin.a.servers: a dir: server stands alone"));
}

TEST(Validate, AnOriginHasServersEachOnce) {
  EXPECT_TRUE(only_mistake("[origin.a]\nretries=1\n").contains("segue.toml:1: origin.a: servers"));
  EXPECT_TRUE(only_mistake("[origin.a]\nservers=['http://a.example','http://a.example']\n")
                  .contains("origin.a.servers[1]: \"http://a.example\" is already given"));
  EXPECT_EQ(loaded("[origin.a]\nservers='nothing'\n").mistakes.size(), 1U);
}

TEST(Validate, TimeoutsAreNotZeroAndNotMoreThanTheTotal) {
  EXPECT_TRUE(
      only_mistake(with_origin("timeout = { idle = '0' }\n"))
          .contains("origin.store.timeout.idle: \"0\" is not allowed here; allowed: 1ms to "));
  EXPECT_TRUE(
      only_mistake(with_origin("timeout = { first_byte = '7s' }\n"))
          .contains("origin.store.timeout.first_byte: 7000 ms is more than total, 6000 ms"));
  EXPECT_TRUE(loaded(with_origin("timeout = { first_byte = '6s', idle = '9s' }\n")).is_right());
}

TEST(Validate, ThePredictorHasMemoryToLearnInAndAFileOfItsOwn) {
  const auto table = [](std::string_view rest) {
    return with_origin("[prefetch]\nmode = 'on'\n" + std::string(rest));
  };
  EXPECT_TRUE(loaded(table("predictor_memory = '1MiB'\n")).is_right());
  EXPECT_TRUE(
      only_mistake(table("predictor_memory = '1023KiB'\n")).contains("prefetch.predictor_memory"));
  EXPECT_TRUE(only_mistake(table("predictor_memory = '1025MiB'\n[node]\nram = '8GiB'\n"))
                  .contains("1MiB to 1GiB"));
  EXPECT_TRUE(only_mistake(table("predictor = 'maybe'\n")).contains("prefetch.predictor"));
  EXPECT_TRUE(only_mistake(table("follow = '/f'\npredictor_file = '/f'\n")).contains("/f"));
  // What it may remember is part of the memory plan.
  const Loaded with = loaded(table("predictor_memory = '64MiB'\n"));
  const Loaded without = loaded(table("predictor = 'off'\n"));
  EXPECT_EQ(with.plan.prefetch_bytes, without.plan.prefetch_bytes + 140 * MiB);
}

TEST(Validate, ClientConnectionsAreBoundedByTheThreadsAndPaidForByTheMemory) {
  const auto table = [](std::string_view node) {
    return with_origin("[node]\nthreads = 1\n" + std::string(node));
  };
  EXPECT_TRUE(loaded(table("ram = '256MiB'\nconnections = 5000\n")).is_right());
  EXPECT_TRUE(loaded(table("ram = '2GiB'\nconnections = 32768\n")).is_right());
  EXPECT_TRUE(only_mistake(table("ram = '2GiB'\nconnections = 32769\n"))
                  .contains("32769 is more than 1 thread can hold; allowed: at most 32768"));
  EXPECT_TRUE(only_mistake(table("ram = '256MiB'\nconnections = 10000\n"))
                  .contains("too little for these settings; needed"));
  EXPECT_TRUE(only_mistake(table("connections = -1\n")).contains("node.connections"));
  EXPECT_TRUE(only_mistake(table("connections = 2097153\n")).contains("node.connections"));
}

TEST(Validate, NatsHasServersOfOneKindASubjectAndOneIdentity) {
  const auto table = [](std::string_view rest, std::string_view mode = "on") {
    return with_origin(fmt::format("[prefetch]\nmode = '{}'\n[prefetch.nats]\n{}", mode, rest));
  };
  const std::string good = "servers = 'tls://a.example'\nsubject = 'feed'\n";
  EXPECT_TRUE(loaded(table(good)).is_right());
  EXPECT_EQ(loaded(table(good)).settings.prefetch.nats.servers.front().text,
            "tls://a.example:4222");
  EXPECT_TRUE(only_mistake(table(good, "off")).contains("prefetch is off"));
  EXPECT_TRUE(only_mistake(table("subject = 'feed'\n")).contains("servers is missing"));
  EXPECT_TRUE(only_mistake(table("servers = 'nats://a'\n")).contains("subject is missing"));
  EXPECT_TRUE(only_mistake(table("servers = ['nats://a', 'tls://b']\nsubject = 'feed'\n"))
                  .contains("all of one kind"));
  EXPECT_TRUE(only_mistake(table("servers = ['nats://a', 'nats://a:4222']\nsubject = 'feed'\n"))
                  .contains("already given"));
  EXPECT_TRUE(only_mistake(table(good + "purge_subject = 'feed'\n")).contains("already given"));
  EXPECT_TRUE(only_mistake(table(good + "key = '/k'\n")).contains("belong together"));
  EXPECT_TRUE(only_mistake(table(good + "user = 'u'\n")).contains("belong together"));
  EXPECT_TRUE(
      only_mistake(table(good + "token = '/t'\ncredentials = '/c'\n")).contains("give one of"));
  EXPECT_TRUE(only_mistake(table("servers = 'nats://a'\nsubject = 'feed'\nca = '/c'\n"))
                  .contains("allowed with tls:// servers"));
}

TEST(Validate, ADurableConsumerIsNamedAfterItsNode) {
  const std::string nats =
      "[prefetch]\nmode = 'on'\n[prefetch.nats]\nservers = 'nats://a'\nsubject = 'feed'\n";
  const Loaded named = loaded(with_origin("[node]\nname = 'fra1.example'\n" + nats));
  EXPECT_EQ(named.settings.prefetch.nats.consumer, "fra1_example");
  // What is in flight is part of the memory plan, for each subject.
  const Loaded apart =
      loaded(with_origin("[node]\nname = 'a'\n" + nats + "purge_subject = 'purge'\n"));
  EXPECT_EQ(apart.plan.process_bytes, named.plan.process_bytes + 9 * MiB);
}

TEST(Validate, WhatAFeedMayFillIsPartOfTheMemoryPlan) {
  const auto table = [](std::string_view rest) {
    return with_origin("[prefetch]\npredictor = 'off'\n" + std::string(rest));
  };
  EXPECT_TRUE(only_mistake(table("memory = '1023KiB'\n")).contains("prefetch.memory"));
  EXPECT_TRUE(only_mistake(table("memory = '1025MiB'\n")).contains("1MiB to 1GiB"));
  const Loaded off = loaded(table(""));
  const Loaded on = loaded(table("mode = 'on'\nmemory = '48MiB'\n"));
  EXPECT_EQ(on.plan.prefetch_bytes, off.plan.prefetch_bytes + 48 * MiB);
}

TEST(Validate, AnOriginsNameIsAWord) {
  EXPECT_TRUE(only_mistake("[origin.'a b']\nservers='dir:/x'\n")
                  .contains("\"a b\" is not allowed as a name"));
}

}  // namespace
}  // namespace segue::conf
