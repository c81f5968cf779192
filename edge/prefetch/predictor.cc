#include "edge/prefetch/predictor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/assert.h"

namespace segue::edge {
namespace {

constexpr uint32_t kSessionSets = 4096;
constexpr uint32_t kMinutesPerTimeOfDay = 3 * 60;
constexpr uint32_t kMinutesPerDay = 24 * 60;

/// A state of its own kind: what follows a track is not what follows a listener.
constexpr uint64_t state_of(uint64_t kind, uint64_t first, uint64_t second = 0) noexcept {
  return mix(mix(first + kind * 0x9e3779b97f4a7c15ULL) ^ mix(second ^ 0x73656775ULL)) | 1;
}

}  // namespace

Predictor::Predictor(const Options& options) : options_(options) {
  const uint64_t sets = std::max<uint64_t>(1, options.memory_bytes / sizeof(Row) / kWays);
  rows_.resize(sets * kWays);
  sessions_.resize(size_t{kSessionSets} * kWays);
}

/// From the most exact state to the vaguest. The doubts were chosen by replaying the traces
/// (loadtest/NOTES.md): a listener's own habit counts from its first repetition.
std::array<Predictor::Level, Predictor::kLevels> Predictor::levels_of(const PlayBegun& play,
                                                                      TrackId before,
                                                                      uint64_t context) {
  const uint64_t time_of_day = play.minute % kMinutesPerDay / kMinutesPerTimeOfDay;
  return {Level{play.listener != 0 ? state_of(1, play.listener, play.track) : 0, 2.0},
          Level{before != 0 ? state_of(2, before, play.track) : 0, 3.0},
          Level{state_of(3, play.track), 5.0},
          Level{play.kin != 0 ? state_of(4, play.kin) : 0, 20.0},
          Level{context != 0 ? state_of(5, context) : 0, 20.0},
          Level{state_of(6, time_of_day), 50.0}};
}

double Predictor::faded(double weight, uint32_t from, uint32_t to) const noexcept {
  if (to <= from) return weight;
  const auto half_life = static_cast<double>(std::chrono::minutes(options_.half_life).count());
  return weight * std::exp2(-static_cast<double>(to - from) / half_life);
}

const Predictor::Row* Predictor::find(uint64_t state) const noexcept {
  const uint64_t set = mix(state) % (rows_.size() / kWays) * kWays;
  for (uint64_t i = set; i < set + kWays; ++i) {
    if (rows_[i].state == state) return &rows_[i];
  }
  return nullptr;
}

/// The row of `state`, else a free one, else the one that is worth least by now, emptied.
Predictor::Row& Predictor::place_for(uint64_t state, uint32_t minute) {
  const uint64_t set = mix(state) % (rows_.size() / kWays) * kWays;
  Row* least = nullptr;
  double least_worth = 0;
  for (uint64_t i = set; i < set + kWays; ++i) {
    Row& row = rows_[i];
    if (row.state == state) return row;
    const double worth = row.state == 0 ? -1 : faded(row.total, row.minute, minute);
    if (least == nullptr || worth < least_worth) {
      least = &row;
      least_worth = worth;
    }
  }
  if (least->state == 0) ++rows_used_;
  *least = {.state = state, .minute = minute};
  return *least;
}

void Predictor::count(uint64_t state, TrackId next, uint32_t minute) {
  Row& row = place_for(state, minute);
  const auto fade = static_cast<float>(faded(1, row.minute, minute));
  row.minute = std::max(row.minute, minute);
  row.total = row.total * fade + 1;
  uint32_t place = 0;
  bool known = false;
  for (uint32_t i = 0; i < kSuccessors; ++i) {
    row.weights[i] *= fade;
    if (known) continue;
    known = row.weights[i] > 0 && row.tracks[i] == next;
    if (known || row.weights[i] < row.weights[place]) place = i;
  }
  if (!known) row.weights[place] = 0;  // the rarest makes room; its share stays in the total
  row.tracks[place] = next;
  row.weights[place] += 1;
}

/// Its place, else that of the session that has been silent longest.
Predictor::Session& Predictor::session_for(uint64_t key) noexcept {
  const std::span<Session> set =
      std::span(sessions_).subspan(mix(key) % kSessionSets * kWays, kWays);
  auto at = std::ranges::find(set, key, &Session::key);
  if (at == set.end()) {
    at = std::ranges::min_element(set, {}, &Session::minute);
    *at = {.key = key};
  }
  return *at;
}

const Predictor::Session* Predictor::find_session(uint64_t key) const noexcept {
  const uint64_t set = mix(key) % kSessionSets * kWays;
  for (uint64_t i = set; i < set + kWays; ++i) {
    if (sessions_[i].key == key) return &sessions_[i];
  }
  return nullptr;
}

void Predictor::tell_context(uint64_t session, uint64_t context, uint32_t minute) {
  Session& told = session_for(session);
  told.context = context;
  if (told.minute == 0) told.minute = minute;
}

bool Predictor::see(const PlayBegun& play) {
  SEGUE_DEBUG_ASSERT(play.session != 0);
  Session& session = session_for(play.session);
  const auto gap = static_cast<uint32_t>(options_.session_gap.count());
  const uint32_t silence = play.minute > session.minute ? play.minute - session.minute : 0;
  const bool goes_on = session.current != 0 && silence <= gap;
  session.minute = play.minute;
  if (goes_on && session.current == play.track) return false;
  if (goes_on) {
    PlayBegun former = play;
    former.track = session.current;
    former.kin = session.kin;
    for (const Level& level : levels_of(former, session.previous, session.context)) {
      if (level.state != 0) count(level.state, play.track, play.minute);
    }
  }
  session.previous = goes_on ? session.current : 0;
  session.current = play.track;
  session.kin = play.kin;
  return true;
}

uint32_t Predictor::guess(const PlayBegun& play, std::span<Guess, kGuessesMax> out) const {
  const Session* session = find_session(play.session);
  const TrackId before =
      session != nullptr && session->current == play.track ? session->previous : 0;
  std::array<Guess, size_t{kLevels} * kSuccessors> found;
  uint32_t count = 0;
  double left = 1;  // of the belief, for the states that are less exact
  const uint64_t context = session != nullptr ? session->context : 0;
  for (const Level& level : levels_of(play, before, context)) {
    const Row* row = level.state == 0 ? nullptr : find(level.state);
    if (row == nullptr || row->total <= 0) continue;
    const double total = faded(row->total, row->minute, play.minute);
    const double belief = left * total / (total + level.doubt);
    left -= belief;
    for (uint32_t i = 0; i < kSuccessors; ++i) {
      if (row->weights[i] <= 0 || row->tracks[i] == play.track) continue;
      const double share = belief * static_cast<double>(row->weights[i] / row->total);
      const auto end = found.begin() + count;
      const auto known = std::find_if(
          found.begin(), end, [&](const Guess& one) { return one.track == row->tracks[i]; });
      if (known != end) {
        known->probability += share;
      } else {
        found[count++] = {row->tracks[i], share};
      }
    }
  }
  const uint32_t given = std::min(count, kGuessesMax);
  std::partial_sort(found.begin(), found.begin() + given, found.begin() + count,
                    [](const Guess& a, const Guess& b) {
                      return a.probability != b.probability ? a.probability > b.probability
                                                            : a.track < b.track;
                    });
  std::copy_n(found.begin(), given, out.begin());
  return given;
}

}  // namespace segue::edge
