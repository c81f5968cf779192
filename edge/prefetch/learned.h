// edge/prefetch/learned.h - what a prefetcher knows of its own traffic: the predictor, its plans,
// and the names of the tracks it may guess. Only the files of this folder include it.
#pragma once
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edge/prefetch/predicted_plans.h"
#include "edge/prefetch/predictor_file.h"
#include "edge/prefetch/prefetcher.h"

namespace segue::edge {

inline constexpr uint32_t kKnownTracksMax = 32 * 1024;

struct Prefetcher::Learned final : TrackSource {
  Learned(Prefetcher& owner_in, const Options& options);

  void see(const AskedNote& note, uint64_t session);
  [[nodiscard]] static PredictedPlans::Options plans_of(const Options& options);
  /// A track's key text, "<site><path>[?query]"; the oldest known one makes room. Nothing happens
  /// if its site is not here, or its text is not canonical.
  void know(std::string_view key_text);
  /// The sites are others: what was known is looked up among them.
  void renew();

  [[nodiscard]] std::optional<PlanEntry> entry_of(TrackId track) override;
  [[nodiscard]] uint64_t kin_of(TrackId track) const override;

  Prefetcher& owner;
  Predictor predictor;
  PredictedPlans plans;
  std::unordered_map<TrackId, Ref<const PrefetchTarget>> tracks;
  std::vector<TrackId> order;  // a ring: the oldest goes first
  size_t oldest = 0;
};

}  // namespace segue::edge
