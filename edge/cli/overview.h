// edge/cli/overview.h - what an operator looks at first, as lines of text: `segue top` shows them
// over an interval, `segue stats` since the start. Pure: no terminal and no clock.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edge/cli/readings.h"

namespace segue::edge {

inline constexpr uint32_t kTopTracksMax = 10;

/// One track of the latest hour that /listens tells of.
struct TopTrack {
  std::string site;
  std::string track;
  uint64_t plays = 0;
  uint64_t listeners = 0;
  double seconds = 0;
};

/// The tracks played most in the latest hour, at most kTopTracksMax. Lines that are not what
/// /listens says are skipped.
[[nodiscard]] std::vector<TopTrack> top_tracks(std::string_view json_lines);

/// Each line at most `width` columns of printable ASCII: names come from settings and clients.
/// `tracks`: none where listening is not counted, which is then said.
[[nodiscard]] std::vector<std::string> overview(const Interval& interval,
                                                const std::optional<std::vector<TopTrack>>& tracks,
                                                size_t width);

}  // namespace segue::edge
