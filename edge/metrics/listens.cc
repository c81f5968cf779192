#include "edge/metrics/listens.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "edge/metrics/json.h"
#include "edge/metrics/registry.h"

namespace segue::edge {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr minutes kPlayGap{30};            // silence after which the next request is another play
constexpr hours kDownloadWindow{24};       // IAB: one download per listener and episode
constexpr uint32_t kDownloadSeconds = 60;  // IAB: at least one minute of audio
constexpr minutes kSweepEvery{1};
// Players read the end of a file to learn its length (Ogg, MP4); and a seek lands on a packet near
// where it was aimed. Neither is a listener who skips.
constexpr uint64_t kTailBytes = 256 * 1024;
constexpr uint64_t kSkipBytesMin = 256 * 1024;

std::string_view cut_address(std::string_view address) noexcept {
  if (address.contains(':')) {
    // /48: the first three groups, as inet_ntop writes them; "::1" is its own network.
    size_t at = 0;
    for (int group = 0; group < 3 && at != std::string_view::npos; ++group)
      at = address.find(':', at + (group > 0 ? 1 : 0));
    return at == std::string_view::npos ? address : address.substr(0, at);
  }
  const size_t last = address.rfind('.');
  return last == std::string_view::npos ? address : address.substr(0, last);
}

void append_csv(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

std::string hour_text(int64_t hour) {
  return fmt::format("{:%Y-%m-%dT%H:00Z}", fmt::gmtime(static_cast<time_t>(hour * 3600)));
}

}  // namespace

uint64_t player_of(std::string_view address, std::string_view user_agent, uint64_t salt) noexcept {
  return hash_key(address, salt).low ^ hash_key(user_agent, ~salt).high;
}

uint64_t listener_of(std::string_view address, std::string_view user_agent,
                     uint64_t salt) noexcept {
  return hash_key(cut_address(address), salt).low ^ hash_key(user_agent, ~salt).high;
}

bool is_robot(std::string_view user_agent) noexcept {
  constexpr std::string_view kWords[] = {"bot", "crawl", "spider", "slurp", "curl/", "wget",
                                         "python", "go-http", "java/", "monitor", "preview",
                                         "headless", "libwww", "scrapy", "externalhit",
                                         // IAB 2.1: a watch fetches again what its phone has.
                                         "watchos"};
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return user_agent.empty() || std::ranges::any_of(kWords, [&](std::string_view word) {
           return !std::ranges::search(user_agent, word, {}, lower).empty();
         });
}

void Listens::take(const AccessRecord& record) {
  const bool delivered = (record.status == 200 || record.status == 206) && record.bytes_sent > 0;
  if (!delivered || record.site.empty()) return;
  if (is_robot(record.user_agent.view())) {
    robots_.add();
    return;
  }
  if (record.is_preload) {
    preloads_.add();
    return;
  }
  const int64_t hour = std::chrono::floor<hours>(record.time).time_since_epoch().count();
  const uint64_t track =
      hash_key(record.path.view(), hash_key(record.site.view(), options_.salt).low).low;
  const std::string_view address = record.client.view(), agent = record.user_agent.view();
  const uint64_t player = player_of(address, agent, options_.salt);
  const uint64_t listener = listener_of(address, agent, options_.salt);
  const std::scoped_lock lock(mutex_);
  Session* session = session_of({player, track}, record.time);
  Row* row = session == nullptr ? nullptr : row_of({hour, track}, record);
  if (row == nullptr) {
    dropped_.add();
    return;
  }
  if (is_new_listener({listener, track}, hour)) ++row->listeners;
  count(record, *session, *row);
  taken_.add();
}

Listens::Session* Listens::session_of(SessionKey key, WallTime now) {
  if (const auto found = sessions_.find(key); found != sessions_.end()) return &found->second;
  if (sessions_.size() >= options_.sessions_max) {
    // At most once a minute: a flood of new listeners must not make each of them a sweep.
    if (now - swept_ < kSweepEvery) return nullptr;
    swept_ = now;
    std::erase_if(sessions_, [now](const auto& each) {
      return now - each.second.last >
             (each.second.downloaded ? minutes(kDownloadWindow) : kPlayGap);
    });
    const int64_t hour = std::chrono::floor<hours>(now).time_since_epoch().count();
    std::erase_if(last_hours_, [hour](const auto& each) { return each.second < hour; });
    if (sessions_.size() >= options_.sessions_max) return nullptr;
  }
  Session& made = sessions_[key];
  made.last = WallTime::min();
  made.day_begun = now;
  sessions_count_.set(sessions_.size());
  return &made;
}

/// Full, it counts no further listeners: there are about as many of them as of players.
bool Listens::is_new_listener(SessionKey key, int64_t hour) {
  if (last_hours_.size() >= options_.sessions_max && !last_hours_.contains(key)) return false;
  return std::exchange(last_hours_[key], hour) != hour;
}

Listens::Row* Listens::row_of(RowKey key, const AccessRecord& record) {
  if (const auto found = rows_.find(key); found != rows_.end()) return &found->second;
  if (rows_.size() >= options_.rows_max) {
    // The oldest hour goes; a single hour with more tracks than that is cut short.
    const int64_t oldest = rows_.begin()->first.first;
    if (oldest >= key.first) return nullptr;
    rows_.erase(rows_.begin(), rows_.lower_bound({oldest + 1, 0}));
  }
  Row& made = rows_[key];
  made.site = record.site.view();
  made.path = record.path.view();
  rows_count_.set(rows_.size());
  return &made;
}

void Listens::count(const AccessRecord& record, Session& session, Row& row) {
  const bool new_play = session.last == WallTime::min() || record.time - session.last > kPlayGap;
  if (new_play) {
    ++row.plays;
    session.play.clear();
    session.tenths = 0;
  } else {
    const bool tail = record.first_position + kTailBytes >= record.complete_length;
    const bool forward = record.first_position > session.position + kSkipBytesMin;
    if (forward && !tail && record.complete_length > 0)
      ++row.skips[std::min<uint64_t>(session.position * kTenths / record.complete_length,
                                     kTenths - 1)];
  }
  if (record.time - session.day_begun > kDownloadWindow) {
    session.day_begun = record.time;
    session.day.clear();
    session.downloaded = false;
  }
  count_coverage(record, session, row);
  session.last = record.time;
  if (record.first_position + kTailBytes < record.complete_length)
    session.position = record.first_position + record.bytes_sent;
}

void Listens::count_coverage(const AccessRecord& record, Session& session, Row& row) {
  const uint64_t first = record.first_position;
  const uint64_t end = first + record.bytes_sent;
  row.bytes += session.play.add(first, end);
  session.day.add(first, end);
  const uint64_t minute = uint64_t{options_.bytes_per_second} * kDownloadSeconds;
  if (!session.downloaded && session.day.total() >= minute) {
    session.downloaded = true;
    ++row.downloads;
  }
  const uint64_t length = record.complete_length;
  if (length < kTenths) return;
  for (uint32_t i = 0; i < kTenths; ++i) {
    const uint64_t from = length * i / kTenths;
    const uint64_t to = length * (i + 1) / kTenths;
    const bool counted = (session.tenths & (1U << i)) != 0;
    if (counted || session.play.within(from, to) * 2 <= to - from) continue;
    session.tenths |= 1U << i;
    ++row.tenths[i];
  }
}

double Listens::seconds_of(uint64_t bytes) const noexcept {
  return static_cast<double>(bytes) / options_.bytes_per_second;
}

std::vector<std::pair<int64_t, const Listens::Row*>> Listens::shown() const {
  std::vector<std::pair<int64_t, const Row*>> all;
  all.reserve(rows_.size());
  for (const auto& [key, row] : rows_) all.emplace_back(key.first, &row);
  const size_t count = std::min<size_t>(all.size(), kListenRowsShownMax);
  std::ranges::partial_sort(all, all.begin() + static_cast<ptrdiff_t>(count),
                            [](const auto& a, const auto& b) {
                              if (a.first != b.first) return a.first > b.first;
                              if (a.second->plays != b.second->plays)
                                return a.second->plays > b.second->plays;
                              return a.second->path < b.second->path;
                            });
  all.resize(count);
  return all;
}

std::string Listens::json_lines() const {
  const std::scoped_lock lock(mutex_);
  std::string out;
  for (const auto& [hour, row] : shown()) {
    out += fmt::format("{{\"hour\":\"{}\",\"site\":", hour_text(hour));
    append_json_string(row->site, out);
    out += ",\"track\":";
    append_json_string(row->path, out);
    out += fmt::format(
        ",\"plays\":{},\"listeners\":{},\"downloads\":{},\"seconds\":{:.1f},\"tenths\":[{}],"
        "\"skips\":[{}]}}\n",
        row->plays, row->listeners, row->downloads, seconds_of(row->bytes),
        fmt::join(row->tenths, ","), fmt::join(row->skips, ","));
  }
  return out;
}

std::string Listens::csv() const {
  const std::scoped_lock lock(mutex_);
  std::string out = "hour,site,track,plays,listeners,downloads,seconds";
  for (const char* name : {"tenth", "skip"}) {
    for (uint32_t i = 1; i <= kTenths; ++i) out += fmt::format(",{}_{}", name, i);
  }
  out += "\r\n";
  for (const auto& [hour, row] : shown()) {
    out += hour_text(hour) + ",";
    append_csv(row->site, out);
    out += ',';
    append_csv(row->path, out);
    out += fmt::format(",{},{},{},{:.1f},{},{}\r\n", row->plays, row->listeners, row->downloads,
                       seconds_of(row->bytes), fmt::join(row->tenths, ","),
                       fmt::join(row->skips, ","));
  }
  return out;
}

void Listens::register_metrics(Registry& registry) const {
  registry.add_counter("segue_listens_responses_total", "Responses counted as listening.", {},
                       taken_);
  registry.add_counter("segue_listens_robots_total",
                       "Responses left out because their user agent is a robot or none.", {},
                       robots_);
  registry.add_counter("segue_listens_preloads_total",
                       "Responses left out because the client loaded ahead for nobody yet.", {},
                       preloads_);
  registry.add_counter("segue_listens_dropped_total",
                       "Responses not counted because the tables of listening were full.", {},
                       dropped_);
  registry.add_gauge("segue_listens_sessions", "Listeners of a track that are remembered.", {},
                     sessions_count_);
  registry.add_gauge("segue_listens_rows", "Tracks by hour that are remembered.", {}, rows_count_);
}

}  // namespace segue::edge
