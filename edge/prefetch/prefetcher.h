// edge/prefetch/prefetcher.h - joins the feed, the planner and the fills: takes lines of a feed and
// notes of what was asked for, and fetches what the planner orders as a caller of lowest priority.
//
// Loop-owned, one per node: all of it runs on the loop it was made on. Fills of other loops join
// its fills through the store.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/counter.h"
#include "edge/fill/fills.h"
#include "edge/prefetch/asked_queue.h"
#include "edge/prefetch/feed_lines.h"
#include "edge/prefetch/hint_gate.h"
#include "edge/prefetch/origin_pace.h"
#include "edge/prefetch/planner.h"
#include "edge/prefetch/predictor.h"
#include "origin/counters.h"

namespace segue::edge {

inline constexpr uint32_t kCatalogueFactsMax = 256 * 1024;
inline constexpr uint64_t kFactBytes = 136;  // of one, with its places in the map and the ring
inline constexpr uint64_t kHeadBytesMax = 4 * MiB;

struct FeedCounters {
  Counter lines, malformed, too_fast, plans, cancels, facts;
};

class SavedPredictor;

class Prefetcher {
 public:
  enum class Learn : uint8_t { Off, Observe, Fetch };
  struct Options {
    Planner::Options plan;
    milliseconds head{10'000};           // of a track, where the feed does not say
    uint32_t lines_per_second = 20'000;  // of all sources together; more: come again
    uint32_t pause_fills = 64;           // requests of clients that wait for origins: no prefetch
    uint64_t hint_bytes_per_second = 4 * MiB;  // of what players say they ask for next; 0: nothing
    uint32_t playlist_segments = 2;  // of an HLS playlist, hinted at ahead of who plays it; 0: none
    uint64_t memory = 32 * MiB;  // of plans, guesses, playlists, facts; constant after construction
    Learn learn = Learn::Off;    // from the node's own traffic, where no feed plans
    Predictor::Options predictor{};  // constant after construction
  };
  /// What says how busy the node is; all outlive the prefetcher.
  struct OriginLoad {
    const origin::OriginCounters* counters = nullptr;  // null: not counted
    const origin::FetchPlaces* places = nullptr;
  };
  struct Pressure {
    std::vector<const FillCounters*> fills;        // of all loops
    std::vector<std::vector<OriginLoad>> origins;  // by Site::origin, of all loops
    const Overload* overload = nullptr;            // null: nothing is shed
  };
  /// `loops`: how many deliveries tell what they were asked.
  Prefetcher(Loop& loop, cache::LocalStore& local, Fills& fills, uint32_t loops, Options options);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The sites that tracks are on, from here on; those under way end as they began. `rules`: the
  /// snapshot that they are of, by which requests tell whether what was read holds for them.
  void set_sites(std::vector<Ref<const Site>> sites, Ref<const RefCounted> rules);
  void set_pressure(const Pressure& pressure);
  void configure(const Options& options);

  enum class Line : uint8_t { Taken, Malformed, TooFast, Purge };
  /// What the source knows of a line.
  struct LineFacts {
    milliseconds age{0};     // since it was said: its times count from then
    bool may_purge = false;  // else a purge is malformed
  };
  /// One line of a feed. TooFast: not read at all; come again in a second. Purge: it is one, and
  /// the caller's to make.
  Line take_line(PrefetchSource source, std::string_view line, uint64_t number, LineFacts facts);
  Line take_line(PrefetchSource source, std::string_view line, uint64_t number) {
    return take_line(source, line, number, {});
  }
  /// Whether a line would be taken now.
  [[nodiscard]] bool has_room() noexcept;
  /// A line that was too long to be read.
  void refuse_line(PrefetchSource source, uint64_t number);

  /// Where the delivery of that loop tells what it was asked.
  [[nodiscard]] Inbox& inbox(uint32_t loop_index) noexcept { return *inboxes_[loop_index]; }

  // --- what was learned ---
  [[nodiscard]] bool learns() const noexcept;
  /// Whether its guesses are fetched now: switched on, and precise enough.
  [[nodiscard]] bool trusts_guesses() const noexcept;
  [[nodiscard]] uint64_t learned_rows() const noexcept;
  [[nodiscard]] uint64_t known_tracks() const noexcept;
  [[nodiscard]] uint64_t learned_bytes_max() const noexcept;  // of a copy
  /// Copies up to `most` rows, and once these are copied names, from number `from` on; the number
  /// to go on from, 0 once all is copied. Only where it learns.
  [[nodiscard]] uint64_t copy_learned(SavedPredictor& saved, uint64_t from, uint64_t most) const;
  /// Rows and names out of a file; the error is a sentence. Only where it learns; after
  /// set_sites().
  [[nodiscard]] std::expected<void, std::string> take_learned(std::span<const std::byte> file);
  /// Tracks have the same ids where this is the same.
  [[nodiscard]] uint64_t owner_of_ids() const;

  /// Stops what runs and waits for it. The deliveries have been drained before.
  [[nodiscard]] Task<void> drain();

  [[nodiscard]] const Planner& planner() const noexcept { return planner_; }
  [[nodiscard]] const ModelScores& scores() const noexcept { return scores_; }
  [[nodiscard]] const FeedCounters& feed(PrefetchSource source) const noexcept {
    return feeds_[static_cast<uint8_t>(source)];
  }
  [[nodiscard]] uint64_t notes_dropped() const noexcept;
  [[nodiscard]] const HintCounters& hints(HintSource source) const noexcept {
    return hint_counts_[static_cast<uint8_t>(source)];
  }
  /// Hints that a full queue dropped.
  [[nodiscard]] uint64_t hints_dropped() const noexcept;
  /// Of the deliveries of all loops.
  [[nodiscard]] uint64_t hints_refused(HintSource source,
                                       const Counter HintRefusals::* reason) const noexcept;
  [[nodiscard]] uint64_t playlists_read(const Counter PlaylistCounters::* what) const noexcept;
  [[nodiscard]] const PlaylistTable& playlists() const noexcept { return playlists_; }
  [[nodiscard]] const Counter& pauses() const noexcept { return pauses_; }
  /// Heads whose length their own beginning has told.
  [[nodiscard]] const Counter& heads_told() const noexcept { return heads_told_; }

 private:
  struct Facts {
    uint64_t whole_bytes = 0;
    uint64_t head_bytes = 0;
    double bytes_per_second = 0;
    uint64_t kin = 0;   // tracks that sound alike
    bool tail = false;  // players look at its end first
  };
  struct Source {
    std::vector<OriginLoad> loops;
    OriginPace pace;
    bool pressed = false;  // at the last look: its clients come first
  };
  struct Job;
  struct Learned;
  struct Tick : Timer {
    explicit Tick(Prefetcher& to) : Timer(&Tick::run), owner(to) {}
    static void run(Timer& timer) { static_cast<Tick&>(timer).owner.step(); }
    Prefetcher& owner;
  };

  static void take_notes(AskedQueue& queue, void* owner);
  static void take_hints(HintQueue& queue, void* owner);
  void see(const AskedNote& note);
  void take_hint(const HintNote& note);
  [[nodiscard]] PlanEntry entry_of_hint(const HintNote& note,
                                        Ref<const PrefetchTarget> target) const;
  [[nodiscard]] Ref<const PrefetchTarget> target_of_key(std::string_view key_text,
                                                        TargetBytes* counted);
  void set_budgets();
  void note_malformed(PrefetchSource source, uint64_t number, std::string_view mistake);
  void take_plan(const FeedMessage& message, milliseconds age);
  bool take_facts(const FeedTrackFacts& facts);
  [[nodiscard]] Facts& facts_for(TrackId track);
  [[nodiscard]] uint64_t kin_of(const FeedTrackFacts& facts) const;
  [[nodiscard]] uint32_t minute() const;
  [[nodiscard]] Ref<const PrefetchTarget> target_of(const FeedTrack& track);
  [[nodiscard]] Ref<const PrefetchTarget> make_target(const FeedTrack& track, TargetBytes* counted);
  [[nodiscard]] static Planner::Options plan_of(const Options& options);
  [[nodiscard]] PlanEntry entry_of(const FeedNext& next, MonoTime due,
                                   Ref<const PrefetchTarget> target) const;
  [[nodiscard]] uint64_t session_of(std::string_view name) const;
  void step();
  enum class Press : uint8_t { None, Some, All };
  [[nodiscard]] bool is_pressed() const noexcept;
  [[nodiscard]] uint64_t heads_awaited() const noexcept;
  [[nodiscard]] Press look_at_origins();
  [[nodiscard]] bool is_pressed_at(const Site& site) const noexcept;
  void start(Planner::Order order);
  void end_order(uint64_t order, Planner::End end);
  [[nodiscard]] bool is_resting() const noexcept;
  void stop_jobs() noexcept;
  void stop_jobs_at_pressed_origins() noexcept;
  void drop_what_is_over();
  void drop(const Planner::Dropped& dropped);
  Task<void> run(Ref<Job> owned);
  Task<Planner::End> fetch(Job& job);
  void note_what_is_here(Job& job);
  void refine(Job& job, const cache::Selected& selected);
  Task<Result<Done>> bring(Scope& scope, Job& job, const cache::Selected& selected, ByteRange range,
                           bool is_ours);

  // constant after construction
  Loop& loop_;
  cache::LocalStore& local_;
  Fills& fills_;
  std::vector<const FillCounters*> demand_;
  const Overload* overload_ = nullptr;
  // loop-owned
  std::vector<Source> origins_;
  Options options_;
  std::vector<Ref<const Site>> sites_;
  ModelScores scores_;
  TargetBytes targets_;  // of all plans, whoever made them
  Planner planner_;
  FeedParser parser_;
  FeedCounters feeds_[kPrefetchSources];
  std::unordered_map<TrackId, Facts> facts_;
  std::vector<TrackId> facts_order_;  // a ring: the oldest goes first
  size_t facts_oldest_ = 0;
  std::unique_ptr<Learned> learned_;  // null: it does not learn
  std::vector<std::unique_ptr<Inbox>> inboxes_;
  HintGate hint_gate_;
  HintCounters hint_counts_[kHintSources];
  PlaylistTable playlists_;
  std::unordered_map<uint64_t, Ref<Job>> jobs_;  // by order
  TaskGroup tasks_;
  Tick tick_;
  Counter pauses_, heads_told_;
  TokenBucket line_budget_{seconds{1}};
  MonoTime logged_at_{};
  uint32_t refusals_ = 0;  // orders refused since refused_until_ was set
  MonoTime refused_until_{};
  bool draining_ = false;
  bool has_new_lines_ = false;  // taken, and not planned with yet
};

}  // namespace segue::edge
