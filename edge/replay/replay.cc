#include "edge/replay/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>

#include "edge/prefetch/predicted_plans.h"

namespace segue::edge {

using cache::SliceIndex;

namespace {

constexpr std::chrono::minutes kPlanLasts{30};
constexpr std::chrono::minutes kUseLasts{10};

double ratio(uint64_t part, uint64_t whole, double of_nothing) noexcept {
  return whole == 0 ? of_nothing : static_cast<double>(part) / static_cast<double>(whole);
}

/// A number in [0, 1) that depends on its arguments alone.
double drawn(uint64_t seed, uint64_t number) noexcept {
  return static_cast<double>(mix(seed * 0x9e3779b97f4a7c15ULL + number) >> 11) * 0x1p-53;
}

class Run final : public TrackSource {
 public:
  Run(const Trace& trace, const ReplayOptions& options)
      : trace_(trace), options_(options), planner_(options.plan, scores_) {}

  Result<ReplayResult> run() {
    auto cache = ReplayCache::create(options_.cache, trace_, clock_);
    if (!cache) return fail(cache.error());
    cache_ = std::move(*cache);
    if (feeds()) {
      targets_.resize(trace_.track_bytes().size());
      model_ = scores_.find_or_add("oracle");
    }
    if (options_.feed.kind == ReplayFeed::Kind::Learned) learn();
    const std::vector<Play>& plays = trace_.plays();
    for (uint32_t play = 0; play < plays.size();) {
      const MonoTime start = epoch_ + milliseconds{plays[play].start_ms};
      const MonoTime event = events_.empty() ? kNever : events_.top().at;
      if (wake_ <= std::min(start, event)) {
        clock_.advance_to(wake_);
        step();
      } else if (event <= start) {
        run_event();
      } else {
        clock_.advance_to(start);
        begin(play++);
      }
    }
    while (!events_.empty()) run_event();
    return finish();
  }

 private:
  struct Event {
    MonoTime at;
    uint64_t number;  // in the order they were made
    uint32_t play;    // kNoPlay: the order
    uint32_t slice;
    uint64_t order;
    bool operator<(const Event& other) const noexcept {  // the queue's top is the greatest
      return at != other.at ? at > other.at : number > other.number;
    }
  };
  struct Fetch {
    uint32_t track = 0;
    std::vector<SliceIndex> slices;  // that were not here when it began
  };

  [[nodiscard]] bool feeds() const noexcept { return options_.feed.kind != ReplayFeed::Kind::None; }
  [[nodiscard]] MonoTime now() const noexcept { return clock_.mono(); }

  void run_event() {
    const Event event = events_.top();
    events_.pop();
    clock_.advance_to(event.at);
    if (event.play == kNoPlay) {
      end_fetch(event.order);
    } else {
      read(event.play, event.slice);
    }
  }

  void begin(uint32_t number) {
    read(number, 0);
    if (options_.feed.kind == ReplayFeed::Kind::Oracle) tell_oracle(number);
  }

  /// The play asks for one slice, and will for the next when its music has come so far.
  void read(uint32_t number, uint32_t slice) {
    const Play& play = trace_.plays()[number];
    const uint64_t period =
        static_cast<uint64_t>(now().time_since_epoch() / std::chrono::nanoseconds(kUseLasts));
    const cache::UseId use{mix(play.user + (uint64_t{play.track} << 32) + mix(period))};
    const ReplayCache::Found found = cache_->read(play.track, SliceIndex{slice}, use);
    const uint64_t bytes = cache_->slice_bytes(play.track, SliceIndex{slice});
    ++result_.reads;
    result_.read_bytes += bytes;
    if (found == ReplayCache::Found::Ram) result_.ram_hit_bytes += bytes;
    if (found == ReplayCache::Found::Drive) result_.drive_hit_bytes += bytes;
    const bool hit = found != ReplayCache::Found::Nowhere;
    if (slice == 0) {
      ReplayResult::Starts& starts = play.follows ? result_.following : result_.first;
      ++starts.plays;
      starts.misses += hit ? 0 : 1;
    }
    if (feeds()) tell_planner(play, slice, bytes, hit);
    const uint64_t next = uint64_t{slice + 1} * kSliceBytes;
    if (next >= trace_.bytes_of(play)) return;
    const auto music = static_cast<int64_t>(next * 1000 / options_.bytes_per_second);
    const MonoTime at = epoch_ + milliseconds{play.start_ms + music};
    events_.push(
        {.at = at, .number = ++events_made_, .play = number, .slice = slice + 1, .order = 0});
  }

  void tell_planner(const Play& play, uint32_t slice, uint64_t bytes, bool hit) {
    const TrackId track = cache_->id_of(play.track);
    const uint64_t from = uint64_t{slice} * kSliceBytes;
    if (options_.plan.fetches && slice == 0 && !hit) (void)planner_.evicted(track);
    const DemandNote note{
        .track = track, .session = session_of(play), .range = {from, from + bytes}, .hit = hit};
    planner_.see(note, now());
    if (plans_) {
      (void)target_of(play.track);  // from here on it is known
      plans_->see({.demand = note, .listener = mix(uint64_t{play.user} + 1)}, now(), minute());
    }
    step();
  }

  void learn() {
    predictor_ = std::make_unique<Predictor>(options_.predictor);
    plans_ = std::make_unique<PredictedPlans>(
        PredictedPlans::Options{
            .fetches = true, .probability_min = options_.feed.known, .plan = options_.plan},
        *predictor_, planner_, scores_, *this);
    model_ = plans_->model();
  }
  [[nodiscard]] uint32_t minute() const noexcept {
    return static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::minutes>(clock_.wall().time_since_epoch()).count());
  }
  [[nodiscard]] std::optional<PlanEntry> entry_of(TrackId track) override {
    const auto at = track_numbers_.find(track);
    if (at == track_numbers_.end()) return std::nullopt;
    return entry_of(at->second, 1, now());
  }
  [[nodiscard]] uint64_t kin_of(TrackId /*track*/) const override { return 0; }

  [[nodiscard]] static uint64_t session_of(const Play& play) noexcept {
    return mix(uint64_t{play.session} + 1) | 1;
  }

  void tell_oracle(uint32_t number) {
    const Play& play = trace_.plays()[number];
    const bool knows = drawn(options_.seed, number) < options_.feed.known;
    const uint32_t next = play.next == kNoPlay ? UINT32_MAX : trace_.plays()[play.next].track;
    uint32_t named = next;
    if (!knows) named = popular_but(next, play.track, number);
    if (named == UINT32_MAX) return set_plan(play, {});
    const PlanEntry entry = entry_of(named, options_.feed.known, due_after(play));
    set_plan(play, {&entry, 1});
  }

  /// What a random play of the past was of: popular tracks the more often. Neither `right` nor what
  /// plays now.
  [[nodiscard]] uint32_t popular_but(uint32_t right, uint32_t playing, uint32_t number) const {
    constexpr uint32_t kTries = 8;
    for (uint32_t i = 1; i <= kTries; ++i) {
      const double at = drawn(options_.seed + i, number) * (number + 1.0);
      const uint32_t track = trace_.plays()[static_cast<uint32_t>(at)].track;
      if (track != right && track != playing) return track;
    }
    return UINT32_MAX;
  }

  /// When a listener who skips nothing comes to the next track: all that whoever feeds can know.
  [[nodiscard]] MonoTime due_after(const Play& play) const {
    const uint64_t bytes = trace_.track_bytes()[play.track];
    return now() + milliseconds{bytes * 1000 / options_.bytes_per_second};
  }

  [[nodiscard]] PlanEntry entry_of(uint32_t track, double probability, MonoTime due) {
    const uint64_t head =
        options_.bytes_per_second * static_cast<uint64_t>(options_.head.count()) / 1000;
    return {.track = cache_->id_of(track),
            .probability = probability,
            .due = due,
            .head_bytes = std::max<uint64_t>(head, 64 * KiB),
            .whole_bytes = trace_.track_bytes()[track],
            .target = target_of(track)};
  }

  [[nodiscard]] Ref<const PrefetchTarget> target_of(uint32_t track) {
    if (!targets_[track]) {
      auto target = make_ref<PrefetchTarget>();
      target->key.low = cache_->id_of(track);
      targets_[track] = target;
      track_numbers_.emplace(cache_->id_of(track), track);
    }
    return targets_[track];
  }

  void set_plan(const Play& play, std::span<const PlanEntry> next) {
    (void)planner_.set({.session = session_of(play),
                        .model = model_,
                        .until = now() + kPlanLasts,
                        .now = cache_->id_of(play.track),
                        .next = next},
                       now());
    step();
  }

  /// As Prefetcher::step(), without loop and pressure.
  void step() {
    while (auto order = planner_.next(now())) start_fetch(*order);
    for (const uint64_t order : planner_.take_stopped()) {
      if (fetches_.erase(order) > 0) planner_.ended(order, Planner::End::Stopped, now());
    }
    for (const auto& [target, part, tail_bytes] : planner_.take_dropped())
      cache_->drop_unasked(track_numbers_.at(target->key.low), part);
    wake_ = planner_.wake_at(now());
    if (!plans_) return;
    plans_->step(now());
    wake_ = std::min(wake_, plans_->wake_at(now()));
  }

  void start_fetch(const Planner::Order& order) {
    const uint32_t track = track_numbers_.at(order.target->key.low);
    const ByteRange range = order.head.clipped(trace_.track_bytes()[track]);
    Fetch fetch{.track = track, .slices = {}};
    for (uint32_t i = cache::slice_at(range.first).value; uint64_t{i} * kSliceBytes < range.end;
         ++i) {
      if (cache_->where(track, SliceIndex{i}) == ReplayCache::Found::Nowhere)
        fetch.slices.push_back(SliceIndex{i});
    }
    if (fetch.slices.empty()) return planner_.ended(order.id, Planner::End::AlreadyHere, now());
    fetches_.emplace(order.id, std::move(fetch));
    events_.push({.at = now() + options_.fetch_time,
                  .number = ++events_made_,
                  .play = kNoPlay,
                  .slice = 0,
                  .order = order.id});
  }

  void end_fetch(uint64_t order) {
    const auto at = fetches_.find(order);
    if (at == fetches_.end()) return;  // stopped meanwhile
    const Fetch fetch = std::move(at->second);
    fetches_.erase(at);
    auto end = Planner::End::Complete;
    for (const SliceIndex slice : fetch.slices) {
      const uint64_t bytes = cache_->slice_bytes(fetch.track, slice);
      // Demand that joined it has brought the bytes already: they are the order's all the same.
      const bool joined = cache_->where(fetch.track, slice) != ReplayCache::Found::Nowhere;
      if (!joined && !cache_->prefetch(fetch.track, slice)) {
        end = Planner::End::Failed;
        break;
      }
      if (!joined) result_.fetched_bytes += bytes;
      planner_.landed(order, bytes);
    }
    planner_.ended(order, end, now());
    step();
  }

  [[nodiscard]] ReplayResult finish() {
    if (feeds()) planner_.expire(now() + std::chrono::hours{48});
    result_.written_bytes = cache_->written_bytes();
    result_.refused_writes = cache_->refused_writes();
    const ModelScore& score = scores_.at(model_);
    result_.planned = score.planned.get();
    result_.late = score.late.get();
    result_.avoided = score.avoided.get();
    result_.used_bytes = score.bytes_used.get();
    result_.wasted_bytes = score.bytes_wasted.get();
    if (plans_) {
      const ModelScore& observed = scores_.at(plans_->observed_model());
      result_.observed_planned = observed.planned.get();
      result_.observed_used = observed.used.get();
      result_.predictor_rows = predictor_->rows();
    }
    return result_;
  }

  const Trace& trace_;
  const ReplayOptions& options_;
  VirtualClock clock_;
  const MonoTime epoch_ = clock_.mono();
  std::unique_ptr<ReplayCache> cache_;
  ModelScores scores_;
  Planner planner_;
  std::unique_ptr<Predictor> predictor_;   // null: it does not learn
  std::unique_ptr<PredictedPlans> plans_;  // likewise
  uint32_t model_ = 0;
  std::priority_queue<Event> events_;
  uint64_t events_made_ = 0;
  MonoTime wake_ = kNever;
  std::unordered_map<uint64_t, Fetch> fetches_;     // by order
  std::vector<Ref<const PrefetchTarget>> targets_;  // by track; null: never named
  std::unordered_map<TrackId, uint32_t> track_numbers_;
  ReplayResult result_;
};

}  // namespace

std::string ReplayFeed::name() const {
  switch (kind) {
    case Kind::None:
      return "none";
    case Kind::Learned:
      return fmt::format("learned:{:.0f}", known * 100);
    case Kind::Oracle:
      return fmt::format("oracle:{:.0f}", known * 100);
  }
  return "none";
}

double ReplayResult::hit_ratio() const noexcept {
  return ratio(ram_hit_bytes + drive_hit_bytes, read_bytes, 0);
}
double ReplayResult::first_byte_hit_ratio() const noexcept {
  return 1 - ratio(first_byte_misses(), plays(), 1);
}
double ReplayResult::coverage() const noexcept { return ratio(avoided, plays(), 0); }
double ReplayResult::precision() const noexcept {
  return ratio(used_bytes, used_bytes + wasted_bytes, 1);
}

Result<ReplayResult> replay(const Trace& trace, const ReplayOptions& options) {
  Run run(trace, options);
  return run.run();
}

}  // namespace segue::edge
