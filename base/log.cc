#include "base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

namespace segue {
namespace {

std::atomic<LogLevel> g_level{LogLevel::Info};

struct LevelName {
  std::string_view word;
  std::string_view journal_prefix;  // sd-daemon(3): "<N>" sets the priority of the line
};
constexpr std::array<LevelName, 4> kLevelNames{
    {{"debug", "<7>"}, {"info", "<6>"}, {"warning", "<4>"}, {"error", "<3>"}}};

bool stderr_is_journal() {
  // systemd sets JOURNAL_STREAM for units whose output it collects (systemd.exec(5)).
  static const bool is_journal =
      std::getenv("JOURNAL_STREAM") != nullptr;  // NOLINT(concurrency-mt-unsafe): read once
  return is_journal;
}

}  // namespace

void set_log_level(LogLevel level) noexcept { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() noexcept { return g_level.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view event, std::string_view text) noexcept {
  if (level < log_level()) return;
  const LevelName& name = kLevelNames[static_cast<size_t>(level)];
  std::string line;
  line.reserve(text.size() + event.size() + 16);
  line += stderr_is_journal() ? name.journal_prefix : name.word;
  if (!stderr_is_journal()) line += ' ';
  line += event;
  line += ' ';
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(line), "\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      line += c;
    }
  }
  line += '\n';
  ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  (void)written;  // a closed stderr must not take the server down
}

}  // namespace segue
