// edge/prefetch/predicted_plans.h - what the predictor guesses, as plans: only observed in a
// planner of its own until its precision has passed the floor, then fetched like any feed's.
//
// No I/O and no clock: the daemon and `segue replay` run the same. Loop-owned.
#pragma once
#include <optional>

#include "edge/prefetch/planner.h"
#include "edge/prefetch/predictor.h"

namespace segue::edge {

/// What is known of tracks; whoever plans has it.
class TrackSource {
 public:
  /// How it would be fetched; nothing if it is not known by now.
  [[nodiscard]] virtual std::optional<PlanEntry> entry_of(TrackId track) = 0;
  /// Tracks of the same audio analysis have the same; 0: not known.
  [[nodiscard]] virtual uint64_t kin_of(TrackId track) const = 0;

 protected:
  ~TrackSource() = default;
};

class PredictedPlans {
 public:
  struct Options {
    bool fetches = false;            // once precise enough; false: observed only
    double probability_min = 0.2;    // less probable guesses are no plan
    milliseconds due{60'000};        // after the play before, where nobody knows how long that is
    std::chrono::minutes lasts{15};  // a plan
    Planner::Options plan;           // budgets of what is observed; floor of both
  };
  struct Asked {
    DemandNote demand;      // its session is never 0
    uint64_t listener = 0;  // 0: not known
  };
  /// All outlive it. `fetched` is the planner whose orders are carried out.
  PredictedPlans(const Options& options, Predictor& predictor, Planner& fetched,
                 ModelScores& scores, TrackSource& tracks);

  void configure(const Options& options);
  /// Learns from it and plans; before that, `fetched` has seen it. `minute`: see PlayBegun.
  void see(const Asked& asked, MonoTime now, uint32_t minute);
  /// Carries out what is only observed.
  void step(MonoTime now);
  /// When step() may do more, by time alone.
  [[nodiscard]] MonoTime wake_at(MonoTime now) const { return observed_.wake_at(now); }

  /// Whether guesses are fetched now.
  [[nodiscard]] bool is_trusted() const noexcept;
  [[nodiscard]] uint32_t model() const noexcept { return model_; }
  [[nodiscard]] uint32_t observed_model() const noexcept { return observed_model_; }

 private:
  [[nodiscard]] static Planner::Options observing(Planner::Options plan) noexcept;

  Options options_;
  Predictor& predictor_;
  Planner& fetched_;
  ModelScores& scores_;
  TrackSource& tracks_;
  Planner observed_;
  const uint32_t model_;
  const uint32_t observed_model_;
};

}  // namespace segue::edge
