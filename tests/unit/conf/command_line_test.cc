// The command line: verbs, flags, help and mistakes, without writing or exiting.
#include "conf/command_line.h"

#include <gtest/gtest.h>

#include <vector>

namespace segue::conf {
namespace {

std::expected<Command, Outcome> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "segue");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

TEST(CommandLine, ServeTakesEveryFlag) {
  const auto command =
      parse({"serve",    "--config", "f.toml", "--listen", "127.0.0.1:80", "--listen",
             "[::1]:80", "--origin", "dir:/x", "--cache",  "/c",           "--cache-size",
             "1GiB",     "--ram",    "2GiB",   "--admin",  "unix:/a",      "--threads",
             "2",        "--io",     "uring",  "--sparse"});
  ASSERT_TRUE(command) << command.error().text;
  EXPECT_EQ(command->verb, Verb::Serve);
  const Flags& flags = command->flags;
  EXPECT_EQ(flags.config, "f.toml");
  EXPECT_EQ(flags.listen, (std::vector<std::string>{"127.0.0.1:80", "[::1]:80"}));
  EXPECT_EQ(flags.origin, std::vector<std::string>{"dir:/x"});
  EXPECT_EQ(flags.cache, std::vector<std::string>{"/c"});
  EXPECT_EQ(flags.cache_size, "1GiB");
  EXPECT_EQ(flags.ram, "2GiB");
  EXPECT_EQ(flags.admin, "unix:/a");
  EXPECT_EQ(flags.threads, "2");
  EXPECT_EQ(flags.io, "uring");
  EXPECT_TRUE(flags.sparse);
}

TEST(CommandLine, ReplayTakesSizesPoliciesAndFeeds) {
  const auto plain = parse({"replay", "t.csv"});
  ASSERT_TRUE(plain) << plain.error().text;
  EXPECT_EQ(plain->verb, Verb::Replay);
  EXPECT_EQ(plain->replay.ram.percent, 10U);
  EXPECT_EQ(plain->replay.policies.size(), 2U);
  const auto command = parse({"replay", "-", "--ram", "2GiB", "--ssd", "27%", "--policy", "s3fifo",
                              "--feed", "oracle:0", "--feed", "none", "--feed", "learned", "--feed",
                              "learned:35", "--json", "-"});
  ASSERT_TRUE(command) << command.error().text;
  const ReplayArguments& replay = command->replay;
  EXPECT_EQ(replay.trace, "-");
  EXPECT_EQ(replay.ram.bytes, uint64_t{2} << 30);
  EXPECT_EQ(replay.ram.percent, 0U);
  EXPECT_EQ(replay.ssd.percent, 27U);
  ASSERT_EQ(replay.policies.size(), 1U);
  EXPECT_EQ(replay.policies[0], CachePolicy::S3Fifo);
  ASSERT_EQ(replay.feeds.size(), 4U);
  EXPECT_EQ(replay.feeds[2].kind, ReplayArguments::Feed::Kind::Learned);
  EXPECT_EQ(replay.feeds[2].percent, 20U);
  EXPECT_EQ(replay.feeds[3].percent, 35U);
  EXPECT_EQ(replay.feeds[0].kind, ReplayArguments::Feed::Kind::Oracle);
  EXPECT_EQ(replay.feeds[0].percent, 0U);
  EXPECT_EQ(replay.feeds[1].kind, ReplayArguments::Feed::Kind::None);
}

TEST(CommandLine, WhatReplayCannotTakeIsNamed) {
  const auto mistake = [](std::vector<const char*> words) {
    words.insert(words.begin(), {"replay", "t.csv"});
    const auto command = parse(std::move(words));
    EXPECT_FALSE(command.has_value());
    return command ? std::string() : command.error().text;
  };
  EXPECT_TRUE(mistake({"--ram", "101%"}).contains("--ram: \"101%\""));
  EXPECT_TRUE(mistake({"--ram", "0%"}).contains("--ram"));
  EXPECT_TRUE(mistake({"--ssd", "much"}).contains("--ssd: \"much\""));
  EXPECT_TRUE(mistake({"--policy", "fifo"}).contains("--policy: \"fifo\""));
  EXPECT_TRUE(mistake({"--feed", "oracle:101"}).contains("--feed: \"oracle:101\""));
  EXPECT_TRUE(mistake({"--feed", "oracle:"}).contains("--feed"));
  EXPECT_TRUE(mistake({"--feed", "oracle"}).contains("--feed"));
  EXPECT_TRUE(mistake({"--feed", "magic:5"}).contains("--feed"));
  EXPECT_TRUE(mistake({"--bitrate", "1"}).contains("--bitrate"));
  EXPECT_FALSE(parse({"replay"}).has_value());
}

TEST(CommandLine, EachVerbIsRecognised) {
  EXPECT_EQ(parse({"check", "f"})->verb, Verb::Check);
  EXPECT_EQ(parse({"check", "f"})->flags.config, "f");
  EXPECT_EQ(parse({"explain", "http://a.example/t"})->verb, Verb::Explain);
  EXPECT_EQ(parse({"explain", "http://a.example/t"})->url, "http://a.example/t");
  EXPECT_EQ(parse({"cache", "format", "/c"})->verb, Verb::CacheFormat);
  EXPECT_EQ(parse({"cache", "wipe", "/c"})->verb, Verb::CacheWipe);
  EXPECT_EQ(parse({"drain"})->verb, Verb::Drain);
  EXPECT_EQ(parse({"stats"})->verb, Verb::Stats);
  EXPECT_TRUE(parse({"stats", "--json"})->as_json);
  EXPECT_EQ(parse({"top"})->verb, Verb::Top);
  EXPECT_EQ(parse({"top", "--every", "500ms"})->every, std::chrono::milliseconds{500});
  EXPECT_EQ(parse({"limits"})->verb, Verb::Limits);
  EXPECT_EQ(parse({"version"})->verb, Verb::Version);
}

TEST(CommandLine, AWordThatIsNoCommandIsNamed) {
  EXPECT_EQ(parse({"foo"}).error().exit_code, 2);
  EXPECT_TRUE(parse({"foo"}).error().text.contains("there is no command \"foo\""));
  EXPECT_TRUE(parse({"sreve"}).error().text.contains("did you mean \"serve\"?"));
  EXPECT_TRUE(parse({"cache", "foo", "/c"}).error().text.contains("\"cache foo\""));
  EXPECT_TRUE(parse({"cache"}).error().text.contains("subcommand"));
  EXPECT_TRUE(parse({"--nope", "serve"}).error().text.contains("there is no option \"--nope\""));
}

TEST(CommandLine, OnlyAFormatTakesASerialNumber) {
  EXPECT_FALSE(parse({"cache", "wipe", "/c", "--serial", "S1"}));
}

TEST(CommandLine, PurgeTakesUrlsPrefixesAndHow) {
  const auto command = parse({"purge", "--url", "http://a/1", "--url", "http://a/2", "--prefix",
                              "http://a/b/", "--soft", "--cut"});
  ASSERT_TRUE(command) << command.error().text;
  EXPECT_EQ(command->purge.urls, (std::vector<std::string>{"http://a/1", "http://a/2"}));
  EXPECT_EQ(command->purge.prefixes, std::vector<std::string>{"http://a/b/"});
  EXPECT_TRUE(command->purge.soft);
  EXPECT_TRUE(command->purge.cut);
}

TEST(CommandLine, PurgeOfNothingIsRefusedRatherThanWidened) {
  const auto command = parse({"purge"});
  ASSERT_FALSE(command);
  EXPECT_EQ(command.error().exit_code, 2);
  EXPECT_EQ(command.error().text,
            "segue: purge: say what, with --url URL, --prefix URL or --tag TAG\n");
}

TEST(CommandLine, ANodeIsAskedAtItsDefaultSocketUnlessTold) {
  EXPECT_EQ(parse({"drain"})->admin.unix_path, "/run/segue/admin.sock");
  EXPECT_EQ(parse({"drain", "--admin", "127.0.0.1:9180"})->admin.port, 9180);
  EXPECT_EQ(parse({"stats", "--config", "conf/segue.toml"})->admin.port, 9180);
}

TEST(CommandLine, AnAdminAddressThatIsNoneIsRefused) {
  const auto command = parse({"drain", "--admin", "localhost:1"});
  ASSERT_FALSE(command);
  EXPECT_EQ(command.error().exit_code, 2);
  EXPECT_TRUE(command.error().text.starts_with("segue: --admin: \"localhost:1\" is not allowed"));
  const auto unreadable = parse({"drain", "--config", "/nonexistent"});
  ASSERT_FALSE(unreadable);
  EXPECT_TRUE(unreadable.error().text.contains("cannot be read"));
}

TEST(CommandLine, FormatReadsItsSize) {
  const auto command =
      parse({"cache", "format", "/c", "--size", "2GiB", "--sparse", "--serial", "S1"});
  ASSERT_TRUE(command) << command.error().text;
  EXPECT_EQ(command->drive.path, "/c");
  EXPECT_EQ(command->drive.size_bytes, 2 * GiB);
  EXPECT_TRUE(command->drive.sparse);
  EXPECT_EQ(command->drive.serial, "S1");
  EXPECT_FALSE(parse({"cache", "format", "/c", "--size", "big"}));
  EXPECT_FALSE(parse({"cache", "format", "/c", "--size", "0"}));
  EXPECT_EQ(parse({"cache", "wipe", "/c", "--shares", "0,90,10"})->drive.shares.k128, 90U);
  EXPECT_FALSE(parse({"cache", "format", "/c", "--shares", "50,50,0"}));
  EXPECT_FALSE(parse({"cache", "format", "/c", "--shares", "10,10,10"}));
  EXPECT_FALSE(parse({"cache", "format", "/c", "--shares", "20,80"}));
}

TEST(CommandLine, HelpNamesEveryVerbAndEndsWell) {
  const auto outcome = parse({"--help"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 0);
  for (const char* verb : {"serve", "check", "explain", "purge", "cache", "drain", "stats",
                           "limits", "version", "First steps"}) {
    EXPECT_TRUE(outcome.error().text.contains(verb)) << verb;
  }
}

TEST(CommandLine, HelpOfAVerbExplainsItsFlags) {
  EXPECT_TRUE(parse({"serve", "--help"}).error().text.contains("--cache-size"));
  EXPECT_TRUE(parse({"cache", "format", "--help"}).error().text.contains("--serial"));
  EXPECT_EQ(parse({"serve", "--help"}).error().exit_code, 0);
}

TEST(CommandLine, MistakesHaveCode2AndPointToHelp) {
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{{},
                                             {"dance"},
                                             {"serve", "--colour"},
                                             {"check"},
                                             {"explain"},
                                             {"cache"},
                                             {"cache", "format"},
                                             {"serve", "extra"}}) {
    const auto outcome = parse(words);
    ASSERT_FALSE(outcome) << (words.empty() ? "" : words[0]);
    EXPECT_EQ(outcome.error().exit_code, 2);
    EXPECT_TRUE(outcome.error().text.starts_with("segue: ")) << outcome.error().text;
    EXPECT_TRUE(outcome.error().text.contains("segue --help explains")) << outcome.error().text;
  }
}

TEST(CommandLine, VersionFlagPrintsTheVersion) {
  const auto outcome = parse({"--version"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 0);
  EXPECT_TRUE(outcome.error().text.starts_with("segue "));
}

}  // namespace
}  // namespace segue::conf
