#include "edge/metrics/listens.h"

#include <arpa/inet.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
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
// Players read the end of a file to learn its length (Ogg, MP4); and a seek lands on a packet near
// where it was aimed. Neither is a listener who skips.
constexpr uint64_t kTailBytes = 256 * 1024;
constexpr uint64_t kSkipBytesMin = 256 * 1024;

// What counts as playing; the predictor of the next track has the same bound.
constexpr uint64_t kPlayBytesMin = 1024;

/// The network of an address in bytes: /24 of IPv4 (also where it is mapped into IPv6), /48 of
/// IPv6; any other text is itself. Valid as long as `room` and `address`.
std::string_view network_of(std::string_view address, std::span<char, 17> room) noexcept {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.size() >= text.size()) return address;
  address.copy(text.data(), address.size());
  constexpr std::string_view kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  char* const bytes = room.data() + 1;
  if (inet_pton(AF_INET, text.data(), bytes) == 1) {
    room[0] = 4;
    return {room.data(), 1 + 3};
  }
  if (inet_pton(AF_INET6, text.data(), bytes) != 1) return address;
  if (std::string_view(bytes, 16).starts_with(kMapped)) {
    std::copy_n(bytes + 12, 3, bytes);
    room[0] = 4;
    return {room.data(), 1 + 3};
  }
  room[0] = 6;
  return {room.data(), 1 + 6};
}

uint32_t seconds_since_1970(WallTime time) noexcept {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(time.time_since_epoch()).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(seconds, 1, UINT32_MAX));
}
WallTime time_of(uint32_t seconds) noexcept { return WallTime(std::chrono::seconds{seconds}); }

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// Whether what was delivered of a play can have been listened to.
bool is_heard(const ByteCoverage& play, uint64_t length) noexcept {
  if (length == 0) return play.total() >= kPlayBytesMin;  // not known: it came from its beginning
  const uint64_t before_tail = length > kTailBytes ? length - kTailBytes : 0;
  const uint64_t needed = std::min(length, kPlayBytesMin);
  return play.within(0, std::max(before_tail, needed)) >= needed;
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
  std::array<char, 17> room{};
  return hash_key(network_of(address, room), salt).low ^ hash_key(user_agent, ~salt).high;
}

bool is_robot(std::string_view user_agent) noexcept {
  constexpr std::string_view kWords[] = {"bot", "crawl", "spider", "slurp", "curl/", "wget",
                                         "python", "go-http", "java/", "monitor", "preview",
                                         "headless", "libwww", "scrapy", "externalhit",
                                         // IAB 2.1: a watch fetches again what its phone has.
                                         "watchos"};
  return user_agent.empty() || std::ranges::any_of(kWords, [&](std::string_view word) {
           return !std::ranges::search(user_agent, word, {}, lower).empty();
         });
}

bool is_no_track(std::string_view path) noexcept {
  constexpr std::string_view kEndings[] = {
      ".m3u8", ".m3u", ".mpd", ".pls",  ".xspf", ".cue", ".jpg", ".jpeg", ".png",
      ".webp", ".gif", ".svg", ".avif", ".ico",  ".txt", ".lrc", ".vtt",  ".srt",
      ".json", ".xml", ".rss", ".html", ".htm",  ".css", ".js",  ".pdf",  ".key"};
  const size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return false;
  const std::string_view ending = path.substr(dot);
  return std::ranges::any_of(
      kEndings, [&](std::string_view one) { return std::ranges::equal(ending, one, {}, lower); });
}

Listens::Listens(Options options)
    : options_(options), recent_(options.recent_max), listeners_(options.listeners_max) {}

void Listens::take(const AccessRecord& record) {
  const bool delivered = (record.status == 200 || record.status == 206) && record.bytes_sent > 0;
  if (!delivered || record.site.empty()) return;
  if (is_robot(record.user_agent.view())) return robots_.add();
  if (record.is_preload) return preloads_.add();
  if (is_no_track(record.path.view())) return others_.add();
  const int64_t hour = std::chrono::floor<hours>(record.time).time_since_epoch().count();
  const uint64_t track =
      hash_key(record.path.view(), hash_key(record.site.view(), options_.salt).low).low;
  const std::string_view address = record.client.view(), agent = record.user_agent.view();
  const uint64_t player = player_of(address, agent, options_.salt);
  const uint64_t listener = listener_of(address, agent, options_.salt);
  const std::scoped_lock lock(mutex_);
  taken_.add();
  Session& session = session_of({player, track}, record.time);
  const uint64_t first = record.first_position;
  const uint64_t end = first + record.bytes_sent;
  const uint64_t fresh = session.play.add(first, end);
  session.day.add(first, end);
  const auto took = std::chrono::ceil<WallTime::duration>(record.duration);
  session.last = std::max(session.last, record.time + took);
  const bool play_begins = !session.played && is_heard(session.play, record.complete_length);
  if (!session.played && !play_begins) return;
  Row* row = row_of({hour, track}, record);
  if (row == nullptr) return dropped_.add();
  row->plays += play_begins ? 1 : 0;
  row->bytes += play_begins ? session.play.total() : fresh;
  if (is_new_listener({listener, track}, hour)) ++row->listeners;
  if (session.played) count_skip(record, session, *row);
  session.played = true;
  count_coverage(record.complete_length, session, *row);
  if (record.time < session.begun) return;
  session.begun = record.time;
  if (first + kTailBytes < record.complete_length) session.position = end;
}

/// The session, silent or not: after kPlayGap another play begins, after kDownloadWindow another
/// day.
Listens::Session& Listens::session_of(SessionKey key, WallTime now) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    if (sessions_.size() >= options_.sessions_max) forget_oldest(now);
    Session& made = sessions_.emplace_back();
    made.key = key;
    made.last = made.day_begun = now;
    recall(made, now);
    by_key_.emplace(key, std::prev(sessions_.end()));
    sessions_count_.set(sessions_.size());
  } else {
    sessions_.splice(sessions_.end(), sessions_, found->second);
  }
  Session& session = sessions_.back();
  if (now - session.last > kPlayGap) {
    session.play.clear();
    session.tenths = 0;
    session.played = false;
  }
  if (now - session.day_begun > kDownloadWindow) {
    session.day.clear();
    session.day_begun = now;
    session.downloaded = false;
  }
  return session;
}

/// What remained of a player that made room for others: its completion begins anew, but it is no
/// new play, no second download and no skip.
void Listens::recall(Session& session, WallTime now) const {
  const RecentTable::Entry* known = recent_.find(session.key.hash());
  if (known == nullptr) return;
  session.played = true;
  session.last = time_of(known->seen);
  if (known->mark == 0 || now - time_of(known->mark) > kDownloadWindow) return;
  session.downloaded = true;
  session.day_begun = time_of(known->mark);
}

void Listens::forget_oldest(WallTime now) {
  const Session& oldest = sessions_.front();
  if (oldest.played) {
    recent_.put({.key = oldest.key.hash(),
                 .seen = seconds_since_1970(oldest.last),
                 .mark = oldest.downloaded ? seconds_since_1970(oldest.day_begun) : 0});
    if (now - oldest.last <= kPlayGap) cut_short_.add();
  }
  by_key_.erase(oldest.key);
  sessions_.pop_front();
}

/// A response of the hour before may come after the first of this one.
bool Listens::is_new_listener(SessionKey key, int64_t hour) {
  const auto counted = static_cast<uint32_t>(std::clamp<int64_t>(hour, 1, UINT32_MAX));
  const RecentTable::Entry* known = listeners_.find(key.hash());
  if (known != nullptr && known->seen >= counted) return false;
  listeners_.put({.key = key.hash(), .seen = counted});
  return true;
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

void Listens::count_skip(const AccessRecord& record, const Session& session, Row& row) const {
  const uint64_t length = record.complete_length;
  // Where a player that made room for others was is not known any more.
  const bool newest = session.begun != WallTime{} && record.time >= session.begun;
  const bool tail = record.first_position + kTailBytes >= length;
  const bool forward = record.first_position > session.position + kSkipBytesMin;
  if (length == 0 || !newest || tail || !forward) return;
  ++row.skips[std::min<uint64_t>(session.position * kTenths / length, kTenths - 1)];
}

void Listens::count_coverage(uint64_t length, Session& session, Row& row) const {
  const uint64_t minute = uint64_t{options_.bytes_per_second} * kDownloadSeconds;
  if (!session.downloaded && session.day.total() >= minute) {
    session.downloaded = true;
    ++row.downloads;
  }
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
  registry.add_counter("segue_listens_responses_total",
                       "Responses to players with bytes of a track.", {}, taken_);
  registry.add_counter("segue_listens_robots_total",
                       "Responses left out because their user agent is a robot or none.", {},
                       robots_);
  registry.add_counter("segue_listens_preloads_total",
                       "Responses left out because the client loaded ahead for nobody yet.", {},
                       preloads_);
  registry.add_counter("segue_listens_others_total",
                       "Responses left out because they are playlists, pictures or texts.", {},
                       others_);
  registry.add_counter("segue_listens_dropped_total",
                       "Responses not counted because one hour had too many tracks.", {}, dropped_);
  registry.add_counter("segue_listens_cut_short_total",
                       "Players that made room for others within half an hour of their play: its "
                       "completion is cut short.",
                       {}, cut_short_);
  registry.add_gauge("segue_listens_sessions", "Players of a track whose coverage is kept.", {},
                     sessions_count_);
  registry.add_gauge("segue_listens_rows", "Tracks by hour that are remembered.", {}, rows_count_);
}

}  // namespace segue::edge
