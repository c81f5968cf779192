#include "conf/parse_units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/units.h"

namespace segue::conf {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr uint64_t kThousand = 1000;
constexpr std::array<Unit, 10> kSizeUnits{{{"", 1},
                                           {"b", 1},
                                           {"kib", KiB},
                                           {"mib", MiB},
                                           {"gib", GiB},
                                           {"tib", TiB},
                                           {"kb", kThousand},
                                           {"mb", kThousand* kThousand},
                                           {"gb", kThousand* kThousand* kThousand},
                                           {"tb", kThousand* kThousand* kThousand* kThousand}}};
constexpr uint64_t kDayMs = kThousand * 3600 * 24;
constexpr std::array<Unit, 5> kDurationUnits{
    {{"ms", 1}, {"s", kThousand}, {"m", 60 * kThousand}, {"h", 3600 * kThousand}, {"d", kDayMs}}};
constexpr uint64_t kDurationMsMax = 3650 * kDayMs;

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char left, char right) {
    return (left >= 'A' && left <= 'Z' ? static_cast<char>(left + 32) : left) == right;
  });
}

/// The number in front; `rest` is what follows it. Signs, spaces and decimal points are not
/// numbers.
std::optional<uint64_t> leading_number(std::string_view text, std::string_view& rest) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  rest = text.substr(static_cast<size_t>(end - text.data()));
  return number;
}

std::optional<uint64_t> times(uint64_t number, uint64_t factor, uint64_t result_max) {
  if (number > result_max / factor) return std::nullopt;
  return number * factor;
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) noexcept {
  std::string_view unit;
  const auto number = leading_number(text, unit);
  if (!number) return std::nullopt;
  for (const Unit& known : kSizeUnits) {
    if (equals_ignoring_case(unit, known.name)) return times(*number, known.factor, INT64_MAX);
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) noexcept {
  std::string_view unit;
  const auto number = leading_number(text, unit);
  if (!number) return std::nullopt;
  if (unit.empty() && *number == 0) return std::chrono::milliseconds{0};
  for (const Unit& known : kDurationUnits) {
    if (unit != known.name) continue;
    const auto ms = times(*number, known.factor, kDurationMsMax);
    if (!ms) return std::nullopt;
    return std::chrono::milliseconds{static_cast<int64_t>(*ms)};
  }
  return std::nullopt;
}

std::string format_size(uint64_t bytes) {
  if (bytes < KiB) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  for (const char* unit : {"KiB", "MiB", "GiB"}) {
    if (value < 1024) return fmt::format("{:.1f} {}", value, unit);
    value /= 1024;
  }
  return fmt::format("{:.1f} TiB", value);
}

}  // namespace segue::conf
