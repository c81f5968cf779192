#include "edge/cli/overview.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <span>

namespace segue::edge {
namespace {

constexpr std::array<std::string_view, 4> kTiers{"ram", "drive", "origin", "pass"};

std::string scaled(double value, std::span<const char* const> units, double step) {
  size_t unit = 0;
  for (; value >= step && unit + 1 < units.size(); ++unit) value /= step;
  return fmt::format("{:.{}f} {}", value, value < 10 && unit > 0 ? 1 : 0, units[unit]);
}

std::string bytes(double value) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  return scaled(value, kUnits, 1024);
}

std::string bits(double bytes_per_second) {
  constexpr const char* kUnits[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
  return scaled(bytes_per_second * 8, kUnits, 1000);
}

std::string per_second(double value) { return fmt::format("{:.{}f}/s", value, value < 10 ? 1 : 0); }

std::string percent(double part, double whole) {
  return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "-";
}

std::string time(std::optional<double> seconds) {
  if (!seconds) return "-";
  if (*seconds < 1e-3) return fmt::format("{:.0f} us", *seconds * 1e6);
  return *seconds < 1 ? fmt::format("{:.1f} ms", *seconds * 1e3)
                      : fmt::format("{:.2f} s", *seconds);
}

/// What a terminal would obey, or cannot show, becomes a question mark.
std::string printable(std::string_view text, size_t width) {
  std::string line(text.substr(0, width));
  for (char& c : line) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return line;
}

class Page {
 public:
  Page(const Interval& interval, size_t width) : interval_(interval), width_(width) {}

  void line(std::string_view text) { lines_.push_back(printable(text, width_)); }
  void heading(std::string_view text) {
    line("");
    line(text);
  }

  void traffic();
  void hits();
  void starts();
  void memory();
  void overload();
  void origins();
  void drives();
  void prefetch();
  void tracks(const std::optional<std::vector<TopTrack>>& tracks);

  std::vector<std::string> lines_;

 private:
  const Interval& interval_;
  const size_t width_;
};

void Page::traffic() {
  const Readings& now = interval_.now();
  line(fmt::format(
      "traffic   {:<14} requests {:<12} clients {:<10.0f} cut {}",
      bits(interval_.rate("segue_http_sent_bytes_total", {{"listener", "public"}})),
      per_second(interval_.rate("segue_responses_total")),
      now.sum("segue_connections_active", {{"listener", "public"}}),
      per_second(interval_.rate("segue_responses_incomplete_total", {{"end", "cut"}}))));
}

/// Of the bytes sent to clients: which tier they came from.
void Page::hits() {
  std::array<double, kTiers.size()> sent{};
  double all = 0;
  for (size_t i = 0; i < kTiers.size(); ++i) {
    sent[i] = interval_.growth("segue_body_bytes_total", {{"tier", kTiers[i]}});
    all += sent[i];
  }
  std::string text = fmt::format("hits      {:<14}", percent(sent[0] + sent[1], all));
  for (size_t i = 0; i < kTiers.size(); ++i)
    text += fmt::format(" {} {:<9}", kTiers[i], percent(sent[i], all));
  line(text);
}

void Page::starts() {
  constexpr std::string_view kStart = "segue_first_64k_seconds",
                             kFirst = "segue_first_byte_seconds";
  line(fmt::format("64 KiB    p50 {:<10} p99 {:<10} first byte p50 {:<10} p99 {}",
                   time(interval_.quantile(kStart, 0.5)), time(interval_.quantile(kStart, 0.99)),
                   time(interval_.quantile(kFirst, 0.5)), time(interval_.quantile(kFirst, 0.99))));
}

void Page::memory() {
  const Readings& now = interval_.now();
  line(fmt::format("RAM tier  {} of {} mapped hold audio; {:.0f} tracks known; {} evictions",
                   bytes(now.sum("segue_ram_payload_bytes")),
                   bytes(now.sum("segue_ram_mapped_bytes")), now.sum("segue_representations"),
                   per_second(interval_.rate("segue_ram_evictions_total"))));
}

/// One line, and only while something is given up.
void Page::overload() {
  const Readings& now = interval_.now();
  std::string shed;
  for (const std::string& load : now.values_of("segue_overload_shedding", "load")) {
    if (now.sum("segue_overload_shedding", {{"load", load}}) > 0) shed += " " + load;
  }
  if (shed.empty()) return;
  std::string text = "SHEDDING " + shed + "; in use of the hard limit:";
  for (const std::string& name : now.values_of("segue_overload_used", "resource")) {
    const Wanted wanted{{"resource", name}};
    text += fmt::format(" {} {}", name,
                        percent(now.sum("segue_overload_used", wanted),
                                now.sum("segue_overload_hard_limit", wanted)));
  }
  line(text);
}

void Page::origins() {
  heading(fmt::format("{:<24} {:>10} {:>10} {:>12} {:>12}", "ORIGIN", "requests", "faults",
                      "received", "first byte"));
  for (const std::string& name :
       interval_.now().values_of("segue_origin_requests_total", "origin")) {
    const Wanted wanted{{"origin", name}};
    const double heads = interval_.growth("segue_origin_first_bytes_total", wanted);
    const double waited = interval_.growth("segue_origin_first_byte_wait_seconds_total", wanted);
    line(fmt::format("{:<24} {:>10} {:>10} {:>12} {:>12}", name.substr(0, 24),
                     per_second(interval_.rate("segue_origin_requests_total", wanted)),
                     per_second(interval_.rate("segue_origin_faults_total", wanted)),
                     bits(interval_.rate("segue_origin_body_bytes_total", wanted)),
                     heads > 0 ? time(waited / heads) : "-"));
  }
}

void Page::drives() {
  heading(
      fmt::format("{:<8} {:<8} {:>8} {:>14} {:>14}", "DRIVE", "state", "full", "read", "written"));
  const Readings& now = interval_.now();
  const auto drives = now.values_of("segue_drive_online", "drive");
  if (drives.empty()) line("none: the RAM tier works alone");
  for (const std::string& name : drives) {
    const Wanted wanted{{"drive", name}};
    line(fmt::format(
        "{:<8} {:<8} {:>8} {:>12}/s {:>12}/s", name,
        now.sum("segue_drive_online", wanted) > 0 ? "online" : "OFFLINE",
        percent(now.sum("segue_drive_slots_live", wanted), now.sum("segue_drive_slots", wanted)),
        bytes(interval_.rate("segue_drive_read_bytes_total", wanted)),
        bytes(interval_.rate("segue_drive_written_bytes_total", wanted))));
  }
}

void Page::prefetch() {
  const Readings& now = interval_.now();
  const auto models = now.values_of("segue_prefetch_precision_ratio", "model");
  if (models.empty()) return;
  heading(fmt::format("{:<24} {:>10} {:>10} {:>12} {:>12}", "PREFETCH, by model", "precision",
                      "coverage", "fetched", "wasted"));
  for (const std::string& name : models) {
    const Wanted wanted{{"model", name}};
    const auto of_fate = [&](std::string_view fate) {
      return bytes(now.sum("segue_prefetch_bytes_total", {{"model", name}, {"fate", fate}}));
    };
    line(fmt::format("{:<24} {:>10} {:>10} {:>12} {:>12}", name.substr(0, 24),
                     percent(now.sum("segue_prefetch_precision_ratio", wanted), 1),
                     percent(now.sum("segue_prefetch_coverage_ratio", wanted), 1),
                     of_fate("fetched"), of_fate("wasted")));
  }
}

void Page::tracks(const std::optional<std::vector<TopTrack>>& tracks) {
  heading(fmt::format("{:>7} {:>9} {:>9}  {}", "plays", "listeners", "minutes",
                      "TOP TRACKS of this hour"));
  if (!tracks) return line("not counted: listens.count is off");
  if (tracks->empty()) line("nobody has played anything");
  for (const TopTrack& track : *tracks)
    line(fmt::format("{:>7} {:>9} {:>9.1f}  {} {}", track.plays, track.listeners,
                     track.seconds / 60, track.site, track.track));
}

}  // namespace

std::vector<TopTrack> top_tracks(std::string_view json_lines) {
  std::string latest;
  std::vector<TopTrack> tracks;
  simdjson::dom::parser parser;
  while (!json_lines.empty()) {
    const size_t end = std::min(json_lines.find('\n'), json_lines.size());
    const simdjson::padded_string line(json_lines.substr(0, end));
    json_lines.remove_prefix(std::min(end + 1, json_lines.size()));
    simdjson::dom::element row;
    std::string_view hour, site, track;
    TopTrack one;
    const bool right = parser.parse(line).get(row) == simdjson::SUCCESS &&
                       row["hour"].get(hour) == simdjson::SUCCESS &&
                       row["site"].get(site) == simdjson::SUCCESS &&
                       row["track"].get(track) == simdjson::SUCCESS &&
                       row["plays"].get(one.plays) == simdjson::SUCCESS &&
                       row["listeners"].get(one.listeners) == simdjson::SUCCESS &&
                       row["seconds"].get(one.seconds) == simdjson::SUCCESS;
    if (!right || hour < latest) continue;
    if (hour > latest) tracks.clear();
    latest = hour;
    one.site = site;
    one.track = track;
    tracks.push_back(std::move(one));
  }
  std::ranges::sort(tracks, [](const TopTrack& a, const TopTrack& b) {
    return a.plays != b.plays ? a.plays > b.plays : a.track < b.track;
  });
  if (tracks.size() > kTopTracksMax) tracks.resize(kTopTracksMax);
  return tracks;
}

std::vector<std::string> overview(const Interval& interval,
                                  const std::optional<std::vector<TopTrack>>& tracks,
                                  size_t width) {
  Page page(interval, width);
  page.traffic();
  page.hits();
  page.starts();
  page.memory();
  page.overload();
  page.origins();
  page.drives();
  page.prefetch();
  page.tracks(tracks);
  return std::move(page.lines_);
}

}  // namespace segue::edge
