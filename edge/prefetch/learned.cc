// What the node's own traffic tells the planner, and how it is kept over a restart.
#include "edge/prefetch/learned.h"

#include <algorithm>
#include <cmath>

#include "edge/prefetch/prefetch_job.h"

namespace segue::edge {

Prefetcher::Learned::Learned(Prefetcher& owner_in, const Options& options)
    : owner(owner_in),
      predictor(options.predictor),
      plans(plans_of(options), predictor, owner_in.planner_, owner_in.scores_, *this) {}

PredictedPlans::Options Prefetcher::Learned::plans_of(const Options& options) {
  // A guess below the floor would only bring the model under it.
  PredictedPlans::Options plans{
      .fetches = options.learn == Learn::Fetch && options.plan.fetches,
      .probability_min = std::max(options.plan.probability_min, options.plan.precision_floor),
      .plan = options.plan};
  plans.plan.memory_max = options.memory / 8;
  return plans;
}

void Prefetcher::Learned::see(const AskedNote& note, uint64_t session) {
  if (note.text_bytes > 0) know({note.text.data(), note.text_bytes});
  DemandNote demand = note.demand;
  demand.session = session;
  plans.see({.demand = demand, .listener = note.listener}, owner.loop_.now(), owner.minute());
}

void Prefetcher::Learned::know(std::string_view key_text) {
  if (tracks.contains(track_of(owner.local_.store().hash(key_text)))) return;
  // The names have a bound of their own: kKnownTracksMax of kNoteTextBytesMax.
  const auto target = owner.target_of_key(key_text, nullptr);
  if (!target) return;
  const TrackId track = track_of(target->key);
  if (order.size() < kKnownTracksMax) {
    order.push_back(track);
  } else {
    tracks.erase(std::exchange(order[oldest], track));
    oldest = (oldest + 1) % kKnownTracksMax;
  }
  tracks.emplace(track, target);
}

void Prefetcher::Learned::renew() {
  const auto former = std::exchange(tracks, {});
  const std::vector<TrackId> former_order = std::exchange(order, {});
  const size_t first = std::exchange(oldest, 0);
  const auto stays = [&](const PrefetchTarget& target) {
    return std::ranges::any_of(owner.sites_, [&](const Ref<const Site>& site) {
      return site.get() == target.site.get() || site->rules() == target.site->rules();
    });
  };
  for (size_t i = 0; i < former_order.size(); ++i) {
    const TrackId track = former_order[(first + i) % former_order.size()];
    const Ref<const PrefetchTarget>& target = former.at(track);
    if (!stays(*target)) {
      know(target->key_text);
    } else if (tracks.emplace(track, target).second) {
      order.push_back(track);
    }
  }
}

std::optional<PlanEntry> Prefetcher::Learned::entry_of(TrackId track) {
  const auto at = tracks.find(track);
  if (at == tracks.end()) return std::nullopt;
  return owner.entry_of({}, owner.loop_.now(), at->second);
}

uint64_t Prefetcher::Learned::kin_of(TrackId track) const {
  const auto facts = owner.facts_.find(track);
  return facts == owner.facts_.end() ? 0 : facts->second.kin;
}

// --- the prefetcher's side ---

uint32_t Prefetcher::minute() const {
  const auto since_1970 = loop_.wall_now().time_since_epoch();
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::minutes>(since_1970).count());
}

/// Tracks that sound alike: same tempo (to 8 beats a minute), key, quarter of energy and first
/// mood. 0: not analysed.
uint64_t Prefetcher::kin_of(const FeedTrackFacts& facts) const {
  constexpr float kTempoClass = 8;
  constexpr float kEnergyClass = 0.25F;
  if (facts.tempo <= 0 || facts.key < 0) return 0;
  const auto tempo = static_cast<uint64_t>(facts.tempo / kTempoClass);
  const auto energy = static_cast<uint64_t>(std::max(0.0F, facts.energy) / kEnergyClass);
  const uint64_t mood = facts.mood.empty() ? 0 : local_.store().hash(facts.mood.front()).low;
  return mix(mood ^ (tempo << 16 | static_cast<uint64_t>(facts.key) << 8 | energy)) | 1;
}

bool Prefetcher::learns() const noexcept { return learned_ != nullptr; }
bool Prefetcher::trusts_guesses() const noexcept {
  return learned_ != nullptr && learned_->plans.is_trusted();
}
uint64_t Prefetcher::learned_rows() const noexcept {
  return learned_ != nullptr ? learned_->predictor.rows() : 0;
}
uint64_t Prefetcher::known_tracks() const noexcept {
  return learned_ != nullptr ? learned_->tracks.size() : 0;
}

uint64_t Prefetcher::owner_of_ids() const { return local_.store().hash("segue predictor").low; }

uint64_t Prefetcher::learned_bytes_max() const noexcept {
  constexpr uint64_t kNamesBytesMax = kKnownTracksMax * uint64_t{kNoteTextBytesMax + 2};
  return options_.predictor.memory_bytes + kNamesBytesMax + KiB;
}

uint64_t Prefetcher::copy_learned(SavedPredictor& saved, uint64_t from, uint64_t most) const {
  constexpr uint64_t kNamesFrom = uint64_t{1} << 32;  // there are fewer rows
  if (from < kNamesFrom) {
    const uint64_t next = saved.add_rows(learned_->predictor, from, most);
    return next != 0 ? next : kNamesFrom;
  }
  // Names may come and go between two slices: one that is missed is learned anew.
  const uint64_t names = learned_->order.size();
  const uint64_t first = std::min(from - kNamesFrom, names);
  const uint64_t end = std::min(names, first + most);
  for (uint64_t i = first; i < end; ++i)
    saved.add_text(learned_->tracks.at(learned_->order[i])->key_text);
  return end < names ? kNamesFrom + end : 0;
}

std::expected<void, std::string> Prefetcher::take_learned(std::span<const std::byte> file) {
  const auto opened = open_saved(file, owner_of_ids());
  if (!opened) return std::unexpected(opened.error());
  if (auto taken = learned_->predictor.take_rows(opened->rows, minute()); !taken) return taken;
  for (const std::string_view text : opened->texts) learned_->know(text);
  return {};
}

}  // namespace segue::edge
