// loadtest/players/play.h - one track being played by one listener: which bytes are here, where the
// playing position is, whether it stalls. No I/O; media time runs `acceleration` times as fast as
// the clock.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "loadtest/players/net.h"
#include "loadtest/players/personas.h"
#include "loadtest/players/tally.h"

namespace loadtest {

/// Ranges of bytes, merged where they touch.
class Intervals {
 public:
  void add(uint64_t first, uint64_t end);
  /// The end of what lies together from `at` on; `at` where that byte is not here.
  [[nodiscard]] uint64_t end_from(uint64_t at) const;

 private:
  std::map<uint64_t, uint64_t> ends_;  // by first byte
};

class Play {
 public:
  /// `stop_at`: the byte at which the listener has had enough.
  Play(Plan plan, uint64_t stop_at, double acceleration, Tally& tally);

  Plan plan;
  uint64_t leave_at;              // the listener goes on to the next track there
  std::optional<uint64_t> seeks;  // at this byte the listener seeks
  std::optional<uint64_t> seek_to;
  uint64_t preload_at;  // the byte 30 s before the end
  std::string etag;

  /// The first request is made: the clock of "64 KiB" starts.
  void asked(Time now);
  /// From here on it is heard (a preloaded track waits for its turn).
  void start(Time now);
  void move_to(uint64_t position, Time now);
  /// True where the listener has something to do: it can begin or go on playing now.
  bool on_bytes(uint64_t first, uint64_t end, Time now);
  /// Plays on until `now`; counts stalls.
  void advance(Time now);

  [[nodiscard]] uint64_t position() const noexcept { return position_; }
  [[nodiscard]] uint64_t here_until() const { return have_.end_from(position_); }
  [[nodiscard]] bool started() const noexcept { return started_; }
  [[nodiscard]] bool over() const noexcept {
    return started_ && position_ >= std::min(leave_at, plan.bytes);
  }
  /// When the position will be at `byte`, if it plays on; nothing: it does not play.
  [[nodiscard]] std::optional<Time> time_of(uint64_t byte) const;
  [[nodiscard]] bool has(uint64_t first, uint64_t end) const {
    return have_.end_from(first) >= end;
  }

 private:
  [[nodiscard]] bool can_play() const;

  const double bytes_per_second_;  // of the clock
  Tally& tally_;
  Intervals have_;
  uint64_t position_ = 0;
  uint64_t origin_ = 0;  // where the count of the first 64 KiB begins
  Time clock_;           // when position_ was true
  Time asked_;
  Time stalled_since_;
  bool first_asked_ = false;
  bool first_64k_ = false;
  bool started_ = false;
  bool playing_ = false;
  bool stalled_ = false;
};

}  // namespace loadtest
