#include "edge/replay/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

namespace segue::edge {
namespace {

std::unexpected<std::string> wrong(uint64_t line, std::string_view what) {
  return std::unexpected(fmt::format("line {}: {}", line, what));
}

/// What a line of a hostile file may show of itself in a sentence.
std::string quoted(std::string_view text) {
  constexpr size_t kShownMax = 40;
  std::string shown;
  for (const char c : text.substr(0, kShownMax)) shown += c >= ' ' && c <= '~' ? c : '?';
  return '"' + shown + (text.size() > kShownMax ? "...\"" : "\"");
}

/// The columns of a line; the count, or nothing if there are too many.
std::optional<size_t> split(std::string_view line, std::span<std::string_view> out) {
  size_t count = 0;
  for (;;) {
    if (count == out.size()) return std::nullopt;
    const size_t comma = line.find(',');
    out[count++] = line.substr(0, comma);
    if (comma == std::string_view::npos) return count;
    line.remove_prefix(comma + 1);
  }
}

/// Seconds with up to three digits behind a point, in milliseconds.
std::optional<int64_t> parse_seconds(std::string_view text) {
  int64_t seconds = 0;
  const auto whole = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (whole.ec != std::errc{} || seconds < 0 || seconds > kTraceUnixMax) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(whole.ptr - text.data()));
  if (text.empty()) return seconds * 1000;
  if (text.front() != '.' || text.size() < 2) return std::nullopt;
  int64_t milliseconds = 0;
  int64_t unit = 100;
  for (const char c : text.substr(1)) {
    if (c < '0' || c > '9') return std::nullopt;
    milliseconds += (c - '0') * unit;
    unit /= 10;
  }
  return seconds * 1000 + milliseconds;
}

/// One line without its end; nothing at the end of the file. A line that is too long comes as one
/// byte more than allowed.
bool read_text_line(std::FILE* file, std::string& line) {
  line.clear();
  int c = std::getc(file);
  if (c == EOF) return false;
  for (; c != EOF && c != '\n'; c = std::getc(file)) {
    if (line.size() <= kTraceLineBytesMax) line += static_cast<char>(c);
  }
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

}  // namespace

struct Trace::Columns {
  static constexpr std::array<std::string_view, 4> kNames = {"user", "end_unix", "ms_played",
                                                             "track"};
  std::array<size_t, 4> at{};
  size_t count = 0;

  static std::expected<Columns, std::string> parse(std::string_view line) {
    std::array<std::string_view, kTraceColumnsMax> names;
    const auto count = split(line, names);
    if (!count) return std::unexpected(fmt::format("more than {} columns", kTraceColumnsMax));
    Columns columns;
    columns.count = *count;
    for (size_t i = 0; i < kNames.size(); ++i) {
      const auto end = names.begin() + static_cast<ptrdiff_t>(*count);
      const auto found = std::find(names.begin(), end, kNames[i]);
      if (found == end)
        return std::unexpected(
            fmt::format("no column \"{}\"; the first line names the columns: user, end_unix, "
                        "ms_played, track",
                        kNames[i]));
      columns.at[i] = static_cast<size_t>(found - names.begin());
    }
    return columns;
  }
};

uint32_t Trace::number_of(std::unordered_map<std::string, uint32_t>& known, std::string_view name) {
  return known.try_emplace(std::string(name), static_cast<uint32_t>(known.size())).first->second;
}

std::expected<void, std::string> Trace::read_line(const Columns& columns, std::string_view line) {
  std::array<std::string_view, kTraceColumnsMax> fields;
  const auto count = split(line, fields);
  if (!count || *count != columns.count)
    return std::unexpected(fmt::format("{} columns, the first line names {}",
                                       count ? fmt::format("{}", *count) : "too many",
                                       columns.count));
  const std::string_view user = fields[columns.at[0]];
  const std::string_view end = fields[columns.at[1]];
  const std::string_view played = fields[columns.at[2]];
  const std::string_view track = fields[columns.at[3]];
  if (user.empty() || track.empty())
    return std::unexpected(std::string(user.empty() ? "user" : "track") + " is empty");
  const auto end_ms = parse_seconds(end);
  if (!end_ms)
    return std::unexpected(
        fmt::format("end_unix is {}; allowed: seconds from 0 to {}", quoted(end), kTraceUnixMax));
  Play play;
  const auto parsed = std::from_chars(played.data(), played.data() + played.size(), play.played_ms);
  if (parsed.ec != std::errc{} || parsed.ptr != played.data() + played.size() ||
      play.played_ms > kTracePlayedMsMax)
    return std::unexpected(
        fmt::format("ms_played is {}; allowed: 0 to {}", quoted(played), kTracePlayedMsMax));
  if (plays_.size() == kTracePlaysMax)
    return std::unexpected(fmt::format("more than {} plays", kTracePlaysMax));
  play.start_ms = *end_ms - play.played_ms;
  play.user = number_of(user_numbers_, user);
  play.track = number_of(track_numbers_, track);
  plays_.push_back(play);
  return {};
}

std::expected<Trace, std::string> Trace::read(std::FILE* file, const Options& options) {
  Trace trace;
  trace.options_ = options;
  std::string line;
  if (!read_text_line(file, line)) return wrong(1, "the file is empty");
  if (line.size() > kTraceLineBytesMax) return wrong(1, "too long");
  const auto columns = Columns::parse(line);
  if (!columns) return wrong(1, columns.error());
  for (uint64_t number = 2; read_text_line(file, line); ++number) {
    if (line.empty()) continue;
    if (line.size() > kTraceLineBytesMax)
      return wrong(number, fmt::format("longer than {} bytes", kTraceLineBytesMax));
    if (auto read = trace.read_line(*columns, line); !read) return wrong(number, read.error());
  }
  if (std::ferror(file) != 0) return std::unexpected("the file could not be read to its end");
  if (trace.plays_.empty()) return std::unexpected("there is no play in the file");
  trace.settle();
  return trace;
}

uint64_t Trace::bytes_of(const Play& play) const noexcept {
  const uint64_t bytes = uint64_t{play.played_ms} * options_.bytes_per_second / 1000;
  return std::clamp<uint64_t>(bytes, 1, track_bytes_[play.track]);
}

/// Tracks get their lengths, plays their order and their sessions.
void Trace::settle() {
  users_ = static_cast<uint32_t>(user_numbers_.size());
  const auto shortest = static_cast<uint64_t>(options_.track_min.count());
  track_bytes_.assign(track_numbers_.size(), shortest * options_.bytes_per_second);
  user_numbers_ = {};
  track_numbers_ = {};
  // A listener's plays stand in the file in their order. Their ends may be rounded to minutes, so
  // a skipped track may seem to start after what followed it: nothing starts before its
  // predecessor.
  constexpr int64_t kNone = INT64_MIN;
  std::vector<int64_t> last_start(users_, kNone);
  int64_t first = INT64_MAX;
  for (Play& play : plays_) {
    play.start_ms = std::max(play.start_ms, last_start[play.user]);
    last_start[play.user] = play.start_ms;
    first = std::min(first, play.start_ms);
    uint64_t& bytes = track_bytes_[play.track];
    bytes = std::max(bytes, uint64_t{play.played_ms} * options_.bytes_per_second / 1000);
  }
  for (Play& play : plays_) play.start_ms -= first;
  std::vector<std::pair<int64_t, uint32_t>>
      order;  // a sort that keeps equals in order allocates too
  order.reserve(plays_.size());
  for (uint32_t i = 0; i < plays_.size(); ++i) order.emplace_back(plays_[i].start_ms, i);
  std::ranges::sort(order);
  std::vector<Play> sorted;
  sorted.reserve(plays_.size());
  for (const auto& [start_ms, number] : order) sorted.push_back(plays_[number]);
  plays_ = std::move(sorted);
  std::vector<uint32_t> last_play(users_, kNoPlay);
  const int64_t gap_ms = std::chrono::milliseconds(options_.session_gap).count();
  for (uint32_t i = 0; i < plays_.size(); ++i) {
    Play& play = plays_[i];
    const uint32_t before = std::exchange(last_play[play.user], i);
    if (before != kNoPlay) {
      Play& former = plays_[before];
      play.follows = play.start_ms - (former.start_ms + former.played_ms) <= gap_ms;
      if (play.follows) {
        former.next = i;
        play.session = former.session;
        continue;
      }
    }
    play.session = sessions_++;
  }
  footprint_bytes_ = std::accumulate(track_bytes_.begin(), track_bytes_.end(), uint64_t{0});
}

}  // namespace segue::edge
