// http/date.h - HTTP dates (RFC 9110 §5.6.7) without locale, time zone data or clock.
#pragma once
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace segue::http {

/// Stands in for "now" where a two-digit year must be placed and the caller has no time at hand:
/// 2026-01-01. Only rfc850 dates need it.
inline constexpr std::chrono::sys_seconds kDatePivot{std::chrono::seconds{1767225600}};

/// Reads an IMF-fixdate, rfc850 or asctime date. Names match in any case (RFC 9111 §4.2); a zone
/// other than GMT, a day that does not exist or stray text is nothing. A wrong day name is not held
/// against a date. A two-digit year more than 50 years after `now` lies in the past.
[[nodiscard]] std::optional<std::chrono::sys_seconds> parse_date(
    std::string_view text, std::chrono::sys_seconds now = kDatePivot) noexcept;

inline constexpr size_t kDateBytes = 29;
/// Writes an IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") into `out` and returns it. Times outside
/// the years 0..9999 are clipped to them.
std::string_view write_date(std::chrono::sys_seconds time,
                            std::span<char, kDateBytes> out) noexcept;

}  // namespace segue::http
