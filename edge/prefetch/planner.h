// edge/prefetch/planner.h - decides what is fetched before anyone asks, and judges what became of
// it.
//
// A plain class: no I/O, no clock (the time is passed in), the same orders for the same calls. So
// the daemon, the replay of a trace and the unit tests run the same decisions. Loop-owned; every
// table has a bound.
//
//   candidate  waiting (its time has not come) -> ready -> running -> held -> judged
//   order      one candidate's bytes being fetched; whoever fetches says landed() and ended()
//   held       fetched and not asked for yet: judged when it is asked for, expires or is revoked
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/byte_range.h"
#include "base/loop/clock.h"
#include "base/units.h"
#include "edge/prefetch/model_score.h"
#include "edge/prefetch/target.h"
#include "edge/prefetch/token_bucket.h"

namespace segue::edge {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr uint32_t kPlanSessionsMax = 64 * 1024;
inline constexpr uint32_t kPlanCandidatesMax = 256 * 1024;
inline constexpr uint32_t kPlanHeldMax = 256 * 1024;
// What one of each costs with its places in sets and maps (planner_tables.h checks the structs).
inline constexpr uint64_t kPlanSessionBytes = 384;
inline constexpr uint64_t kPlanCandidateBytes = 448;
inline constexpr uint64_t kPlanHeldBytes = 256;

// A candidate that found no room rests for so long before it is tried again, each time for twice as
// long as the last.
inline constexpr milliseconds kRefusedRest{100};
inline constexpr uint32_t kRefusedRestDoublings = 5;

/// One recommended track, in bytes and points of time.
struct PlanEntry {
  TrackId track = 0;
  double probability = 1;
  MonoTime due{};                      // when it will be asked for
  uint64_t first_byte = 0;             // of a part: then `track` is part_of() it
  uint64_t head_bytes = 0;             // of its beginning, or of the part
  uint64_t whole_bytes = 0;            // 0: not known
  uint32_t tail_bytes = 0;             // of its end, for players that read that first; 0: none
  bool head_is_guess = false;          // nobody told how much of it holds its first seconds
  Ref<const PrefetchTarget> target{};  // for whoever fetches; may be null
};

/// A session's plan, instead of the one before.
struct PlanUpdate {
  uint64_t session = 0;
  uint32_t model = 0;
  uint64_t revision = 0;  // 0: the newest
  uint64_t listener = 0;  // a hash of whose it is; 0: whoever names the session
  MonoTime until{};
  std::optional<TrackId> now{};  // what plays: not revoked, though it is not next any more
  bool confirmed = false;        // `now` is beyond its head: the rest of it is worth fetching
  bool rest = true;              // whether a rest is worth anything; Options::rest besides
  std::span<const PlanEntry> next{};
};

/// What delivery was asked and did.
struct DemandNote {
  TrackId track = 0;
  uint64_t session = 0;  // 0: not known
  uint64_t subject = 0;  // a hash of whom its access token names; 0: it names nobody
  ByteRange range;       // of the request; its end may lie far beyond the track's
  bool hit = false;      // the first byte asked for was here
};

class Planner {
 public:
  struct Options {
    bool fetches = true;  // false: `observe`; plans and judges without a byte fetched
    uint64_t bytes_per_second = 8 * MiB;
    uint32_t orders_max = 8;             // at once
    uint64_t held_bytes_max = 64 * MiB;  // running, and held and not asked for
    uint64_t bytes_per_day = UINT64_MAX;
    double probability_min = 0.05;
    seconds lead_max{300};  // a track due later waits
    bool rest = true;       // fetch beyond the head once play is confirmed
    uint64_t rest_bytes_max = 4 * MiB;
    double precision_floor = 0.2;
    uint64_t judge_bytes = 32 * MiB;   // a model's precision is looked at after so many
    uint64_t memory_max = UINT64_MAX;  // sessions, candidates, targets; a quarter for what is held
    uint32_t probe_every = 16;         // of a throttled model's candidates, one in so many is taken
  };
  /// `targets`: where what its entries point to is counted; null: nowhere. Both outlive it.
  Planner(Options options, ModelScores& scores, const TargetBytes* targets = nullptr);
  ~Planner();
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  /// Takes over new limits; what runs goes on, and what is ready stays so.
  void configure(const Options& options);
  /// False: an old revision or no room; counted.
  bool set(const PlanUpdate& update, MonoTime now);
  void cancel(uint64_t session, uint64_t revision, MonoTime now);
  /// Whose plan the session has; nothing if it has none.
  [[nodiscard]] std::optional<uint32_t> model_of(uint64_t session) const;
  void see(const DemandNote& note, MonoTime now);
  /// While paused next() says nothing and running orders stay.
  void pause(bool paused) noexcept { paused_ = paused; }

  struct Order {
    uint64_t id = 0;
    TrackId track = 0;
    ByteRange head;           // from 0, or beyond the head; its end may lie beyond the track's
    uint32_t tail_bytes = 0;  // of the end, after the head
    bool head_is_guess = false;
    uint32_t model = 0;
    MonoTime due{};
    Ref<const PrefetchTarget> target;
  };
  /// What to fetch now: the greatest expected value per byte, of equals the one due first.
  [[nodiscard]] std::optional<Order> next(MonoTime now);
  /// When next() may say more, by time alone.
  [[nodiscard]] MonoTime wake_at(MonoTime now) const;

  /// Stopped: it stood aside (or nobody wants it any more); a candidate still wanted comes again at
  /// once. Refused: there was no room for it now; it comes again after kRefusedRest, twice that and
  /// so on. NotThere: the origin has no such thing; that is judged as if all of it had been fetched
  /// in vain, since names that are made up cost the origin a request each.
  enum class End : uint8_t { Complete, AlreadyHere, Failed, NotThere, Stopped, Refused };
  /// Its beginning has told how long its head is: judged by that, and the rest begins there. False:
  /// the budgets have no room for so much more; it stays what was ordered.
  [[nodiscard]] bool refine(uint64_t order, uint64_t head_bytes, uint32_t tail_bytes);
  /// Bytes that came from the origin for it: whole slices, each once. In all no more than the
  /// slices that the order touches, which is what the budgets were asked for.
  void landed(uint64_t order, uint64_t bytes);
  void ended(uint64_t order, End end, MonoTime now);
  /// Orders nobody wants any more: stop them (they still end).
  [[nodiscard]] std::vector<uint64_t> take_stopped();
  /// What was held of a track and is not wanted any more: let go of what nobody asked for. Other
  /// parts of the track may be held on.
  struct Dropped {
    Ref<const PrefetchTarget> target;
    ByteRange part;           // its end may lie beyond the track's
    uint32_t tail_bytes = 0;  // of the end
  };
  [[nodiscard]] std::vector<Dropped> take_dropped();
  /// What was held is not here any more (the cache evicted it). False: nobody held it.
  bool evicted(TrackId track);
  /// Revokes and judges what is over.
  void expire(MonoTime now);

  struct Gauges {
    uint64_t sessions = 0, candidates = 0, running = 0, held = 0, held_bytes = 0, bytes_today = 0;
    uint64_t memory_bytes = 0;
  };
  [[nodiscard]] Gauges gauges() const noexcept;
  struct Totals {
    Counter first_bytes, first_byte_misses;  // of all demand
  };
  [[nodiscard]] const Totals& totals() const noexcept { return totals_; }

 private:
  struct Tables;
  struct Candidate;
  struct Session;
  struct Held;
  struct Running;

  void revoke(uint32_t candidate, MonoTime now);
  void unlink(uint32_t candidate);
  void enter(uint32_t candidate, MonoTime now, MonoTime not_before = MonoTime{});
  void ripen(MonoTime now);
  [[nodiscard]] bool is_fulfilled(TrackId track) const;
  [[nodiscard]] static uint64_t slice_bytes(ByteRange part, uint32_t tail_bytes) noexcept;
  [[nodiscard]] static uint64_t planned_bytes(const Candidate& candidate) noexcept;
  [[nodiscard]] std::optional<uint32_t> first_with_room() const;
  [[nodiscard]] MonoTime affordable_at(uint32_t candidate, MonoTime now) const;
  void forget_session(uint64_t session, MonoTime now);
  [[nodiscard]] uint64_t memory_bytes() const noexcept;
  [[nodiscard]] bool has_memory(uint64_t bytes) const noexcept;
  [[nodiscard]] bool may_hold_more() const noexcept;
  [[nodiscard]] bool take_candidate(uint32_t model);
  bool add(const PlanUpdate& update, Session& session, const PlanEntry& entry, MonoTime now);
  void add_rest(uint64_t session, TrackId track, MonoTime now);
  void see_track(TrackId track, const DemandNote& note, MonoTime now);
  void see_listener(const DemandNote& note, MonoTime now);
  [[nodiscard]] Order begin(uint32_t candidate, MonoTime now);
  void hold(const Running& running, bool whole, MonoTime now);
  enum class Fate : uint8_t { Used, Expired, Revoked, Evicted };
  void judge(TrackId track, Fate fate);
  void weigh(uint32_t model, uint64_t judged, uint64_t used);
  void hold_until(TrackId track, Held& held, MonoTime until);
  void uncount(Held& held) noexcept;
  void refill(MonoTime now);
  [[nodiscard]] bool affordable(uint64_t bytes) const noexcept;

  Options options_;
  ModelScores& scores_;
  const TargetBytes* const targets_;
  Totals totals_;
  std::unique_ptr<Tables> tables_;
  bool paused_ = false;
  TokenBucket budget_{seconds{2}};  // of bytes
  MonoTime day_began_{};
  uint64_t bytes_today_ = 0;
  // Of running orders and of what is held: a head until it is asked for, what lies beyond one until
  // it is judged, since it is read piece by piece and lies among what nobody asked for until then.
  uint64_t held_bytes_ = 0;
  uint64_t last_order_ = 0;
};

}  // namespace segue::edge
