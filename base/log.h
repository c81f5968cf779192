// base/log.h - the daemon's own log: one line per event, a stable event name first, on stderr
// (journald takes it from there). Not the access log (edge/metrics/access_log.h). Any thread.
// Writes to stderr may wait, so nothing on the hot path logs: only state changes (start, reload, a
// drive going offline, a fallback taken) do.
#pragma once
#include <fmt/format.h>

#include <string_view>

namespace segue {

enum class LogLevel : uint8_t { Debug, Info, Warning, Error };

/// Lines below `level` are dropped. Info by default.
void set_log_level(LogLevel level) noexcept;
[[nodiscard]] LogLevel log_level() noexcept;

/// Writes "<N>event text" with the syslog priority prefix when stderr is the journal, "LEVEL event
/// text" otherwise. Control characters in `text` are escaped: a client cannot forge a line.
void log_line(LogLevel level, std::string_view event, std::string_view text) noexcept;

/// `event` is snake_case and stable: operators match on it. log_info("drive_offline", "path={}
/// errors={}", path, errors).
template <class... Args>
void log_info(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() <= LogLevel::Info)
    log_line(LogLevel::Info, event, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::Warning, event, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(std::string_view event, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::Error, event, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace segue
