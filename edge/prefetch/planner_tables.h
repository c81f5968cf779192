// edge/prefetch/planner_tables.h - what a Planner remembers. Only planner*.cc include it.
#pragma once
#include <cmath>
#include <set>
#include <unordered_map>
#include <vector>

#include "edge/prefetch/planner.h"

namespace segue::edge {

inline constexpr uint32_t kNoCandidate = UINT32_MAX;

struct Planner::Candidate {
  enum class State : uint8_t { Free, Waiting, Ready, Running, Fulfilled };
  State state = State::Free;
  int8_t density = 0;    // log2 of the expected value per byte: equals are taken by their due time
  uint8_t refusals = 0;  // in a row: there was no room for it
  uint32_t model = 0;
  PlanEntry entry;
  ByteRange part;  // [0, head) or what lies beyond it
  uint64_t session = 0;
  uint64_t order = 0;  // Running
  uint64_t number = 0;
  MonoTime until{};
  MonoTime ripe{};  // Waiting: until then; its place among those who wait
};

struct Planner::Session {
  uint64_t revision = 0;
  uint32_t model = 0;
  uint64_t listener = 0;
  MonoTime until{};
  std::optional<PlanEntry> playing;  // known once it was a candidate
  bool rest_planned = false;
  bool rest = true;  // its plan may fetch beyond heads
  std::vector<uint32_t> candidates;
};

struct Planner::Held {
  uint64_t bytes = 0;
  uint64_t used = 0;
  ByteRange part;
  uint32_t tail_bytes = 0;
  bool tail_used = false;
  bool asked = false;
  bool counted = true;  // in held_bytes_
  bool whole = true;    // false: it stood aside for demand before all of it was here
  uint32_t model = 0;
  MonoTime since{};
  MonoTime until{};
  Ref<const PrefetchTarget> target;
};

struct Planner::Running {
  uint32_t candidate = kNoCandidate;  // none: revoked meanwhile
  TrackId track = 0;
  uint32_t model = 0;
  ByteRange part;
  uint32_t tail_bytes = 0;
  uint64_t planned_bytes = 0;
  uint64_t landed = 0;
  bool joined = false;
  MonoTime until{};
  Ref<const PrefetchTarget> target;
};

struct Planner::Tables {
  // A vector that doubled has twice the place it needs; a node of a set or map costs its block.
  static_assert(2 * sizeof(Candidate) + 4 * 48 <= kPlanCandidateBytes);
  static_assert(sizeof(Session) + 2 * 64 + 64 <= kPlanSessionBytes);
  static_assert(sizeof(Held) + 2 * 64 <= kPlanHeldBytes);
  struct Ready {
    int density;
    MonoTime due;
    uint64_t number;
    uint32_t candidate;
    bool operator<(const Ready& other) const noexcept {
      if (density != other.density) return density > other.density;
      if (due != other.due) return due < other.due;
      return number < other.number;
    }
  };
  [[nodiscard]] static Ready ready_of(const Candidate& candidate, uint32_t index) noexcept {
    return {candidate.density, candidate.entry.due, candidate.number, index};
  }
  using End = std::pair<MonoTime, uint64_t>;
  using Ends = std::set<End>;
  struct Window {
    uint64_t judged = 0, used = 0;
    uint32_t probe = 0;
  };

  std::vector<Candidate> candidates;
  std::vector<uint32_t> free;
  uint64_t candidates_made = 0;
  std::set<Ready> ready;
  std::set<std::pair<MonoTime, uint32_t>> waiting;
  std::unordered_map<uint64_t, Session> sessions;
  std::unordered_map<TrackId, Held> held;
  std::unordered_map<uint64_t, Running> running;
  std::unordered_map<TrackId, uint64_t> running_by_track;
  std::unordered_map<TrackId, uint32_t> wanted;  // how many candidates name it
  Ends session_ends, held_ends;                  // one each
  uint64_t rest_bytes = 0;                       // of the bytes held for nobody yet: beyond heads
  std::vector<uint64_t> stopped;
  std::vector<Dropped> dropped;
  Window windows[kPrefetchModelsMax];
};

/// What lies beyond a track's head is held and judged apart from it.
[[nodiscard]] constexpr TrackId rest_of(TrackId track) noexcept { return mix(track ^ 0x72657374); }

}  // namespace segue::edge
