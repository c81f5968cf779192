#include "edge/replay/replay_command.h"

#include <fmt/format.h>

#include <ctime>
#include <memory>

#include "edge/metrics/json.h"

namespace segue::edge {
namespace {

struct Row {
  std::string policy;
  std::string feed;
  ReplayResult result;
  double seconds = 0;  // CPU
};

uint64_t bytes_of(const ReplaySize& size, const Trace& trace) {
  return size.percent == 0 ? size.bytes : trace.footprint_bytes() / 100 * size.percent;
}

double gigabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e9; }

double percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string table_of(const Trace& trace, uint64_t ram, uint64_t ssd, const std::vector<Row>& rows) {
  std::string text = fmt::format(
      "{} plays of {} tracks by {} listeners in {} sessions; footprint {:.1f} GB, RAM {:.1f} GB, "
      "SSD {:.1f} GB\n\n",
      trace.plays().size(), trace.track_bytes().size(), trace.users(), trace.sessions(),
      gigabytes(trace.footprint_bytes()), gigabytes(ram), gigabytes(ssd));
  text += fmt::format(
      "{:<8} {:<11} {:>7} {:>7} {:>11} {:>9} {:>6} {:>7} {:>8} {:>8} {:>8} {:>8} {:>6}\n", "policy",
      "feed", "hit %", "first %", "follow miss", "1st miss", "cover", "precise", "ahead GB",
      "waste GB", "origin", "SSD GB", "CPU s");
  for (const Row& row : rows) {
    const ReplayResult& r = row.result;
    text += fmt::format(
        "{:<8} {:<11} {:>7.2f} {:>7.2f} {:>10.2f}% {:>8.2f}% {:>6.3f} {:>7.3f} {:>8.1f} {:>8.1f} "
        "{:>8.1f} {:>8.1f} {:>6.1f}\n",
        row.policy, row.feed, 100 * r.hit_ratio(), 100 * r.first_byte_hit_ratio(),
        percent(r.following.misses, r.following.plays), percent(r.first.misses, r.first.plays),
        r.coverage(), r.precision(), gigabytes(r.fetched_bytes), gigabytes(r.wasted_bytes),
        gigabytes(r.origin_bytes()), gigabytes(r.written_bytes), row.seconds);
  }
  text +=
      "\nhit: bytes read that were here; first: plays that began with a hit; follow miss, 1st "
      "miss: "
      "plays that\nbegan with a miss, of those that follow another in their session and of those "
      "that begin one; cover:\nfirst-byte misses avoided per play; precise: bytes used of bytes "
      "prefetched; ahead: prefetched;\nwaste: of these never asked for; origin: all bytes from "
      "origins; SSD: written to the drive.\n";
  return text;
}

std::string json_of(const Trace& trace, uint64_t ram, uint64_t ssd, const std::vector<Row>& rows) {
  std::string text = fmt::format(
      "{{\"plays\":{},\"tracks\":{},\"listeners\":{},\"sessions\":{},\"footprint_bytes\":{},"
      "\"ram_bytes\":{},\"ssd_bytes\":{},\"runs\":[",
      trace.plays().size(), trace.track_bytes().size(), trace.users(), trace.sessions(),
      trace.footprint_bytes(), ram, ssd);
  for (const Row& row : rows) {
    const ReplayResult& r = row.result;
    if (&row != &rows.front()) text += ",";
    text += "\n{\"policy\":";
    append_json_string(row.policy, text);
    text += ",\"feed\":";
    append_json_string(row.feed, text);
    text += fmt::format(
        ",\"hit_ratio\":{:.6f},\"first_byte_hit_ratio\":{:.6f},\"coverage\":{:.6f},"
        "\"precision\":{:.6f},\"reads\":{},\"read_bytes\":{},\"ram_hit_bytes\":{},"
        "\"drive_hit_bytes\":{},\"session_starts\":{},\"session_start_misses\":{},"
        "\"following_plays\":{},\"following_misses\":{},\"planned\":{},\"late\":{},\"avoided\":{},"
        "\"fetched_bytes\":{},\"used_bytes\":{},\"wasted_bytes\":{},\"origin_bytes\":{},"
        "\"written_bytes\":{},\"refused_writes\":{},\"observed_planned\":{},\"observed_used\":{},"
        "\"predictor_rows\":{},\"seconds\":{:.3f}}}",
        r.hit_ratio(), r.first_byte_hit_ratio(), r.coverage(), r.precision(), r.reads, r.read_bytes,
        r.ram_hit_bytes, r.drive_hit_bytes, r.first.plays, r.first.misses, r.following.plays,
        r.following.misses, r.planned, r.late, r.avoided, r.fetched_bytes, r.used_bytes,
        r.wasted_bytes, r.origin_bytes(), r.written_bytes, r.refused_writes, r.observed_planned,
        r.observed_used, r.predictor_rows, row.seconds);
  }
  text += "\n]}\n";
  return text;
}

std::expected<Trace, std::string> read_trace(const ReplayCommand& command) {
  const bool is_standard_input = command.trace == "-";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      is_standard_input ? stdin : std::fopen(command.trace.c_str(), "re"),
      [](std::FILE* opened) { return opened == stdin ? 0 : std::fclose(opened); });
  if (file == nullptr) return std::unexpected(command.trace + " cannot be opened");
  auto trace = Trace::read(file.get(), {.bytes_per_second = command.options.bytes_per_second});
  if (!trace) return std::unexpected(command.trace + ": " + trace.error());
  return trace;
}

}  // namespace

std::expected<ReplayOutput, std::string> run_replays(const ReplayCommand& command) {
  const auto trace = read_trace(command);
  if (!trace) return std::unexpected(trace.error());
  const uint64_t ram = bytes_of(command.ram, *trace);
  const uint64_t ssd = bytes_of(command.ssd, *trace);
  std::vector<Row> rows;
  for (const cache::EvictionPolicy policy : command.policies) {
    for (const ReplayFeed& feed : command.feeds) {
      ReplayOptions options = command.options;
      options.feed = feed;
      options.cache.policy = policy;
      if (feed.kind == ReplayFeed::Kind::None) options.cache.heads_percent = 0;
      options.cache.ram_bytes = ram;
      options.cache.ssd_bytes = ssd;
      options.plan.held_bytes_max = ram / 100 * options.cache.probation_percent;
      const std::clock_t began = std::clock();
      const auto result = replay(*trace, options);
      if (!result)
        return std::unexpected(fmt::format(
            "RAM of {:.3f} GB and SSD of {:.3f} GB are no cache: {}; the trace's tracks are "
            "{:.3f} GB together",
            gigabytes(ram), gigabytes(ssd), result.error().where,
            gigabytes(trace->footprint_bytes())));
      rows.push_back({.policy = policy == cache::EvictionPolicy::Lru ? "lru" : "s3fifo",
                      .feed = feed.name(),
                      .result = *result,
                      .seconds = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC});
    }
  }
  return ReplayOutput{table_of(*trace, ram, ssd, rows), json_of(*trace, ram, ssd, rows)};
}

}  // namespace segue::edge
