// The table of settings and the parser know the same keys, the printed page is the table, and a
// reload tells apart what it changes and what needs a restart.
#include "conf/settings_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "conf/changes.h"
#include "conf/parse_units.h"

namespace segue::conf {
namespace {

Machine any_machine(const Settings& settings) {
  return {2, std::vector<uint64_t>(settings.cache.drives.size(), 10 * GiB), "host"};
}
Loaded loaded(std::string_view text) { return load_text(text, "segue.toml", {}, any_machine); }

constexpr std::string_view kBase =
    "[origin.a]\nservers='http://a.example'\n[[site]]\nname='m'\nhosts='a.example'\n"
    "[log]\nlevel='info'\n";

std::string with(std::string_view from, std::string_view to) {
  std::string text(kBase);
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

/// The parser lists the keys it knows when it meets one that it does not.
std::set<std::string> keys_under(const std::string& header, const std::string& prefix) {
  std::set<std::string> keys;
  for (const Mistake& mistake : loaded(header + "\nzzzz = 1\n").mistakes) {
    const size_t at = mistake.text.find("allowed: ");
    if (!mistake.key.ends_with("zzzz") || at == std::string::npos) continue;
    std::stringstream list(mistake.text.substr(at + 9));
    for (std::string key; std::getline(list, key, ',');)
      keys.insert(prefix + key.substr(key.find_first_not_of(' ')));
  }
  EXPECT_FALSE(keys.empty()) << header;
  return keys;
}

TEST(SettingsTable, HasEveryKeyThatTheParserTakesAndNoOther) {
  // Tables of the file, and what each is called in the table of settings.
  const std::pair<std::string, std::string> tables[] = {
      {"[node]", "node."},
      {"[[listen]]", "listen[]."},
      {"[tls]", "tls."},
      {"[[tls.certificate]]", "tls.certificate[]."},
      {"[admin]", "admin."},
      {"[cache]", "cache."},
      {"[[cache.drive]]", "cache.drive[]."},
      {"[origin.a]", "origin.NAME."},
      {"[origin.a.timeout]", "origin.NAME.timeout."},
      {"[origin.a.breaker]", "origin.NAME.breaker."},
      {"[[site]]", "site[]."},
      {"[[site]]\n[site.ttl]", "site[].ttl."},
      {"[[site]]\n[site.tokens]", "site[].tokens."},
      {"[[site]]\n[site.pace]", "site[].pace."},
      {"[limits]", "limits."},
      {"[prefetch]", "prefetch."},
      {"[prefetch.nats]", "prefetch.nats."},
      {"[log]", "log."},
      {"[listens]", "listens."}};
  std::set<std::string> parsed;
  std::set<std::string> inner;
  for (const auto& [header, prefix] : tables) {
    parsed.merge(keys_under(header, prefix));
    inner.insert(prefix.substr(0, prefix.find_last_not_of(".[]") + 1));
  }
  for (const std::string& name : inner) parsed.erase(name);
  std::set<std::string> in_table;
  for (const SettingRow& row : settings_table()) in_table.insert(std::string(row.key));
  EXPECT_EQ(in_table, parsed);
}

/// A file with `key` of the table set to `value`; what is not set is needed or a default.
std::string file_with(std::string key, const std::string& value) {
  const auto put = [&key](std::string_view from, std::string_view to) {
    if (const size_t at = key.find(from); at != std::string::npos) key.replace(at, from.size(), to);
  };
  put("origin.NAME", "origin.a");
  const size_t brackets = key.find("[]");
  const size_t dot = brackets == std::string::npos ? key.rfind('.') : key.find('.', brackets);
  const std::string table = key.substr(0, dot), line = key.substr(dot + 1) + " = " + value + "\n";
  if (brackets == std::string::npos) {
    if (table == "origin.a") return "[origin.a]\nservers='http://a.example'\n" + line;
    return "[origin.a]\nservers='http://a.example'\n[" + table + "]\n" + line;
  }
  std::string text =
      "[origin.a]\nservers='http://a.example'\n[[" + table.substr(0, brackets) + "]]\n";
  text += table.starts_with("site") ? "name='m'\nhosts='a.example'\n" : "path='/c'\n";
  return text + line;
}

/// Whether the parser says of the key's own value that it is not allowed; what other settings have
/// to say of it (the least node.ram, for one) does not count.
bool is_refused(std::string_view key, const std::string& value) {
  const Loaded read = loaded(file_with(std::string(key), value));
  for (const Mistake& mistake : read.mistakes) {
    EXPECT_EQ(mistake.text.find("unknown key"), std::string::npos) << key << ": " << mistake.line();
    if (mistake.text.contains("is not allowed here")) return true;
  }
  return false;
}

TEST(SettingsTable, EveryNumberSizeAndDurationHasARangeAndTheParserKeepsIt) {
  constexpr std::string_view kTo = " to ";
  int ranges = 0;
  for (const SettingRow& row : settings_table()) {
    const bool counted =
        row.values == "size" || row.values == "duration" || row.values == "whole number";
    EXPECT_EQ(counted, !row.range.empty()) << row.key;
    if (!counted || row.range.empty()) continue;
    ++ranges;
    const size_t at = row.range.find(kTo);
    ASSERT_NE(at, std::string::npos) << row.key;
    const std::string least(row.range.substr(0, at)), most(row.range.substr(at + kTo.size()));
    std::string below, above;
    if (row.values == "duration") {
      below = fmt::format("'{}ms'", parse_duration(least).value().count() - 1);
      above = fmt::format("'{}ms'", parse_duration(most).value().count() + 1);
    } else {
      below = fmt::format("{}", static_cast<int64_t>(parse_size(least).value()) - 1);
      above = fmt::format("{}", parse_size(most).value() + 1);
    }
    const auto quoted = [&](const std::string& value) {
      return row.values == "whole number" ? value : "'" + value + "'";
    };
    EXPECT_TRUE(is_refused(row.key, below)) << row.key << " = " << below;
    EXPECT_TRUE(is_refused(row.key, above)) << row.key << " = " << above;
    EXPECT_FALSE(is_refused(row.key, quoted(least))) << row.key << " = " << least;
    EXPECT_FALSE(is_refused(row.key, quoted(most))) << row.key << " = " << most;
  }
  EXPECT_GT(ranges, 30);
}

TEST(SettingsTable, ThePageInTheTreeIsTheTable) {
  std::ifstream file("conf/settings.md");
  std::stringstream page;
  page << file.rdbuf();
  EXPECT_EQ(page.str(), settings_markdown()) << "segue settings > conf/settings.md";
}

TEST(SettingsTable, EveryDefaultWrittenOutChangesNothing) {
  const Loaded plain = loaded(kBase);
  std::string text =
      "[node]\nram='1GiB'\nthreads=0\nio='auto'\ndrain='5s'\nretire='10m'\n[cache]\npolicy='lru'\n"
      "size='10GiB'\n";
  text += with("hosts='a.example'", "hosts='a.example'\nquery='keep'\ncors='*'");
  const Loaded written = loaded(text);
  ASSERT_TRUE(written.is_right()) << written.mistakes.front().line();
  const auto changes = changes_between(plain, written);
  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(join(changes->applied), "");
  EXPECT_EQ(join(changes->needs_restart), "");
}

TEST(Changes, AKeyOfASiteIsTaken) {
  const Loaded running = loaded(
      with("hosts='a.example'\n", "hosts='a.example'\n[site.tokens]\nkeys = { k1 = '/a' }\n"));
  const Loaded fresh = loaded(
      with("hosts='a.example'\n", "hosts='a.example'\n[site.tokens]\nkeys = { k2 = '/a' }\n"));
  const auto changes = changes_between(running, fresh);
  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(join(changes->applied), "site[0].tokens.keys.k1, site[0].tokens.keys.k2");
  EXPECT_EQ(join(changes->needs_restart), "");
}

TEST(Changes, ASiteIsTakenAndMemoryIsNamedAsNeedingARestart) {
  const Loaded running = loaded(kBase);
  const Loaded fresh = loaded("[node]\nram='2GiB'\ndrain='7s'\n" +
                              with("hosts='a.example'\n",
                                   "hosts=['a.example','b.example']\n[site.ttl]\n"
                                   "default='1h'\n"));
  ASSERT_TRUE(fresh.is_right()) << fresh.mistakes.front().line();
  const auto changes = changes_between(running, fresh);
  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(join(changes->applied), "node.drain, site[0].hosts, site[0].ttl.default");
  EXPECT_EQ(join(changes->needs_restart), "node.ram");
  EXPECT_EQ(changes->settings.node.ram_bytes, GiB);
  EXPECT_EQ(changes->settings.node.drain, std::chrono::seconds{7});
  EXPECT_EQ(changes->settings.sites.at(0).hosts.size(), 2U);
}

TEST(Changes, OfPrefetchAllIsTakenThatTheTableSaysAndNothingElse) {
  const Loaded running = loaded(kBase);
  const Loaded fresh = loaded(
      std::string(kBase) +
      "[prefetch]\nmode='on'\nmemory='64MiB'\nbytes_per_second='1MiB'\nbytes_per_day='1GiB'\n"
      "fills=3\nram_percent=7\nhead='3s'\nlead='9s'\nrest=false\nprobability_percent=50\n"
      "floor_percent=51\nhints_percent=52\nplaylist_segments=4\n");
  ASSERT_TRUE(fresh.is_right()) << fresh.mistakes.front().line();
  const auto changes = changes_between(running, fresh);
  ASSERT_TRUE(changes.has_value());
  for (const SettingRow& row : settings_table()) {
    if (!row.key.starts_with("prefetch.") || row.takes != Takes::Reload) continue;
    EXPECT_EQ(std::ranges::count(changes->applied, row.key), 1) << row.key;
  }
  EXPECT_EQ(join(changes->needs_restart), "prefetch.memory, prefetch.mode");
  const PrefetchSettings& taken = changes->settings.prefetch;
  EXPECT_EQ(taken.bytes_per_second, MiB);
  EXPECT_EQ(taken.bytes_per_day, GiB);
  EXPECT_EQ(taken.fills, 3U);
  EXPECT_EQ(taken.ram_percent, 7U);
  EXPECT_EQ(taken.head, std::chrono::seconds{3});
  EXPECT_EQ(taken.lead, std::chrono::seconds{9});
  EXPECT_FALSE(taken.rest);
  EXPECT_EQ(taken.probability_percent, 50U);
  EXPECT_EQ(taken.floor_percent, 51U);
  EXPECT_EQ(taken.hints_percent, 52U);
  EXPECT_EQ(taken.playlist_segments, 4U);
  EXPECT_EQ(taken.mode, PrefetchMode::Off);
  EXPECT_EQ(taken.memory, 32 * MiB);
}

TEST(Changes, ASiteOfANewOriginTakesNothingAtAll) {
  const Loaded running = loaded(kBase);
  const Loaded fresh = loaded(std::string(kBase) +
                              "[origin.b]\nservers='http://b.example'\n"
                              "[[site]]\nname='n'\nhosts='b.example'\norigin='b'\n");
  // Two origins: the first site must say which is its own.
  const Loaded right = loaded(with("name='m'", "name='m'\norigin='a'") +
                              "[origin.b]\nservers='http://b.example'\n"
                              "[[site]]\nname='n'\nhosts='b.example'\norigin='b'\n");
  EXPECT_FALSE(fresh.is_right());
  ASSERT_TRUE(right.is_right()) << right.mistakes.front().line();
  const auto changes = changes_between(running, right);
  ASSERT_FALSE(changes.has_value());
  EXPECT_NE(changes.error().find("origin \"b\""), std::string::npos);
}

TEST(Changes, ASettingThatIsTakenOutGoesBackToItsDefault) {
  const Loaded running = loaded(with("level='info'", "level='error'\nsample=10"));
  const auto changes = changes_between(running, loaded(kBase));
  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(join(changes->applied), "log.level, log.sample");
  EXPECT_EQ(changes->settings.log.sample, 1U);
}

}  // namespace
}  // namespace segue::conf
