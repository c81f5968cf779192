#include "edge/prefetch/predicted_plans.h"

namespace segue::edge {

namespace {
// Players look at the first bytes of a file (`bytes=0-1`) without playing it.
constexpr uint64_t kPlayBytesMin = 1 * KiB;
}  // namespace

PredictedPlans::PredictedPlans(const Options& options, Predictor& predictor, Planner& fetched,
                               ModelScores& scores, TrackSource& tracks)
    : options_(options),
      predictor_(predictor),
      fetched_(fetched),
      scores_(scores),
      tracks_(tracks),
      observed_(observing(options.plan), scores),
      model_(scores.find_or_add("predictor")),
      observed_model_(scores.find_or_add("predictor-observed")) {}

Planner::Options PredictedPlans::observing(Planner::Options plan) noexcept {
  plan.fetches = false;
  plan.rest = false;  // heads tell how good a guess was; what lies beyond them is sure anyway
  return plan;
}

void PredictedPlans::configure(const Options& options) {
  options_ = options;
  observed_.configure(observing(options.plan));
}

bool PredictedPlans::is_trusted() const noexcept {
  const ModelScore& score = scores_.at(observed_model_);
  const uint64_t judged = score.bytes_used.get() + score.bytes_wasted.get();
  return options_.fetches && judged >= options_.plan.judge_bytes && score.throttled.get() == 0;
}

void PredictedPlans::see(const Asked& asked, MonoTime now, uint32_t minute) {
  observed_.see(asked.demand, now);
  const DemandNote& demand = asked.demand;
  if (demand.range.first != 0 || demand.range.length() < kPlayBytesMin) return;
  const PlayBegun play{.session = demand.session,
                       .listener = asked.listener,
                       .track = demand.track,
                       .kin = tracks_.kin_of(demand.track),
                       .minute = minute};
  if (!predictor_.see(play)) return;
  const std::optional<uint32_t> planned_by = fetched_.model_of(demand.session);
  if (planned_by && *planned_by != model_) return;  // a feed knows better
  std::array<Guess, Predictor::kGuessesMax> guesses;
  const uint32_t count = predictor_.guess(play, guesses);
  std::array<PlanEntry, Predictor::kGuessesMax> entries;
  uint32_t planned = 0;
  for (const Guess& guess : std::span(guesses).first(count)) {
    if (guess.probability < options_.probability_min) break;
    auto entry = tracks_.entry_of(guess.track);
    if (!entry) continue;
    entry->probability = std::min(guess.probability, 1.0);
    entry->due = now + options_.due;
    entries[planned++] = std::move(*entry);
  }
  PlanUpdate update{.session = demand.session,
                    .model = observed_model_,
                    .until = now + options_.lasts,
                    .now = demand.track,
                    // Replayed: rests of guessed tracks evicted more than they were good for.
                    .rest = false,
                    .next = std::span(entries).first(planned)};
  // Observed on and on: what is fetched is not what shows whether it may be.
  if (planned > 0 || observed_.model_of(demand.session)) (void)observed_.set(update, now);
  update.model = model_;
  const bool trusted = is_trusted();
  if (!trusted) update.next = {};
  if ((trusted && planned > 0) || planned_by) (void)fetched_.set(update, now);
}

void PredictedPlans::step(MonoTime now) {
  while (observed_.next(now)) {
  }
  (void)observed_.take_stopped();
  (void)observed_.take_dropped();
}

}  // namespace segue::edge
