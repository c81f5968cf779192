#include "edge/cli/top.h"

#include <curses.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <expected>
#include <memory>
#include <optional>
#include <utility>

#include "base/loop/clock.h"
#include "edge/cli/overview.h"
#include "edge/cli/readings.h"

namespace segue::edge {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kAnswerWithin{2000};
constexpr size_t kStatsColumns = 100;
constexpr int kHeaderLines = 2;

/// One look at the node.
struct Look {
  Clock::time_point at;
  Readings readings;
  std::optional<std::vector<TopTrack>> tracks;
  std::string state;  // as /ready says it
};

std::expected<AdminAnswer, std::string> get(const AdminPlace& place, const char* target) {
  return ask(place, {.target = target, .within = kAnswerWithin});
}

std::expected<Look, std::string> look_at(const AdminPlace& place) {
  const auto metrics = get(place, "/metrics");
  if (!metrics) return std::unexpected(metrics.error());
  if (metrics->status != 200)
    return std::unexpected(fmt::format("the node answered {} for its metrics", metrics->status));
  const auto ready = get(place, "/ready");
  if (!ready) return std::unexpected(ready.error());
  const auto listens = get(place, "/listens");
  if (!listens) return std::unexpected(listens.error());
  Look look{
      .at = Clock::now(), .readings = Readings::parse(metrics->body), .tracks = {}, .state = {}};
  if (listens->status == 200) look.tracks = top_tracks(listens->body);
  look.state = ready->status == 200 ? "serving" : "NOT READY";
  return look;
}

std::string version_of(const Readings& readings) {
  const auto versions = readings.values_of("segue_build_info", "version");
  return versions.empty() ? "" : versions.front();
}

double seconds_since_start(const Readings& readings) {
  const std::chrono::duration<double> now = SystemClock().wall().time_since_epoch();
  // Rates of the first moments would be wild, and clocks may have been set.
  return std::max(now.count() - readings.sum("process_start_time_seconds"), 1.0);
}

/// ncurses between its start and its end; there is one terminal.
class Screen {
 public:
  static std::unique_ptr<Screen> open() {
    SCREEN* made = newterm(nullptr, stdout, stdin);
    return made == nullptr ? nullptr : std::unique_ptr<Screen>(new Screen(made));
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() {
    endwin();
    delscreen(screen_);
  }

  /// As much of the lines as there is room for; the first is in reverse.
  void show(const std::vector<std::string>& lines) const {
    erase();
    for (int row = 0; row < LINES && std::cmp_less(row, lines.size()); ++row) {
      if (row == 0) attron(A_REVERSE);
      mvaddnstr(row, 0, lines[static_cast<size_t>(row)].c_str(), COLS);
      if (row == 0) attroff(A_REVERSE);
    }
    // Written whole: a window made smaller and larger again at once has lost text unnoticed.
    redrawwin(stdscr);
    refresh();
  }
  [[nodiscard]] size_t width() const noexcept { return static_cast<size_t>(COLS); }
  /// A key, KEY_RESIZE, or ERR when `wait` is over.
  [[nodiscard]] int key(std::chrono::milliseconds wait) const {
    timeout(static_cast<int>(std::max<int64_t>(wait.count(), 0)));
    return getch();
  }

 private:
  explicit Screen(SCREEN* screen) : screen_(screen) {
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
  }
  SCREEN* screen_;
};

class Top {
 public:
  Top(const AdminPlace& place, std::chrono::milliseconds every, Look first)
      : place_(place), every_(every), before_(first), now_(std::move(first)) {}

  void look() {
    auto next = look_at(place_);
    next_at_ = Clock::now() + every_;
    trouble_ = next ? "" : next.error();
    if (!next) return;
    before_ = std::move(now_);
    now_ = std::move(*next);
    has_interval_ = true;
  }

  void show(const Screen& screen) const {
    std::string title =
        fmt::format("segue {}  {}  every {:.1f} s  q quits", version_of(now_.readings), now_.state,
                    std::chrono::duration<double>(every_).count());
    if (!trouble_.empty()) title = trouble_;
    title.resize(std::max(screen.width(), title.size()), ' ');
    std::vector<std::string> lines{title,
                                   trouble_.empty() ? "" : "the numbers below are the last ones"};
    static_assert(kHeaderLines == 2);
    const Readings none;
    const Interval interval =
        has_interval_ ? Interval(before_.readings, now_.readings,
                                 std::chrono::duration<double>(now_.at - before_.at).count())
                      : Interval(none, now_.readings, seconds_since_start(now_.readings));
    for (std::string& line : overview(interval, now_.tracks, screen.width()))
      lines.push_back(std::move(line));
    screen.show(lines);
  }

  [[nodiscard]] std::chrono::milliseconds until_next() const {
    return std::chrono::ceil<std::chrono::milliseconds>(next_at_ - Clock::now());
  }

 private:
  const AdminPlace& place_;
  const std::chrono::milliseconds every_;
  Look before_;
  Look now_;
  Clock::time_point next_at_ = Clock::now() + every_;
  bool has_interval_ = false;  // until the second look: since the node's start
  std::string trouble_;
};

int complain(const std::string& why) {
  fmt::print(stderr, "segue: {}\n", why);
  return 1;
}

}  // namespace

int run_top(const AdminPlace& place, std::chrono::milliseconds every) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0)
    return complain("top needs a terminal; `segue stats` prints the same once");
  auto first = look_at(place);
  if (!first) return complain(first.error());
  const auto screen = Screen::open();
  if (!screen) return complain("this terminal is not known (TERM)");
  Top top(place, every, std::move(*first));
  top.show(*screen);
  while (true) {
    const int key = screen->key(top.until_next());
    if (key == 'q' || key == 'Q') return 0;
    if (key == ERR || key == ' ') top.look();
    top.show(*screen);
  }
}

int print_stats(const AdminPlace& place) {
  const auto look = look_at(place);
  if (!look) return complain(look.error());
  const double seconds = seconds_since_start(look->readings);
  const Readings none;
  fmt::print("segue {}, {}, up {:.0f} s; all of this since then\n\n", version_of(look->readings),
             look->state, seconds);
  const Interval interval(none, look->readings, seconds);
  for (const std::string& line : overview(interval, look->tracks, kStatsColumns))
    fmt::print("{}\n", line);
  return 0;
}

}  // namespace segue::edge
