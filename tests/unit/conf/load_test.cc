// Files and flags together: a flag means the same as its setting and wins; what cannot be read says
// so; the shipped example and the one of the design are right.
#include "conf/load.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace segue::conf {
namespace {

Machine any_machine(const Settings& settings) {
  return {2, std::vector<uint64_t>(settings.cache.drives.size(), 10 * GiB), "host"};
}

Loaded loaded(const Flags& flags, std::string_view text = "") {
  return load_text(text, "segue.toml", flags, any_machine);
}

Flags origin_flags() {
  Flags flags;
  flags.origin = {"dir:/srv/music"};
  return flags;
}

TEST(Load, FlagsAloneMakeANode) {
  Flags flags = origin_flags();
  flags.listen = {"0.0.0.0:8080", "[::]:8080"};
  flags.cache = {"/var/cache/segue"};
  flags.cache_size = "20GiB";
  flags.ram = "2GiB";
  flags.admin = "127.0.0.1:9180";
  flags.threads = "4";
  flags.io = "threads";
  flags.sparse = true;
  const Loaded result = loaded(flags);
  ASSERT_TRUE(result.is_right()) << result.mistakes.front().line();
  const Settings& settings = result.settings;
  EXPECT_EQ(settings.listen.size(), 2U);
  EXPECT_EQ(settings.cache.size_bytes, 20 * GiB);
  ASSERT_EQ(settings.cache.drives.size(), 1U);
  EXPECT_TRUE(settings.cache.drives[0].sparse);
  EXPECT_EQ(settings.node.ram_bytes, 2 * GiB);
  EXPECT_EQ(settings.admin->port, 9180);
  EXPECT_EQ(settings.node.threads, 4U);
  EXPECT_EQ(settings.node.io, IoBackend::Threads);
  EXPECT_EQ(settings.sites.at(0).origin, "default");
  EXPECT_EQ(settings.origins.at(0).servers.at(0).directory, "/srv/music");
}

TEST(Load, AFlagWinsOverTheFile) {
  Flags flags;
  flags.ram = "3GiB";
  flags.listen = {"127.0.0.1:81"};
  flags.cache = {"/b"};
  const Loaded result = loaded(flags,
                               "[node]\nram='2GiB'\n[[listen]]\naddr='127.0.0.1:80'\n"
                               "[[cache.drive]]\npath='/a'\n[origin.a]\nservers='dir:/x'\n");
  ASSERT_TRUE(result.is_right()) << result.mistakes.front().line();
  EXPECT_EQ(result.settings.node.ram_bytes, 3 * GiB);
  ASSERT_EQ(result.settings.listen.size(), 1U);
  EXPECT_EQ(result.settings.listen[0].port, 81);
  ASSERT_EQ(result.settings.cache.drives.size(), 1U);
  EXPECT_EQ(result.settings.cache.drives[0].path, "/b");
}

TEST(Load, AWrongFlagIsNamedWithWhatIsAllowed) {
  Flags flags = origin_flags();
  flags.ram = "lots";
  flags.io = "epoll";
  flags.listen = {"localhost:80"};
  const Loaded result = loaded(flags);
  ASSERT_EQ(result.mistakes.size(), 3U);
  EXPECT_EQ(
      result.mistakes[1].line(),
      "--ram: \"lots\" is not allowed here; allowed: a size such as \"24GiB\": a whole number "
      "and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB");
  EXPECT_TRUE(result.mistakes[0].line().starts_with("--listen: \"localhost:80\""));
  EXPECT_TRUE(result.mistakes[2].line().starts_with("--io: \"epoll\""));
}

TEST(Load, ABudgetTooSmallByFlagNamesTheFlag) {
  Flags flags = origin_flags();
  flags.ram = "16MiB";
  const Loaded result = loaded(flags);
  ASSERT_EQ(result.mistakes.size(), 1U);
  EXPECT_TRUE(result.mistakes[0].line().starts_with("--ram: 16.0 MiB is too little"));
}

TEST(Load, AnOriginByFlagAndOriginsInTheFileExcludeEachOther) {
  const Loaded result = loaded(origin_flags(), "[origin.a]\nservers='dir:/x'\n");
  ASSERT_EQ(result.mistakes.size(), 1U);
  EXPECT_EQ(result.mistakes[0].line(),
            "--origin: segue.toml has origins or sites of its own; give one or the other");
}

TEST(Load, SeveralOriginFlagsAreServersOfOneOrigin) {
  Flags flags;
  flags.origin = {"http://a.example", "http://b.example"};
  const Loaded result = loaded(flags);
  ASSERT_TRUE(result.is_right());
  ASSERT_EQ(result.settings.origins.size(), 1U);
  EXPECT_EQ(result.settings.origins[0].servers.size(), 2U);
}

TEST(Load, AFileThatCannotBeReadSaysWhy) {
  Flags flags;
  flags.config = "/nonexistent/segue.toml";
  ASSERT_EQ(load(flags).mistakes.size(), 1U);
  EXPECT_EQ(load(flags).mistakes[0].line(),
            "/nonexistent/segue.toml: cannot be read: No such file or directory");
  flags.config = "/tmp";
  EXPECT_EQ(load(flags).mistakes.at(0).line(), "/tmp: cannot be read: Is a directory");
  flags.config = "/dev/zero";
  EXPECT_TRUE(load(flags).mistakes.at(0).line().contains("longer than any settings file"));
}

TEST(Check, TheShippedExampleIsRightAndPrintsThePlan) {
  Flags flags;
  flags.config = "conf/segue.toml";
  const Outcome outcome = check(flags);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_TRUE(outcome.text.starts_with("conf/segue.toml: right\nmemory: 2.0 GiB in all"));
  EXPECT_TRUE(outcome.text.contains("/var/cache/segue: 100.0 GiB, about "));
}

TEST(Check, TheShippedExampleWithEverythingSwitchedOnIsRightToo) {
  // Every commented setting shows its default (or a value that is allowed): take the comments off.
  std::ifstream file("conf/segue.toml");
  ASSERT_TRUE(file);
  std::string text;
  size_t switched_on = 0;
  for (std::string line; std::getline(file, line);) {
    const bool is_setting =
        line.starts_with("# [") ||
        (line.starts_with("# ") && line.contains(" = ") && line[2] >= 'a' && line[2] <= 'z');
    switched_on += is_setting ? 1U : 0U;
    text += (is_setting ? line.substr(2) : line) + "\n";
  }
  EXPECT_GE(switched_on, 15U);
  const Loaded result = loaded({}, text);
  EXPECT_TRUE(result.is_right()) << result.mistakes.front().line();
}

TEST(Load, TheDesignsExampleWithoutTlsIsRight) {
  const Loaded result = load_text(R"(
[node]
name = "fra1-03"                     # in Cache-Status, Via, CDN-Loop
ram = "24GiB"
[[listen]]
addr = ["0.0.0.0:443", "[::]:443"]
[[cache.drive]]
path = "/dev/disk/by-id/nvme-EXAMPLE"
writes_per_day = "4TB"
[origin.store]
servers = ["https://origin-a.example", "https://origin-b.example"]
timeout = { connect = "1s", first_byte = "3s", idle = "5s", total = "6s" }
[[site]]
name = "music"
hosts = ["audio.example.com"]
origin = "store"
query = "drop"                       # "keep" | "drop" | ["v"]
ttl = { default = "24h", negative = "10s", stale_if_error = "1d" }
)",
                                  "segue.toml", {}, any_machine);
  EXPECT_TRUE(result.is_right()) << result.mistakes.front().line();
}

TEST(Check, CountsTheMistakes) {
  Flags flags;
  flags.config = "/nonexistent";
  const Outcome outcome = check(flags);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(outcome.text.ends_with("/nonexistent: 1 mistake\n"));
}

}  // namespace
}  // namespace segue::conf
