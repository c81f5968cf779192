// conf/parse_units.h - sizes and durations as people write them, both ways.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace segue::conf {

/// "24GiB", "4TB", "512MiB", "1048576" (bytes): a whole number and B, KiB, MiB, GiB, TiB (powers of
/// 1024) or KB, MB, GB, TB (powers of 1000), any case, no space. Nothing for anything else, and for
/// what does not fit 63 bits.
[[nodiscard]] std::optional<uint64_t> parse_size(std::string_view text) noexcept;
inline constexpr std::string_view kSizeAllowed =
    "a size such as \"24GiB\": a whole number and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB";

/// "250ms", "10s", "5m", "24h", "30d", "0": a whole number and its unit; at most ten years.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(
    std::string_view text) noexcept;
inline constexpr std::string_view kDurationAllowed =
    "a duration such as \"10s\": a whole number and ms, s, m, h or d, at most 3650d";

/// For people: "24.0 GiB", "512.0 MiB", "96 B". Not meant to be parsed again.
[[nodiscard]] std::string format_size(uint64_t bytes);

}  // namespace segue::conf
