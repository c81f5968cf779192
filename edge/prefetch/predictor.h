// edge/prefetch/predictor.h - learns from a node's own traffic which track follows which, where
// there is no feed to say so.
//
// A plain class: no I/O, no clock (the time is passed in), nothing allocated after construction
// but by save(). A row holds what followed one state (a listener on a track, a pair of tracks, a
// track, ...), newer plays counting more; a guess asks the most exact state first and backs off to
// the others as far as it knows little (as PPM does: Cleary and Witten 1984). Rows and sessions
// stand in sets of eight, in which the least worth goes first: memory is bounded and constant.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "base/units.h"
#include "edge/prefetch/target.h"

namespace segue::edge {

/// A listener began a track.
struct PlayBegun {
  uint64_t session = 0;   // whose plays follow one another; never 0
  uint64_t listener = 0;  // the same over all sessions; 0: not known
  TrackId track = 0;
  uint64_t kin = 0;     // tracks of the same audio analysis share it; 0: not known
  uint32_t minute = 0;  // of wall time, since 1970
};

struct Guess {
  TrackId track = 0;
  double probability = 0;
};

class Predictor {
 public:
  struct Options {
    uint64_t memory_bytes = 32 * MiB;
    std::chrono::hours half_life{24 * 30};  // of what was learned
    std::chrono::minutes session_gap{20};   // a longer silence begins another session
  };
  static constexpr uint32_t kGuessesMax = 4;
  static constexpr uint64_t kMemoryMin = 1 * MiB;
  static constexpr uint64_t kMemoryMax = 1 * GiB;

  explicit Predictor(const Options& options);

  /// What the session plays from (playlist, album, station), from here on.
  void tell_context(uint64_t session, uint64_t context, uint32_t minute);
  /// Learns what this play followed. False: the session plays this track already.
  bool see(const PlayBegun& play);
  /// What may follow `play`, which see() has taken, most probable first. The count.
  [[nodiscard]] uint32_t guess(const PlayBegun& play, std::span<Guess, kGuessesMax> out) const;

  [[nodiscard]] uint64_t rows() const noexcept { return rows_used_; }
  [[nodiscard]] uint64_t bytes() const noexcept {
    return rows_.size() * sizeof(Row) + sessions_.size() * sizeof(Session);
  }

  /// Appends up to `most` rows from number `from` on, as they are; the number to go on from, 0 once
  /// all have been. A loop takes a few at a time.
  [[nodiscard]] uint64_t append_rows(uint64_t from, uint64_t most,
                                     std::vector<std::byte>& out) const;
  /// Takes rows of a predictor of whatever memory, out of a file: hostile. The error is a sentence;
  /// nothing is changed then.
  [[nodiscard]] std::expected<void, std::string> take_rows(std::span<const std::byte> rows,
                                                           uint32_t minute);
  static constexpr size_t kRowBytes = 88;

 private:
  static constexpr uint32_t kWays = 8;
  static constexpr uint32_t kSuccessors = 6;
  struct Row {
    uint64_t state = 0;  // 0: free
    float total = 0;     // of all that followed, also of what found no place here
    uint32_t minute = 0;
    std::array<TrackId, kSuccessors> tracks{};
    std::array<float, kSuccessors> weights{};  // 0: free
  };
  static_assert(sizeof(Row) == kRowBytes);
  struct Session {
    uint64_t key = 0;  // 0: free
    TrackId previous = 0;
    TrackId current = 0;
    uint64_t kin = 0;
    uint64_t context = 0;
    uint32_t minute = 0;
  };
  struct Level {
    uint64_t state = 0;  // 0: not known
    double doubt = 0;    // a row that has seen so much is believed by half
  };
  static constexpr uint32_t kLevels = 6;

  [[nodiscard]] static std::array<Level, kLevels> levels_of(const PlayBegun& play, TrackId before,
                                                            uint64_t context);
  [[nodiscard]] static bool is_plausible(const Row& row, uint32_t minute) noexcept;
  [[nodiscard]] double faded(double weight, uint32_t from, uint32_t to) const noexcept;
  [[nodiscard]] const Row* find(uint64_t state) const noexcept;
  [[nodiscard]] Row& place_for(uint64_t state, uint32_t minute);
  void count(uint64_t state, TrackId next, uint32_t minute);
  [[nodiscard]] Session& session_for(uint64_t key) noexcept;
  [[nodiscard]] const Session* find_session(uint64_t key) const noexcept;

  Options options_;
  std::vector<Row> rows_;  // sets of kWays
  std::vector<Session> sessions_;
  uint64_t rows_used_ = 0;
};

}  // namespace segue::edge
