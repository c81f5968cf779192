// Sessions and candidates: what is wanted, by whom, until when. What is fetched and what became of
// it: planner_orders.cc.
#include "edge/prefetch/planner.h"

#include <algorithm>

#include "edge/prefetch/planner_tables.h"

namespace segue::edge {

namespace {
// A candidate due within this when its listener starts something else was passed over.
constexpr seconds kSkipSlack{5};
constexpr uint64_t kRestBytesMin = 64 * KiB;
}  // namespace

Planner::Planner(Options options, ModelScores& scores, const TargetBytes* targets)
    : options_(options), scores_(scores), targets_(targets), tables_(std::make_unique<Tables>()) {}
Planner::~Planner() = default;

void Planner::configure(const Options& options) {
  const bool same_lead = options.lead_max == options_.lead_max;
  options_ = options;
  if (same_lead) return;
  // What waits is found again by when it ripens, which is another time now.
  std::set<std::pair<MonoTime, uint32_t>> waiting;
  for (const auto& [from, index] : tables_->waiting) {
    Candidate& candidate = tables_->candidates[index];
    candidate.ripe = candidate.entry.due - options_.lead_max;
    waiting.emplace_hint(waiting.end(), candidate.ripe, index);  // in the same order as before
  }
  tables_->waiting.swap(waiting);
}

Planner::Gauges Planner::gauges() const noexcept {
  return {.sessions = tables_->sessions.size(),
          .candidates = tables_->candidates.size() - tables_->free.size(),
          .running = tables_->running.size(),
          .held = tables_->held.size(),
          .held_bytes = held_bytes_,
          .bytes_today = bytes_today_,
          .memory_bytes = memory_bytes()};
}

uint64_t Planner::memory_bytes() const noexcept {
  return tables_->sessions.size() * kPlanSessionBytes +
         (tables_->candidates.size() - tables_->free.size()) * kPlanCandidateBytes +
         tables_->held.size() * kPlanHeldBytes + (targets_ != nullptr ? targets_->alive : 0);
}

/// For plans: whatever they take, what was fetched for them can still be held and judged.
bool Planner::has_memory(uint64_t bytes) const noexcept {
  const uint64_t of_plans = memory_bytes() - tables_->held.size() * kPlanHeldBytes;
  return of_plans + bytes <= options_.memory_max / 4 * 3;
}

bool Planner::may_hold_more() const noexcept {
  return tables_->held.size() <
         std::min<uint64_t>(kPlanHeldMax, options_.memory_max / 4 / kPlanHeldBytes);
}

bool Planner::take_candidate(uint32_t model) {
  ModelScore& score = scores_.at(model);
  if (score.throttled.get() == 0) return true;
  // Still probed: a model that was bad in the morning may be good at night.
  if (++tables_->windows[model].probe % std::max(1U, options_.probe_every) == 0) return true;
  score.dropped.add();
  return false;
}

bool Planner::set(const PlanUpdate& update, MonoTime now) {
  expire(now);
  ModelScore& score = scores_.at(update.model);
  const auto known = tables_->sessions.find(update.session);
  const bool old = known != tables_->sessions.end() && update.revision != 0 &&
                   update.revision <= known->second.revision;
  const bool full =
      known == tables_->sessions.end() &&
      (tables_->sessions.size() >= kPlanSessionsMax || !has_memory(kPlanSessionBytes));
  if (old || full || update.until <= now) {
    score.ignored.add();
    return false;
  }
  score.messages.add();
  Session& session = tables_->sessions[update.session];
  session.revision = update.revision;
  session.model = update.model;
  session.rest = update.rest;
  session.listener = update.listener;
  tables_->session_ends.erase({session.until, update.session});
  session.until = update.until;
  tables_->session_ends.emplace(update.until, update.session);
  const auto entry_of = [&](TrackId track) {
    return std::ranges::find(update.next, track, &PlanEntry::track);
  };
  std::vector<uint32_t> former;
  former.swap(session.candidates);
  std::vector<TrackId> kept;
  for (const uint32_t index : former) {
    Candidate& candidate = tables_->candidates[index];
    const auto entry = entry_of(candidate.entry.track);
    if (entry != update.next.end() && entry->probability >= options_.probability_min) {
      kept.push_back(entry->track);
      session.candidates.push_back(index);
      unlink(index);
      candidate.entry.due = entry->due;
      candidate.entry.probability = entry->probability;
      candidate.until = update.until;
      if (candidate.state != Candidate::State::Running) enter(index, now);
    } else if (update.now &&
               (candidate.entry.track == *update.now ||
                candidate.entry.track == rest_of(*update.now)) &&
               (candidate.state == Candidate::State::Running ||
                candidate.state == Candidate::State::Fulfilled)) {
      session.candidates.push_back(index);  // it plays: what was fetched for it is being used
      if (candidate.entry.track != *update.now) continue;
      if (!session.playing || session.playing->track != candidate.entry.track) {
        session.playing = candidate.entry;
        session.rest_planned = false;
      }
    } else {
      revoke(index, now);
    }
  }
  for (const PlanEntry& entry : update.next) {
    if (std::ranges::find(kept, entry.track) != kept.end()) continue;
    if (!add(update, session, entry, now)) break;
    kept.push_back(entry.track);
  }
  if (update.confirmed && update.now) add_rest(update.session, *update.now, now);
  return true;
}

bool Planner::add(const PlanUpdate& update, Session& session, const PlanEntry& entry,
                  MonoTime now) {
  if (entry.probability < options_.probability_min || !take_candidate(update.model)) return true;
  if (tables_->candidates.size() - tables_->free.size() >= kPlanCandidatesMax ||
      !has_memory(kPlanCandidateBytes)) {
    scores_.at(update.model).ignored.add();
    return false;
  }
  if (tables_->free.empty()) {
    tables_->free.push_back(static_cast<uint32_t>(tables_->candidates.size()));
    tables_->candidates.emplace_back();
  }
  const uint32_t index = tables_->free.back();
  tables_->free.pop_back();
  Candidate& candidate = tables_->candidates[index];
  candidate = {};
  candidate.entry = entry;
  candidate.part = {entry.first_byte, entry.first_byte + std::max<uint64_t>(entry.head_bytes, 1)};
  if (entry.whole_bytes != 0) candidate.part = candidate.part.clipped(entry.whole_bytes);
  candidate.model = update.model;
  candidate.session = update.session;
  candidate.number = ++tables_->candidates_made;
  candidate.until = update.until;
  session.candidates.push_back(index);
  ++tables_->wanted[entry.track];
  scores_.at(update.model).candidates.add();
  enter(index, now);
  return true;
}

void Planner::add_rest(uint64_t session_id, TrackId track, MonoTime now) {
  const auto at = tables_->sessions.find(session_id);
  if (!options_.rest || at == tables_->sessions.end()) return;
  Session& session = at->second;
  if (!session.rest || session.rest_planned || !session.playing || session.playing->track != track)
    return;
  const PlanEntry playing = *session.playing;
  uint64_t end = playing.head_bytes + options_.rest_bytes_max;
  if (playing.whole_bytes != 0) end = std::min(end, playing.whole_bytes);
  session.rest_planned = true;
  if (end < playing.head_bytes + kRestBytesMin) return;
  PlanEntry entry = playing;
  entry.track = rest_of(track);
  entry.probability = 1;
  entry.due = now;
  entry.tail_bytes = 0;
  const PlanUpdate update{.session = session_id, .model = session.model, .until = session.until};
  const size_t before = session.candidates.size();
  if (!add(update, session, entry, now) || session.candidates.size() == before) return;
  const uint32_t index = session.candidates.back();
  Candidate& candidate = tables_->candidates[index];
  unlink(index);  // its order goes by its bytes, which are those beyond the head
  candidate.part = {playing.head_bytes, end};
  enter(index, now);
}

/// Out of the sets that are ordered by what is about to change.
void Planner::unlink(uint32_t index) {
  Candidate& candidate = tables_->candidates[index];
  if (candidate.state == Candidate::State::Ready)
    tables_->ready.erase(Tables::ready_of(candidate, index));
  if (candidate.state == Candidate::State::Waiting) tables_->waiting.erase({candidate.ripe, index});
}

/// Whether nothing needs to be fetched for who wants this track: all of it is here or on its way.
bool Planner::is_fulfilled(TrackId track) const {
  if (tables_->running_by_track.contains(track)) return true;
  const auto held = tables_->held.find(track);
  return held != tables_->held.end() && held->second.whole;
}

/// The most that can land: slices come whole. The last one of a track is shorter, but how long the
/// track is may have been told wrongly, or not at all; and where a tail begins in its slice nobody
/// knows.
uint64_t Planner::slice_bytes(ByteRange part, uint32_t tail_bytes) noexcept {
  const uint64_t slices =
      part.empty() ? 0 : (part.end - 1) / kSliceBytes - part.first / kSliceBytes + 1;
  return slices * kSliceBytes + (tail_bytes == 0 ? 0 : tail_bytes + kSliceBytes - 1);
}

uint64_t Planner::planned_bytes(const Candidate& candidate) noexcept {
  return slice_bytes(candidate.part, candidate.entry.tail_bytes);
}

void Planner::enter(uint32_t index, MonoTime now, MonoTime not_before) {
  Candidate& candidate = tables_->candidates[index];
  const TrackId track = candidate.entry.track;
  if (const auto held = tables_->held.find(track);
      held != tables_->held.end() && candidate.until > held->second.until)
    hold_until(track, held->second, candidate.until);
  if (is_fulfilled(track)) {
    candidate.state = Candidate::State::Fulfilled;
    return;
  }
  const uint64_t wanted = candidate.part.length() + candidate.entry.tail_bytes;
  const double bytes = std::max(1.0, static_cast<double>(wanted));
  candidate.density = static_cast<int8_t>(std::ilogb(candidate.entry.probability / bytes));
  candidate.ripe = std::max(candidate.entry.due - options_.lead_max, not_before);
  if (candidate.ripe > now) {
    candidate.state = Candidate::State::Waiting;
    tables_->waiting.emplace(candidate.ripe, index);
  } else {
    candidate.state = Candidate::State::Ready;
    tables_->ready.insert(Tables::ready_of(candidate, index));
  }
}

void Planner::ripen(MonoTime now) {
  while (!tables_->waiting.empty() && tables_->waiting.begin()->first <= now) {
    const uint32_t index = tables_->waiting.begin()->second;
    tables_->waiting.erase(tables_->waiting.begin());
    tables_->candidates[index].state = Candidate::State::Free;  // in no set
    enter(index, now);
  }
}

/// Not wanted by its session any more. The caller has taken it out of the session's list.
void Planner::revoke(uint32_t index, MonoTime now) {
  unlink(index);
  Candidate& candidate = tables_->candidates[index];
  const TrackId track = candidate.entry.track;
  const auto wanted = tables_->wanted.find(track);
  const bool last = --wanted->second == 0;
  if (last) tables_->wanted.erase(wanted);
  if (candidate.state == Candidate::State::Running) {
    Running& running = tables_->running.at(candidate.order);
    running.candidate = kNoCandidate;
  }
  if (last) {
    if (const auto by_track = tables_->running_by_track.find(track);
        by_track != tables_->running_by_track.end() &&
        !tables_->running.at(by_track->second).joined)
      tables_->stopped.push_back(by_track->second);
    if (const auto held = tables_->held.find(track);
        held != tables_->held.end() && (!held->second.asked || held->second.part.first > 0))
      judge(track, now >= held->second.until ? Fate::Expired : Fate::Revoked);
  }
  candidate = {};
  tables_->free.push_back(index);
}

std::optional<uint32_t> Planner::model_of(uint64_t session) const {
  const auto at = tables_->sessions.find(session);
  if (at == tables_->sessions.end()) return std::nullopt;
  return at->second.model;
}

void Planner::cancel(uint64_t session, uint64_t revision, MonoTime now) {
  const auto at = tables_->sessions.find(session);
  if (at == tables_->sessions.end()) return;
  if (revision != 0 && revision <= at->second.revision) {
    scores_.at(at->second.model).ignored.add();
    return;
  }
  forget_session(session, now);
}

void Planner::forget_session(uint64_t session, MonoTime now) {
  const auto at = tables_->sessions.find(session);
  if (at == tables_->sessions.end()) return;
  const std::vector<uint32_t> candidates = std::move(at->second.candidates);
  tables_->session_ends.erase({at->second.until, session});
  tables_->sessions.erase(at);
  for (const uint32_t index : candidates) revoke(index, now);
}

void Planner::expire(MonoTime now) {
  while (!tables_->session_ends.empty() && tables_->session_ends.begin()->first <= now)
    forget_session(tables_->session_ends.begin()->second, now);
  while (!tables_->held_ends.empty() && tables_->held_ends.begin()->first <= now)
    judge(tables_->held_ends.begin()->second, Fate::Expired);
}

/// A listener we know starts or goes on with a track: what it passed over is not wanted any more.
void Planner::see_listener(const DemandNote& note, MonoTime now) {
  const auto at = tables_->sessions.find(note.session);
  if (note.session == 0 || at == tables_->sessions.end()) return;
  Session& session = at->second;
  // A session's text alone is anybody's to send: it must not undo another's plan.
  if (session.listener != 0 && note.subject != 0 && session.listener != note.subject) return;
  if (note.range.first == 0 && !(session.playing && session.playing->track == note.track)) {
    session.playing.reset();
    session.rest_planned = false;
    MonoTime passed = now + kSkipSlack;
    for (const uint32_t index : session.candidates) {
      const Candidate& candidate = tables_->candidates[index];
      if (candidate.entry.track != note.track) continue;
      passed = candidate.entry.due;
      session.playing = candidate.entry;
    }
    std::vector<uint32_t> former;
    former.swap(session.candidates);
    std::vector<uint32_t> skipped;
    for (const uint32_t index : former) {
      const Candidate& candidate = tables_->candidates[index];
      const bool begun = candidate.state == Candidate::State::Running ||
                         candidate.state == Candidate::State::Fulfilled;
      const bool plays = candidate.entry.track == note.track;
      const bool stays = plays ? begun : candidate.entry.due > passed;
      (stays ? session.candidates : skipped).push_back(index);
    }
    for (const uint32_t index : skipped) revoke(index, now);
  }
  if (session.playing && session.playing->track == note.track && note.range.first > 0 &&
      note.range.first >= session.playing->head_bytes)
    add_rest(note.session, note.track, now);
}

}  // namespace segue::edge
