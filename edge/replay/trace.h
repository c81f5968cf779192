// edge/replay/trace.h - a trace of plays, read from CSV: who listened to what, when, how long.
//
// The first line names the columns; `user`, `end_unix` (seconds), `ms_played` and `track` must be
// among them, in any order, others are ignored. The file is hostile until read: each line is
// bounded and checked, and the first that is wrong ends the reading with its number.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace segue::edge {

inline constexpr uint32_t kTraceLineBytesMax = 4096;
inline constexpr uint32_t kTraceColumnsMax = 64;
inline constexpr uint32_t kTracePlaysMax = 100'000'000;
inline constexpr int64_t kTraceUnixMax = 4'102'444'800;  // the year 2100
inline constexpr uint32_t kTracePlayedMsMax = 24 * 3600 * 1000;

inline constexpr uint32_t kNoPlay = UINT32_MAX;

struct Play {
  int64_t start_ms = 0;  // since the first play of the trace
  uint32_t played_ms = 0;
  uint32_t user = 0;
  uint32_t track = 0;
  uint32_t session = 0;
  uint32_t next = kNoPlay;  // in the same session
  bool follows = false;     // another of its session went before
};

class Trace {
 public:
  struct Options {
    std::chrono::minutes session_gap{20};  // a longer silence begins another session
    uint64_t bytes_per_second = 20'000;
    std::chrono::seconds track_min{30};  // no track is shorter: some were only ever skipped
  };

  /// Waits for the file. The error is a sentence that begins with the line's number.
  [[nodiscard]] static std::expected<Trace, std::string> read(std::FILE* file,
                                                              const Options& options);

  /// By start, of equals as in the file.
  [[nodiscard]] const std::vector<Play>& plays() const noexcept { return plays_; }
  /// Of each track: the longest play of it, in bytes.
  [[nodiscard]] const std::vector<uint64_t>& track_bytes() const noexcept { return track_bytes_; }
  [[nodiscard]] uint32_t users() const noexcept { return users_; }
  [[nodiscard]] uint32_t sessions() const noexcept { return sessions_; }
  /// Of all tracks together.
  [[nodiscard]] uint64_t footprint_bytes() const noexcept { return footprint_bytes_; }
  /// What a play of so long reads of its track.
  [[nodiscard]] uint64_t bytes_of(const Play& play) const noexcept;

 private:
  struct Columns;
  [[nodiscard]] std::expected<void, std::string> read_line(const Columns& columns,
                                                           std::string_view line);
  [[nodiscard]] static uint32_t number_of(std::unordered_map<std::string, uint32_t>& known,
                                          std::string_view name);
  void settle();

  Options options_;
  std::vector<Play> plays_;
  std::vector<uint64_t> track_bytes_;
  uint32_t users_ = 0;
  uint32_t sessions_ = 0;
  uint64_t footprint_bytes_ = 0;
  std::unordered_map<std::string, uint32_t> user_numbers_, track_numbers_;  // while reading
};

}  // namespace segue::edge
