// edge/replay/replay.h - plays a trace against the cache engine and the planner under a virtual
// clock: what would have been a hit, and what prefetch would have been good for.
//
// The tiers, the planner and its judgement are the node's own code. What is not: a play asks for
// its slices one by one at the pace of the music (no read-ahead), an origin takes a fixed time for
// each prefetch and none for demand, and a drive reads and writes at once.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "edge/prefetch/planner.h"
#include "edge/prefetch/predictor.h"
#include "edge/replay/replay_cache.h"
#include "edge/replay/trace.h"

namespace segue::edge {

/// Who says what comes next.
struct ReplayFeed {
  enum class Kind : uint8_t {
    None,
    Learned,  // the node's own predictor, of guesses at least as probable as `known`
    Oracle,   // knows what follows with probability `known`, else names a popular wrong track
  };
  Kind kind = Kind::None;
  double known = 1;
  [[nodiscard]] std::string name() const;
};

struct ReplayOptions {
  ReplayCache::Options cache;
  Planner::Options plan;
  milliseconds head{10'000};
  uint64_t bytes_per_second = 20'000;  // of the music
  milliseconds fetch_time{1'000};      // from an order to its bytes
  uint64_t seed = 1;
  Predictor::Options predictor;
  ReplayFeed feed;
};

struct ReplayResult {
  struct Starts {  // plays, by whether another went before in their session
    uint64_t plays = 0;
    uint64_t misses = 0;  // of first bytes
  };
  Starts first, following;
  uint64_t reads = 0, read_bytes = 0;  // slices
  uint64_t ram_hit_bytes = 0, drive_hit_bytes = 0;
  uint64_t written_bytes = 0;  // to the drive
  uint64_t refused_writes = 0;
  // prefetch
  uint64_t planned = 0, late = 0, avoided = 0;
  uint64_t fetched_bytes = 0, used_bytes = 0, wasted_bytes = 0;

  uint64_t observed_planned = 0, observed_used = 0;  // guesses that were only looked at
  uint64_t predictor_rows = 0;

  [[nodiscard]] uint64_t plays() const noexcept { return first.plays + following.plays; }
  [[nodiscard]] uint64_t first_byte_misses() const noexcept {
    return first.misses + following.misses;
  }
  /// From origins, for clients and ahead of them.
  [[nodiscard]] uint64_t origin_bytes() const noexcept {
    return read_bytes - ram_hit_bytes - drive_hit_bytes + fetched_bytes;
  }
  /// Of the bytes that clients read.
  [[nodiscard]] double hit_ratio() const noexcept;
  [[nodiscard]] double first_byte_hit_ratio() const noexcept;
  /// First-byte misses avoided per play.
  [[nodiscard]] double coverage() const noexcept;
  /// Bytes used of the bytes prefetched; 1 if there were none.
  [[nodiscard]] double precision() const noexcept;
};

/// Waits for nothing, but takes its time: no loop's business. Errors: sizes that cannot be.
[[nodiscard]] Result<ReplayResult> replay(const Trace& trace, const ReplayOptions& options);

}  // namespace segue::edge
