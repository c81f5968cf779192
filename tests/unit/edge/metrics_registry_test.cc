// Goal: what the registry exports is what Prometheus reads: names, types, escapes, cumulative
// buckets; loops are summed.
// Method: a line-by-line reader of text format 0.0.4, stricter than the scraper; JSON by simdjson.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "base/version.h"
#include "edge/metrics/registry.h"
#include "edge/server/server_counters.h"

namespace segue::edge {
namespace {

/// Reads the whole text; series (name with labels) -> value. Fails on what promtool would refuse.
std::map<std::string, double> read_text(const std::string& text) {
  static const std::regex sample(
      R"(([a-zA-Z_:][a-zA-Z0-9_:]*))"
      R"((\{[a-z_]+="(?:[^"\\]|\\.)*"(?:,[a-z_]+="(?:[^"\\]|\\.)*")*\})? (\S+))");
  std::map<std::string, double> series;
  std::map<std::string, std::string> types;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# HELP ")) continue;
    if (line.starts_with("# TYPE ")) {
      std::istringstream words(line.substr(7));
      std::string name;
      std::string type;
      words >> name >> type;
      EXPECT_TRUE(types.try_emplace(name, type).second) << "twice: " << name;
      if (type == "counter") EXPECT_TRUE(name.ends_with("_total")) << name;
      if (type == "histogram") EXPECT_TRUE(name.ends_with("_seconds")) << name;
      EXPECT_TRUE(name.starts_with("segue_")) << name;
      continue;
    }
    std::smatch match;
    EXPECT_TRUE(std::regex_match(line, match, sample)) << line;
    if (match.empty()) continue;
    const std::string value = match[3];
    const double number = value == "+Inf" ? HUGE_VAL : std::stod(value);
    EXPECT_TRUE(series.try_emplace(match[1].str() + match[2].str(), number).second) << line;
  }
  return series;
}

TEST(RegistryTest, LoopsAreSummedUnderOneNameAndLabels) {
  Counter first;
  Counter second;
  Counter other;
  first.add(3);
  second.add(4);
  other.add(10);
  Registry registry;
  registry.add_counter("segue_x_total", "X.", {{"kind", "a"}}, first);
  registry.add_counter("segue_x_total", "X.", {{"kind", "a"}}, second);
  registry.add_counter("segue_x_total", "X.", {{"kind", "b"}}, other);
  const auto series = read_text(registry.prometheus_text());
  EXPECT_EQ(series.at("segue_x_total{kind=\"a\"}"), 7);
  EXPECT_EQ(series.at("segue_x_total{kind=\"b\"}"), 10);
  first.add();
  EXPECT_EQ(read_text(registry.prometheus_text()).at("segue_x_total{kind=\"a\"}"), 8);
}

TEST(RegistryTest, UnitsAndCallbacksAreExported) {
  Counter nanoseconds;
  nanoseconds.add(1'500'000'000);
  const double open = 12;
  Registry registry;
  registry.add_counter("segue_busy_seconds_total", "Busy.", {}, nanoseconds, 1e-9);
  registry.add_gauge(
      "segue_open", "Open.", {},
      [](const void* context) { return *static_cast<const double*>(context); }, &open);
  const auto series = read_text(registry.prometheus_text());
  EXPECT_DOUBLE_EQ(series.at("segue_busy_seconds_total"), 1.5);
  EXPECT_EQ(series.at("segue_open"), 12);
  EXPECT_EQ(series.at(fmt::format("segue_build_info{{version=\"{}\"}}", version())), 1);
}

TEST(RegistryTest, AHistogramIsCumulativeAndItsLastBucketIsItsCount) {
  LatencyHistogram first;
  LatencyHistogram second;
  for (int i = 0; i < 50; ++i) first.record(std::chrono::microseconds{100});
  for (int i = 0; i < 50; ++i) second.record(std::chrono::milliseconds{100});
  second.record(std::chrono::minutes{10});
  Registry registry;
  registry.add_histogram("segue_first_byte_seconds", "TTFB.", {{"tier", "ram"}}, first);
  registry.add_histogram("segue_first_byte_seconds", "TTFB.", {{"tier", "ram"}}, second);
  const auto series = read_text(registry.prometheus_text());
  EXPECT_EQ(series.at("segue_first_byte_seconds_count{tier=\"ram\"}"), 101);
  EXPECT_NEAR(series.at("segue_first_byte_seconds_sum{tier=\"ram\"}"), 600 + 5.005, 1e-6);
  std::map<double, double> buckets;
  for (const auto& [name, value] : series) {
    const size_t le = name.find("le=\"");
    if (!name.starts_with("segue_first_byte_seconds_bucket") || le == std::string::npos) continue;
    const std::string bound = name.substr(le + 4, name.find('"', le + 4) - le - 4);
    buckets[bound == "+Inf" ? HUGE_VAL : std::stod(bound)] = value;
  }
  EXPECT_EQ(buckets.size(), exported_latency_bounds().size() + 1);
  double before = 0;
  for (const auto& [bound, count] : buckets) {
    EXPECT_GE(count, before);
    before = count;
    if (bound < 100e-6) EXPECT_EQ(count, 0) << bound;
    if (bound > 132e-6 && bound < 0.1) EXPECT_EQ(count, 50) << bound;
    if (bound > 0.14 && bound < 600) EXPECT_EQ(count, 100) << bound;
  }
  EXPECT_EQ(buckets.at(HUGE_VAL), 101);
}

TEST(RegistryTest, LabelValuesAreEscaped) {
  Counter counter;
  Registry registry;
  registry.add_counter("segue_x_total", "A \"quoted\" help text.", {{"path", "a\"b\\c\nd"}},
                       counter);
  const auto series = read_text(registry.prometheus_text());
  EXPECT_TRUE(series.contains(R"(segue_x_total{path="a\"b\\c\nd"})"));
}

TEST(RegistryTest, DegradedModesComeAndGo) {
  Registry registry;
  EXPECT_EQ(registry.prometheus_text().find("segue_degraded"), std::string::npos);
  registry.set_degraded("io_threads");
  registry.set_degraded("drive_offline");
  registry.set_degraded("drive_offline", false);
  const auto series = read_text(registry.prometheus_text());
  EXPECT_EQ(series.at("segue_degraded{what=\"io_threads\"}"), 1);
  EXPECT_EQ(series.at("segue_degraded{what=\"drive_offline\"}"), 0);
}

TEST(RegistryTest, JsonHoldsTheSameNumbers) {
  Counter counter;
  counter.add(5);
  LatencyHistogram histogram;
  histogram.record(std::chrono::milliseconds{1});
  Registry registry;
  registry.add_counter("segue_plain_total", "P.", {}, counter);
  registry.add_counter("segue_labelled_total", "L.", {{"a", "x\"y"}, {"b", "z"}}, counter);
  registry.add_counter("segue_labelled_total", "L.", {{"a", "2"}, {"b", "z"}}, counter);
  registry.add_histogram("segue_h_seconds", "H.", {}, histogram);
  registry.set_degraded("plain_pages");
  simdjson::dom::parser parser;
  simdjson::dom::element json;
  const simdjson::padded_string padded(registry.json());
  ASSERT_EQ(parser.parse(padded).get(json), simdjson::SUCCESS) << registry.json();
  EXPECT_EQ(json["segue_plain_total"].get_double().value(), 5);
  simdjson::dom::array labelled;
  ASSERT_EQ(json["segue_labelled_total"].get(labelled), simdjson::SUCCESS);
  EXPECT_EQ(labelled.size(), 2U);
  EXPECT_EQ(labelled.at(0)["labels"]["a"].get_string().value(), "x\"y");
  EXPECT_EQ(labelled.at(0)["value"].get_double().value(), 5);
  EXPECT_EQ(json["segue_h_seconds"]["count"].get_uint64().value(), 1U);
  EXPECT_NEAR(json["segue_h_seconds"]["p99_seconds"].get_double().value(), 1e-3, 1.3e-4);
}

TEST(RegistryTest, TheServersNamesFollowTheConventions) {
  ServerCounters first;
  ServerCounters second;
  first.accepted.add(2);
  second.accepted.add(3);
  first.timeout_stall.add();
  Registry registry;
  register_metrics(registry, first, "public");
  register_metrics(registry, second, "public");
  const auto series = read_text(registry.prometheus_text());
  EXPECT_EQ(series.at("segue_connections_accepted_total{listener=\"public\"}"), 5);
  EXPECT_EQ(series.at("segue_connection_timeouts_total{listener=\"public\",kind=\"stall\"}"), 1);
}

}  // namespace
}  // namespace segue::edge
