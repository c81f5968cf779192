#include "edge/node/prefetch.h"

#include "edge/node/nats_metrics.h"
#include "edge/node/node.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"

namespace segue::edge {

NodePrefetch::NodePrefetch(const NodeOptions& options, SharedParts& shared,
                           const std::vector<std::unique_ptr<Worker>>& workers)
    : loop_(workers.front()->loop()) {
  const Loop::Turn turn(loop_);
  Worker& home = *workers.front();
  prefetcher_ = std::make_unique<Prefetcher>(
      loop_, home.local(), home.fills(), static_cast<uint32_t>(workers.size()), *options.prefetch);
  set_sites(*shared.sites);
  Prefetcher::Pressure pressure;
  pressure.overload = &shared.overload;
  for (const auto& worker : workers) {
    worker->delivery().tell(&prefetcher_->inbox(worker->loop().index()));
    pressure.fills.push_back(&worker->fills().counters());
    pressure.origins.resize(worker->fetchers().size());  // the same origins on each loop
    for (size_t i = 0; i < pressure.origins.size(); ++i) {
      origin::Fetcher& fetcher = *worker->fetchers()[i];
      pressure.origins[i].push_back({.counters = fetcher.counters(), .places = &fetcher.places()});
    }
  }
  prefetcher_->set_pressure(pressure);
  for (const std::string& path : options.feeds)
    followers_.push_back(std::make_unique<FeedFollower>(loop_, *prefetcher_, path));
  for (const NatsFeed::Options& one : options.nats)
    nats_.push_back(std::make_unique<NatsFeed>(loop_, *prefetcher_, one));
  if (prefetcher_->learns() && !options.predictor_file.empty())
    keeper_ = std::make_unique<PredictorKeeper>(loop_, *prefetcher_, options.predictor_file);
  register_metrics(shared.registry);
}

NodePrefetch::~NodePrefetch() {
  const Loop::Turn turn(loop_);
  followers_.clear();
  nats_.clear();
  keeper_.reset();
  prefetcher_.reset();
}

void NodePrefetch::start(AdminActions& actions) {
  const Loop::Turn turn(loop_);
  purges_ = std::make_unique<NodeFeedPurges>(actions);
  if (keeper_) keeper_->start();
  for (const auto& follower : followers_) follower->start();
  for (const auto& nats : nats_) nats->start(*purges_);
}

void NodePrefetch::set_sites(const SiteTable& sites) {
  prefetcher_->set_sites(sites.sites(), Ref<const RefCounted>(&sites));
}

Task<void> NodePrefetch::drain() {
  for (const auto& follower : followers_) follower->stop();
  for (const auto& nats : nats_) nats->stop();
  if (keeper_) keeper_->stop();
  for (const auto& nats : nats_) co_await nats->drain();
  co_await prefetcher_->drain();
}

namespace {

using Found = Registry::Found;

struct ModelSeries {
  const Counter ModelScore::* counter;
  const char* name;
  const char* help;
  const char* label;  // value of the label "fate" or "unit"; null: none
};
constexpr const char* kBytesHelp =
    "Bytes fetched for nobody yet; of models that are only observed, used and wasted as if.";
constexpr ModelSeries kModelSeries[] = {
    {&ModelScore::messages, "segue_prefetch_plans_total", "Plans taken.", nullptr},
    {&ModelScore::ignored, "segue_prefetch_plans_ignored_total",
     "Plans not taken: an old revision, or no room.", nullptr},
    {&ModelScore::candidates, "segue_prefetch_candidates_total", "Tracks recommended.", nullptr},
    {&ModelScore::dropped, "segue_prefetch_candidates_dropped_total",
     "Tracks not considered because their model is under its precision floor.", nullptr},
    {&ModelScore::planned, "segue_prefetch_started_total",
     "Tracks begun to be fetched (when observing: that would have been).", nullptr},
    {&ModelScore::fetched, "segue_prefetch_tracks_total", "Tracks by what became of them.",
     "fetched"},
    {&ModelScore::already_here, "segue_prefetch_tracks_total", "Tracks by what became of them.",
     "already_here"},
    {&ModelScore::failed, "segue_prefetch_tracks_total", "Tracks by what became of them.",
     "failed"},
    {&ModelScore::refused, "segue_prefetch_refused_total",
     "Times there was no room to fetch a track (a place at its origin, a buffer, a task); it comes "
     "again.",
     nullptr},
    {&ModelScore::late, "segue_prefetch_tracks_total", "Tracks by what became of them.", "late"},
    {&ModelScore::used, "segue_prefetch_tracks_total", "Tracks by what became of them.", "used"},
    {&ModelScore::unused_expired, "segue_prefetch_tracks_total", "Tracks by what became of them.",
     "expired"},
    {&ModelScore::unused_revoked, "segue_prefetch_tracks_total", "Tracks by what became of them.",
     "revoked"},
    {&ModelScore::unused_evicted, "segue_prefetch_tracks_total", "Tracks by what became of them.",
     "evicted"},
    {&ModelScore::bytes_fetched, "segue_prefetch_bytes_total", kBytesHelp, "fetched"},
    {&ModelScore::bytes_used, "segue_prefetch_bytes_total", kBytesHelp, "used"},
    {&ModelScore::bytes_wasted, "segue_prefetch_bytes_total", kBytesHelp, "wasted"},
    {&ModelScore::avoided, "segue_prefetch_first_byte_misses_avoided_total",
     "Plays that began with a hit because of a prefetch.", nullptr},
};

void ask_models(const void* context, std::vector<Found>& out) {
  const auto& prefetcher = *static_cast<const Prefetcher*>(context);
  const ModelScores& scores = prefetcher.scores();
  const auto first_bytes = static_cast<double>(prefetcher.planner().totals().first_bytes.get());
  for (uint32_t model = 0; model < scores.count(); ++model) {
    const ModelScore& score = scores.at(model);
    const Labels labels{{"model", std::string(scores.name(model))}};
    for (const ModelSeries& series : kModelSeries) {
      Labels with = labels;
      if (series.label != nullptr) with.emplace_back("fate", series.label);
      out.push_back({series.name, series.help, true, std::move(with),
                     static_cast<double>((score.*series.counter).get())});
    }
    const auto gauge = [&](std::string_view name, std::string_view help, double value) {
      out.push_back({name, help, false, labels, value});
    };
    gauge("segue_prefetch_precision_ratio", "Bytes used of the bytes prefetched and judged.",
          score.precision());
    gauge("segue_prefetch_coverage_ratio", "First-byte misses avoided per first-byte request.",
          first_bytes > 0 ? static_cast<double>(score.avoided.get()) / first_bytes : 0);
    gauge("segue_prefetch_throttled", "1 while the model is under its precision floor.",
          static_cast<double>(score.throttled.get()));
    uint64_t below = 0;
    for (size_t i = 0; i < score.lead.size(); ++i) {
      below += score.lead[i].get();
      Labels with = labels;
      with.emplace_back("under_seconds", i < ModelScore::kLeadBounds.size()
                                             ? std::to_string(ModelScore::kLeadBounds[i])
                                             : "inf");
      out.push_back({"segue_prefetch_lead_total",
                     "Tracks asked for so soon after they were fetched (cumulative).", true,
                     std::move(with), static_cast<double>(below)});
    }
  }
}

template <uint64_t Planner::Gauges::* Member>
double ask_gauge(const void* context) {
  return static_cast<double>(static_cast<const Prefetcher*>(context)->planner().gauges().*Member);
}

template <HintSource Source, const Counter HintRefusals::* Reason>
double ask_refused(const void* context) {
  return static_cast<double>(
      static_cast<const Prefetcher*>(context)->hints_refused(Source, Reason));
}

template <const Counter PlaylistCounters::* What>
double ask_playlists(const void* context) {
  return static_cast<double>(static_cast<const Prefetcher*>(context)->playlists_read(What));
}

template <uint64_t (Prefetcher::*Ask)() const noexcept>
double ask_learned(const void* context) {
  return static_cast<double>((static_cast<const Prefetcher*>(context)->*Ask)());
}

}  // namespace

void NodePrefetch::register_learning(Registry& registry) const {
  const Prefetcher& prefetcher = *prefetcher_;
  registry.add_gauge("segue_predictor_rows", "States the predictor knows successors of.", {},
                     &ask_learned<&Prefetcher::learned_rows>, &prefetcher);
  registry.add_gauge("segue_predictor_tracks", "Tracks the predictor could name.", {},
                     &ask_learned<&Prefetcher::known_tracks>, &prefetcher);
  registry.add_gauge(
      "segue_predictor_trusted", "1 while its guesses are fetched, not only observed.", {},
      [](const void* context) {
        return static_cast<const Prefetcher*>(context)->trusts_guesses() ? 1.0 : 0.0;
      },
      &prefetcher);
  if (!keeper_) return;
  registry.add_counter("segue_predictor_saves_total", "Times what was learned was written.",
                       {{"outcome", "saved"}}, keeper_->counters().saved);
  registry.add_counter("segue_predictor_saves_total", "Times what was learned was written.",
                       {{"outcome", "failed"}}, keeper_->counters().failed);
}

namespace {

template <HintSource Source>
void register_hints_of(Registry& registry, const Prefetcher& prefetcher) {
  constexpr std::string_view kName = "segue_prefetch_hints_total";
  constexpr std::string_view kHelp =
      "What is said to be asked for next, by players (cmcd: nor, nrr) or by an HLS playlist that "
      "names it, by what became of it.";
  const HintCounters& counters = prefetcher.hints(Source);
  const auto labels = [](std::string_view outcome) {
    return Labels{{"source", std::string(name_of(Source))}, {"outcome", std::string(outcome)}};
  };
  const auto count = [&](std::string_view outcome, const Counter& counter) {
    registry.add_counter(kName, kHelp, labels(outcome), counter);
  };
  const auto ask = [&](std::string_view outcome, auto* how) {
    registry.add_counter(kName, kHelp, labels(outcome), how, &prefetcher);
  };
  count("taken", counters.taken);
  count("already_here", counters.already_here);
  ask("already_here", &ask_refused<Source, &HintRefusals::already_here>);
  count("repeated", counters.repeated);
  count("over_budget", counters.over_budget);
  count("unknown_site", counters.unknown_site);
  ask("malformed", &ask_refused<Source, &HintRefusals::malformed>);
  ask("foreign", &ask_refused<Source, &HintRefusals::foreign>);
  ask("forbidden", &ask_refused<Source, &HintRefusals::forbidden>);
  ask("too_long", &ask_refused<Source, &HintRefusals::too_long>);
}

}  // namespace

void NodePrefetch::register_hints(Registry& registry) const {
  const Prefetcher& prefetcher = *prefetcher_;
  register_hints_of<HintSource::Cmcd>(registry, prefetcher);
  register_hints_of<HintSource::Playlist>(registry, prefetcher);
  registry.add_counter("segue_prefetch_hints_dropped_total", "Hints the planner was not told of.",
                       {}, &ask_learned<&Prefetcher::hints_dropped>, &prefetcher);
  const auto read = [&](std::string_view outcome, auto* how) {
    registry.add_counter(
        "segue_playlists_total",
        "HLS playlists looked at, each version until it is read, by what came of it.",
        {{"outcome", std::string(outcome)}}, how, &prefetcher);
  };
  read("read", &ask_playlists<&PlaylistCounters::read>);
  read("multivariant", &ask_playlists<&PlaylistCounters::multivariant>);
  read("malformed", &ask_playlists<&PlaylistCounters::malformed>);
  read("too_large", &ask_playlists<&PlaylistCounters::too_large>);
  read("put_off", &ask_playlists<&PlaylistCounters::put_off>);
  registry.add_gauge(
      "segue_playlists_remembered", "HLS playlists whose segments are known.", {},
      [](const void* context) {
        return static_cast<double>(static_cast<const Prefetcher*>(context)->playlists().count());
      },
      &prefetcher);
  registry.add_gauge(
      "segue_playlists_bytes", "Memory of what HLS playlists name (prefetch.memory bounds it).", {},
      [](const void* context) {
        return static_cast<double>(static_cast<const Prefetcher*>(context)->playlists().bytes());
      },
      &prefetcher);
}

void NodePrefetch::register_metrics(Registry& registry) const {
  const Prefetcher& prefetcher = *prefetcher_;
  for (const PrefetchSource source :
       {PrefetchSource::File, PrefetchSource::Post, PrefetchSource::Nats}) {
    const FeedCounters& counters = prefetcher.feed(source);
    const Labels labels{{"source", std::string(name_of(source))}};
    registry.add_counter("segue_feed_lines_total", "Lines of feeds read.", labels, counters.lines);
    registry.add_counter("segue_feed_malformed_total", "Lines of feeds that were no message.",
                         labels, counters.malformed);
    registry.add_counter("segue_feed_too_fast_total", "Lines sent back because they came too fast.",
                         labels, counters.too_fast);
    registry.add_counter("segue_feed_plans_total", "Plans that came, taken or not.", labels,
                         counters.plans);
    registry.add_counter("segue_feed_cancels_total", "Plans cancelled.", labels, counters.cancels);
    registry.add_counter("segue_feed_facts_total", "Facts about tracks taken.", labels,
                         counters.facts);
  }
  for (const auto& follower : followers_) {
    registry.add_counter("segue_feed_file_bytes_total", "Bytes read from followed files.", {},
                         follower->counters().bytes);
    registry.add_counter("segue_feed_file_opened_total",
                         "Times a followed file was opened, rotations included.", {},
                         follower->counters().opened);
    registry.add_gauge("segue_feed_files_open", "Followed files that are there.", {},
                       follower->counters().open);
  }
  using Gauges = Planner::Gauges;
  registry.add_gauge("segue_prefetch_sessions", "Sessions with a plan.", {},
                     &ask_gauge<&Gauges::sessions>, &prefetcher);
  registry.add_gauge("segue_prefetch_waiting", "Recommended tracks remembered.", {},
                     &ask_gauge<&Gauges::candidates>, &prefetcher);
  registry.add_gauge("segue_prefetch_in_flight", "Tracks being fetched for nobody yet.", {},
                     &ask_gauge<&Gauges::running>, &prefetcher);
  registry.add_gauge("segue_prefetch_held_bytes", "Bytes fetched and not asked for yet.", {},
                     &ask_gauge<&Gauges::held_bytes>, &prefetcher);
  registry.add_gauge("segue_prefetch_memory_bytes",
                     "Memory of plans and of what is held (prefetch.memory bounds it).", {},
                     &ask_gauge<&Gauges::memory_bytes>, &prefetcher);
  registry.add_gauge("segue_prefetch_bytes_today", "Bytes fetched in the present day's budget.", {},
                     &ask_gauge<&Gauges::bytes_today>, &prefetcher);
  registry.add_counter("segue_prefetch_pauses_total", "Looks at which clients' fills came first.",
                       {}, prefetcher.pauses());
  registry.add_counter("segue_prefetch_heads_told_total",
                       "Heads whose length the track's own container told.", {},
                       prefetcher.heads_told());
  registry.add_counter("segue_first_byte_requests_total", "Requests for the beginning of a track.",
                       {}, prefetcher.planner().totals().first_bytes);
  registry.add_counter("segue_first_byte_misses_total",
                       "Requests for the beginning of a track that was not here.", {},
                       prefetcher.planner().totals().first_byte_misses);
  registry.add_counter(
      "segue_prefetch_notes_dropped_total", "Requests the planner was not told of.", {},
      [](const void* context) {
        return static_cast<double>(static_cast<const Prefetcher*>(context)->notes_dropped());
      },
      &prefetcher);
  register_learning(registry);
  register_hints(registry);
  for (const auto& nats : nats_) register_nats_metrics(registry, *nats);
  registry.add_found(&ask_models, &prefetcher);
}

}  // namespace segue::edge
