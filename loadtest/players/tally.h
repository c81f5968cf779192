// loadtest/players/tally.h - what all listeners of one persona met, and how a run is printed.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loadtest/players/histogram.h"

namespace loadtest {

/// What went wrong with a response; the names are those of the JSON.
enum class Trouble : uint8_t { Connect, Closed, Malformed, Status, Range, Bytes };
inline constexpr std::array<std::string_view, 6> kTroubleNames = {"connect", "closed", "malformed",
                                                                  "status",  "range",  "bytes"};

struct Tally {
  uint64_t listeners = 0;
  uint64_t plays = 0;
  uint64_t finished = 0;   // plays heard to their end, or downloads complete
  uint64_t preloaded = 0;  // plays whose first bytes were here before they began
  uint64_t seeks = 0;
  uint64_t requests = 0;
  uint64_t responses = 0;  // complete
  uint64_t left = 0;       // left by the client in the middle
  uint64_t bytes = 0;      // of bodies, each compared
  uint64_t stalls = 0;
  std::array<uint64_t, kTroubleNames.size()> troubles{};
  Histogram first_byte_us;  // request to first byte of body
  Histogram first_64k_us;   // first request of a play to 64 KiB in a row (or all there is)
  Histogram stall_us;

  void add(const Tally& other);
  [[nodiscard]] uint64_t all_troubles() const;
};

struct NamedTally {
  std::string_view name;
  Tally tally;
};

/// A table for people.
[[nodiscard]] std::string print_tallies(const std::vector<NamedTally>& tallies, double seconds);
/// The same and the histograms as one JSON object.
[[nodiscard]] std::string tallies_json(const std::vector<NamedTally>& tallies, double seconds,
                                       double acceleration);

}  // namespace loadtest
