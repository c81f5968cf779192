#include "http/date.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "http/header_fields.h"

namespace segue::http {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

constexpr std::array<std::string_view, 7> kDayNames{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                    "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonthNames{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Reads one date from left to right; the first mismatch makes every later step fail.
class DateReader {
 public:
  explicit DateReader(std::string_view text) : rest_(text) {}

  void literal(std::string_view expected) {
    if (rest_.size() < expected.size() ||
        !equals_ignore_case(rest_.substr(0, expected.size()), expected)) {
      return give_up();
    }
    rest_.remove_prefix(expected.size());
  }

  int number(size_t digits) {
    if (rest_.size() < digits) return give_up(), 0;
    int value = 0;
    for (char c : rest_.substr(0, digits)) {
      if (c < '0' || c > '9') return give_up(), 0;
      value = value * 10 + (c - '0');
    }
    rest_.remove_prefix(digits);
    return value;
  }

  /// asctime pads the day with a space.
  int padded_day() {
    if (rest_.starts_with(' ')) {
      rest_.remove_prefix(1);
      return number(1);
    }
    return number(2);
  }

  unsigned month() {
    for (unsigned i = 0; i < kMonthNames.size(); ++i) {
      if (rest_.size() >= 3 && equals_ignore_case(rest_.substr(0, 3), kMonthNames[i])) {
        rest_.remove_prefix(3);
        return i + 1;
      }
    }
    return give_up(), 0;
  }

  seconds time_of_day() {
    const int hour = number(2);
    literal(":");
    const int minute = number(2);
    literal(":");
    const int second = number(2);
    if (hour > 23 || minute > 59 || second > 60) give_up();  // 60: a leap second
    return hours{hour} + minutes{minute} + seconds{second};
  }

  void give_up() {
    failed_ = true;
    rest_ = {};
  }
  [[nodiscard]] bool is_done() const { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

std::optional<sys_seconds> at(const DateReader& reader, int year, unsigned month, int day,
                              seconds time_of_day) {
  if (!reader.is_done()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok()) return std::nullopt;
  return sys_days{date} + time_of_day;
}

/// "Sun, 06 Nov 1994 08:49:37 GMT" after the comma.
std::optional<sys_seconds> parse_fixdate(std::string_view text) {
  DateReader reader(text);
  reader.literal(" ");
  const int day = reader.number(2);
  reader.literal(" ");
  const unsigned month = reader.month();
  reader.literal(" ");
  const int year = reader.number(4);
  reader.literal(" ");
  const seconds time_of_day = reader.time_of_day();
  reader.literal(" GMT");
  return at(reader, year, month, day, time_of_day);
}

int current_year(sys_seconds now) {
  return static_cast<int>(std::chrono::year_month_day{std::chrono::floor<days>(now)}.year());
}

/// "Sunday, 06-Nov-94 08:49:37 GMT" after the comma.
std::optional<sys_seconds> parse_rfc850(std::string_view text, sys_seconds now) {
  DateReader reader(text);
  reader.literal(" ");
  const int day = reader.number(2);
  reader.literal("-");
  const unsigned month = reader.month();
  reader.literal("-");
  const int two_digits = reader.number(2);
  reader.literal(" ");
  const seconds time_of_day = reader.time_of_day();
  reader.literal(" GMT");
  const int this_year = current_year(now);
  int year = this_year - this_year % 100 + two_digits;
  if (year > this_year + 50) year -= 100;
  return at(reader, year, month, day, time_of_day);
}

/// "Sun Nov  6 08:49:37 1994" after the day name.
std::optional<sys_seconds> parse_asctime(std::string_view text) {
  DateReader reader(text);
  reader.literal(" ");
  const unsigned month = reader.month();
  reader.literal(" ");
  const int day = reader.padded_day();
  reader.literal(" ");
  const seconds time_of_day = reader.time_of_day();
  reader.literal(" ");
  const int year = reader.number(4);
  return at(reader, year, month, day, time_of_day);
}

char* put_digits(char* out, int value, int digits) {
  for (int i = digits - 1; i >= 0; --i) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  return out + digits;
}
char* put_text(char* out, std::string_view text) { return std::ranges::copy(text, out).out; }

}  // namespace

std::optional<sys_seconds> parse_date(std::string_view text, sys_seconds now) noexcept {
  text = trim_whitespace(text);
  const size_t name_end = std::min(text.find_first_of(", "), text.size());
  const std::string_view name = text.substr(0, name_end);
  const std::string_view rest = text.substr(name_end);
  for (std::string_view day_name : kDayNames) {
    if (equals_ignore_case(name, day_name.substr(0, 3))) {
      return rest.starts_with(',') ? parse_fixdate(rest.substr(1)) : parse_asctime(rest);
    }
    if (equals_ignore_case(name, day_name)) {
      return rest.starts_with(',') ? parse_rfc850(rest.substr(1), now) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::string_view write_date(sys_seconds time, std::span<char, kDateBytes> out) noexcept {
  constexpr sys_seconds kFirst = sys_days{std::chrono::year{0} / 1 / 1};
  constexpr sys_seconds kLast =
      sys_days{std::chrono::year{9999} / 12 / 31} + hours{24} - seconds{1};
  time = std::clamp(time, kFirst, kLast);
  const sys_days day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const auto second_of_day = static_cast<int>((time - day).count());
  const std::chrono::weekday weekday{day};
  char* at = put_text(out.data(), kDayNames[weekday.c_encoding()].substr(0, 3));
  at = put_text(at, ", ");
  at = put_digits(at, static_cast<int>(static_cast<unsigned>(date.day())), 2);
  *at++ = ' ';
  at = put_text(at, kMonthNames[static_cast<unsigned>(date.month()) - 1]);
  *at++ = ' ';
  at = put_digits(at, static_cast<int>(date.year()), 4);
  *at++ = ' ';
  at = put_digits(at, second_of_day / 3600, 2);
  *at++ = ':';
  at = put_digits(at, second_of_day / 60 % 60, 2);
  *at++ = ':';
  at = put_digits(at, second_of_day % 60, 2);
  at = put_text(at, " GMT");
  return {out.data(), static_cast<size_t>(at - out.data())};
}

}  // namespace segue::http
