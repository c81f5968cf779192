#include "loadtest/players/tally.h"

#include <cstdarg>
#include <cstdio>
#include <numeric>

namespace loadtest {

namespace {

double ms(uint64_t us) { return static_cast<double>(us) / 1000; }

template <class... Values>
std::string text_of(const char* format, Values... values) {
  std::array<char, 512> text;
  const int length = std::snprintf(text.data(), text.size(), format, values...);
  return {text.data(), static_cast<size_t>(length)};
}

std::string row_of(std::string_view name, const Tally& tally) {
  return text_of(
      "%-10.*s %9llu %8llu %9llu %8.1f %8.2f %8.2f %8.2f %8.2f %7llu %7llu\n",
      static_cast<int>(name.size()), name.data(), static_cast<unsigned long long>(tally.listeners),
      static_cast<unsigned long long>(tally.plays), static_cast<unsigned long long>(tally.requests),
      static_cast<double>(tally.bytes) / 1e6, ms(tally.first_byte_us.at(0.5)),
      ms(tally.first_byte_us.at(0.99)), ms(tally.first_64k_us.at(0.5)),
      ms(tally.first_64k_us.at(0.99)), static_cast<unsigned long long>(tally.stalls),
      static_cast<unsigned long long>(tally.all_troubles()));
}

std::string histogram_json(const Histogram& histogram) {
  std::string text = text_of(
      "{\"count\":%llu,\"mean_us\":%.1f,\"p50_us\":%llu,\"p90_us\":%llu,\"p99_us\":%llu,"
      "\"p999_us\":%llu,\"max_us\":%llu,\"buckets\":[",
      static_cast<unsigned long long>(histogram.count()), histogram.mean(),
      static_cast<unsigned long long>(histogram.at(0.5)),
      static_cast<unsigned long long>(histogram.at(0.9)),
      static_cast<unsigned long long>(histogram.at(0.99)),
      static_cast<unsigned long long>(histogram.at(0.999)),
      static_cast<unsigned long long>(histogram.max()));
  bool first = true;
  histogram.for_each([&](uint64_t lower, uint64_t count) {
    text += text_of(first ? "[%llu,%llu]" : ",[%llu,%llu]", static_cast<unsigned long long>(lower),
                    static_cast<unsigned long long>(count));
    first = false;
  });
  return text + "]}";
}

std::string number_json(std::string_view name, uint64_t value) {
  return "\"" + std::string(name) + "\":" + std::to_string(value) + ",";
}

std::string tally_json(const Tally& tally) {
  std::string text = "{" + number_json("listeners", tally.listeners) +
                     number_json("plays", tally.plays) + number_json("finished", tally.finished) +
                     number_json("preloaded", tally.preloaded) + number_json("seeks", tally.seeks) +
                     number_json("requests", tally.requests) +
                     number_json("responses", tally.responses) + number_json("left", tally.left) +
                     number_json("bytes", tally.bytes) + number_json("stalls", tally.stalls);
  text += "\"troubles\":{";
  for (size_t i = 0; i < kTroubleNames.size(); ++i) {
    text += (i == 0 ? "\"" : ",\"") + std::string(kTroubleNames[i]) +
            "\":" + std::to_string(tally.troubles[i]);
  }
  return text + "},\"first_byte\":" + histogram_json(tally.first_byte_us) +
         ",\"first_64k\":" + histogram_json(tally.first_64k_us) +
         ",\"stall\":" + histogram_json(tally.stall_us) + "}";
}

Tally sum_of(const std::vector<NamedTally>& tallies) {
  Tally all;
  for (const NamedTally& one : tallies) all.add(one.tally);
  return all;
}

}  // namespace

void Tally::add(const Tally& other) {
  listeners += other.listeners;
  plays += other.plays;
  finished += other.finished;
  preloaded += other.preloaded;
  seeks += other.seeks;
  requests += other.requests;
  responses += other.responses;
  left += other.left;
  bytes += other.bytes;
  stalls += other.stalls;
  for (size_t i = 0; i < troubles.size(); ++i) troubles[i] += other.troubles[i];
  first_byte_us.add(other.first_byte_us);
  first_64k_us.add(other.first_64k_us);
  stall_us.add(other.stall_us);
}

uint64_t Tally::all_troubles() const {
  return std::accumulate(troubles.begin(), troubles.end(), uint64_t{0});
}

std::string print_tallies(const std::vector<NamedTally>& tallies, double seconds) {
  std::string text =
      text_of("%-10s %9s %8s %9s %8s %8s %8s %8s %8s %7s %7s\n", "persona", "listeners", "plays",
              "requests", "MB", "ttfb p50", "p99", "64k p50", "p99 ms", "stalls", "errors");
  for (const NamedTally& one : tallies) text += row_of(one.name, one.tally);
  const Tally all = sum_of(tallies);
  text += row_of("all", all);
  text += text_of("%.1f s: %.0f requests/s, %.1f MB/s, every byte compared; %llu bodies left\n",
                  seconds, static_cast<double>(all.requests) / seconds,
                  static_cast<double>(all.bytes) / 1e6 / seconds,
                  static_cast<unsigned long long>(all.left));
  for (size_t i = 0; i < kTroubleNames.size(); ++i) {
    if (all.troubles[i] == 0) continue;
    text += text_of("errors, %s: %llu\n", std::string(kTroubleNames[i]).c_str(),
                    static_cast<unsigned long long>(all.troubles[i]));
  }
  return text;
}

std::string tallies_json(const std::vector<NamedTally>& tallies, double seconds,
                         double acceleration) {
  std::string text =
      text_of("{\"seconds\":%.3f,\"acceleration\":%.1f,\"personas\":{", seconds, acceleration);
  for (const NamedTally& one : tallies) {
    if (&one != &tallies.front()) text += ",";
    text += "\"" + std::string(one.name) + "\":" + tally_json(one.tally);
  }
  return text + "},\"all\":" + tally_json(sum_of(tallies)) + "}\n";
}

}  // namespace loadtest
