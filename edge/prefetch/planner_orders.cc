// Orders, budgets and judgement: what is fetched when, and what it was good for.
#include <algorithm>
#include <chrono>

#include "base/assert.h"
#include "edge/prefetch/planner_tables.h"

namespace segue::edge {

namespace {
constexpr std::chrono::hours kDay{24};
// Of what may be held for nobody, rests leave half to heads: a head makes a start, a rest only
// spares a wait that read-ahead would have hidden. In a cache of 2 % of all tracks rests that could
// fill it all crowded heads out (loadtest/NOTES.md).
constexpr uint64_t kRestsShareOf = 2;
constexpr uint32_t kReadyLookedAt = 64;
constexpr uint64_t kPartsSeenMax = 8;  // of one request: 2 MiB
}  // namespace

void Planner::refill(MonoTime now) {
  budget_.refill(static_cast<double>(options_.bytes_per_second), now);
  if (day_began_ == MonoTime{}) day_began_ = now;
  if (now - day_began_ >= kDay) {
    day_began_ = now;
    bytes_today_ = 0;
  }
}

bool Planner::affordable(uint64_t bytes) const noexcept {
  return budget_.affords(static_cast<double>(bytes)) &&
         bytes_today_ + bytes <= options_.bytes_per_day;
}

/// Whose turn it is: rests that would take more than their share are passed over, and what is more
/// than may be held at all.
std::optional<uint32_t> Planner::first_with_room() const {
  uint32_t looks = 0;
  for (const Tables::Ready& ready : tables_->ready) {
    const Candidate& candidate = tables_->candidates[ready.candidate];
    const uint64_t bytes = planned_bytes(candidate);
    const bool waits = candidate.part.first > 0 && tables_->rest_bytes > 0 &&
                       tables_->rest_bytes + bytes > options_.held_bytes_max / kRestsShareOf;
    if (!waits && bytes <= options_.held_bytes_max) return ready.candidate;
    if (++looks == kReadyLookedAt) break;
  }
  return std::nullopt;
}

std::optional<Planner::Order> Planner::next(MonoTime now) {
  expire(now);
  ripen(now);
  refill(now);
  while (!paused_ && tables_->running.size() < options_.orders_max && may_hold_more()) {
    const auto ready = first_with_room();
    if (!ready) return std::nullopt;
    const uint32_t index = *ready;
    Candidate& candidate = tables_->candidates[index];
    if (is_fulfilled(candidate.entry.track)) {
      unlink(index);  // another session's candidate brought it meanwhile
      enter(index, now);
      continue;
    }
    const uint64_t bytes = planned_bytes(candidate);
    if (held_bytes_ + bytes > options_.held_bytes_max || !affordable(bytes)) return std::nullopt;
    Order order = begin(index, now);
    if (options_.fetches) return order;
    landed(order.id, bytes);
    ended(order.id, End::Complete, now);
  }
  return std::nullopt;
}

Planner::Order Planner::begin(uint32_t index, MonoTime /*now*/) {
  unlink(index);
  Candidate& candidate = tables_->candidates[index];
  const uint64_t bytes = planned_bytes(candidate);
  budget_.spend(static_cast<double>(bytes));
  bytes_today_ += bytes;
  held_bytes_ += bytes;
  if (candidate.part.first > 0) tables_->rest_bytes += bytes;
  const uint64_t id = ++last_order_;
  candidate.state = Candidate::State::Running;
  candidate.order = id;
  tables_->running_by_track[candidate.entry.track] = id;
  tables_->running[id] = {.candidate = index,
                          .track = candidate.entry.track,
                          .model = candidate.model,
                          .part = candidate.part,
                          .tail_bytes = candidate.entry.tail_bytes,
                          .planned_bytes = bytes,
                          .until = candidate.until,
                          .target = candidate.entry.target};
  if (candidate.refusals == 0) scores_.at(candidate.model).planned.add();
  return {.id = id,
          .track = candidate.entry.track,
          .head = candidate.part,
          .tail_bytes = candidate.entry.tail_bytes,
          .head_is_guess = candidate.entry.head_is_guess && candidate.part.first == 0,
          .model = candidate.model,
          .due = candidate.entry.due,
          .target = candidate.entry.target};
}

MonoTime Planner::wake_at(MonoTime now) const {
  MonoTime at = kNever;
  if (!tables_->waiting.empty()) at = std::min(at, tables_->waiting.begin()->first);
  if (!tables_->session_ends.empty()) at = std::min(at, tables_->session_ends.begin()->first);
  if (!tables_->held_ends.empty()) at = std::min(at, tables_->held_ends.begin()->first);
  if (!paused_ && tables_->running.size() < options_.orders_max) {
    if (const auto ready = first_with_room()) at = std::min(at, affordable_at(*ready, now));
  }
  return std::max(at, now + milliseconds{1});
}

/// When the budget, which grows by time, holds the bytes of this candidate. What is held for nobody
/// may stand in its way as well; that changes by notes and by its end, not by waiting.
MonoTime Planner::affordable_at(uint32_t index, MonoTime now) const {
  const uint64_t bytes = planned_bytes(tables_->candidates[index]);
  if (bytes_today_ + bytes > options_.bytes_per_day) return day_began_ + kDay;
  const auto wait = budget_.wait_for(static_cast<double>(bytes));
  return wait ? now + *wait : kNever;
}

bool Planner::refine(uint64_t order, uint64_t head_bytes, uint32_t tail_bytes) {
  const auto at = tables_->running.find(order);
  if (at == tables_->running.end()) return false;
  Running& running = at->second;
  // Less gives back what it does not need when it has ended.
  const uint64_t bytes = slice_bytes({0, head_bytes}, tail_bytes);
  if (bytes > running.planned_bytes) {
    const uint64_t more = bytes - running.planned_bytes;
    if (held_bytes_ + more > options_.held_bytes_max ||
        bytes_today_ + more > options_.bytes_per_day)
      return false;
    running.planned_bytes = bytes;
    held_bytes_ += more;
    bytes_today_ += more;
    budget_.spend(static_cast<double>(more));
  }
  running.part = {0, head_bytes};
  running.tail_bytes = tail_bytes;
  if (running.candidate == kNoCandidate) return true;
  Candidate& candidate = tables_->candidates[running.candidate];
  candidate.part = running.part;
  candidate.entry.head_bytes = head_bytes;
  candidate.entry.tail_bytes = tail_bytes;
  candidate.entry.head_is_guess = false;
  return true;
}

void Planner::landed(uint64_t order, uint64_t bytes) {
  const auto at = tables_->running.find(order);
  if (at == tables_->running.end()) return;
  at->second.landed += bytes;
  // What is only observed moves no byte; that it would have is seen by what is judged.
  if (options_.fetches) scores_.at(at->second.model).bytes_fetched.add(bytes);
}

void Planner::ended(uint64_t order, End end, MonoTime now) {
  const auto at = tables_->running.find(order);
  if (at == tables_->running.end()) return;
  const Running running = std::move(at->second);
  tables_->running.erase(at);
  tables_->running_by_track.erase(running.track);
  held_bytes_ -= running.planned_bytes;
  if (running.part.first > 0) tables_->rest_bytes -= running.planned_bytes;
  SEGUE_ASSERT(running.landed <= running.planned_bytes);  // else the budgets were not kept
  // What was here already cost nothing.
  budget_.spend(static_cast<double>(running.landed) - static_cast<double>(running.planned_bytes));
  bytes_today_ = bytes_today_ + running.landed > running.planned_bytes
                     ? bytes_today_ + running.landed - running.planned_bytes
                     : 0;
  ModelScore& score = scores_.at(running.model);
  const auto held = tables_->held.find(running.track);
  const bool resumed = held != tables_->held.end() && !held->second.whole;
  const bool brought = running.landed > 0 || resumed;
  if (end == End::Complete && brought) score.fetched.add();
  if (end == End::AlreadyHere || (end == End::Complete && !brought)) score.already_here.add();
  if (end == End::Failed || end == End::NotThere) score.failed.add();
  if (end == End::NotThere && !brought && !running.joined)
    weigh(running.model, running.planned_bytes, 0);
  const bool comes_again = end == End::Stopped || end == End::Refused;
  if (brought) hold(running, !comes_again, now);
  if (running.candidate == kNoCandidate) {
    if (!running.joined && running.landed > 0 && !tables_->wanted.contains(running.track))
      judge(running.track, Fate::Revoked);
    return;
  }
  // A candidate that failed is not tried again: the listener's own request will be. One that stood
  // aside for demand comes again; what of it landed is here then, and costs nothing.
  Candidate& candidate = tables_->candidates[running.candidate];
  candidate.state = Candidate::State::Fulfilled;
  if (!comes_again || running.joined) return;
  if (end == End::Stopped) return enter(running.candidate, now);
  const uint32_t doublings = std::min<uint32_t>(candidate.refusals, kRefusedRestDoublings);
  if (candidate.refusals < UINT8_MAX) ++candidate.refusals;
  score.refused.add();
  enter(running.candidate, now, now + kRefusedRest * (1U << doublings));
}

void Planner::uncount(Held& held) noexcept {
  if (!std::exchange(held.counted, false)) return;
  held_bytes_ -= held.bytes;
  if (held.part.first > 0) tables_->rest_bytes -= held.bytes;
}

void Planner::hold_until(TrackId track, Held& held, MonoTime until) {
  tables_->held_ends.erase({held.until, track});
  held.until = until;
  tables_->held_ends.emplace(until, track);
}

void Planner::hold(const Running& running, bool whole, MonoTime now) {
  const auto [at, first] = tables_->held.try_emplace(running.track);
  Held& held = at->second;
  if (first) {
    held = {.part = running.part,
            .tail_bytes = running.tail_bytes,
            .model = running.model,
            .since = now,
            .until = {},
            .target = running.target};
  }
  // One that stood aside may come again knowing more: its container has told by then.
  held.part.end = std::max(held.part.end, running.part.end);
  held.tail_bytes = std::max(held.tail_bytes, running.tail_bytes);
  held.bytes += running.landed;
  held.whole = whole;
  if (held.counted) {
    held_bytes_ += running.landed;
    if (held.part.first > 0) tables_->rest_bytes += running.landed;
  }
  hold_until(running.track, held, running.until);
  if (running.joined) {
    held.used = held.bytes;
    judge(running.track, Fate::Used);
  }
}

void Planner::see(const DemandNote& note, MonoTime now) {
  if (note.range.first == 0) {
    totals_.first_bytes.add();
    if (!note.hit) totals_.first_byte_misses.add();
  }
  const uint64_t first_slice = note.range.first / kSliceBytes;
  for (const TrackId whole : {note.track, rest_of(note.track)}) see_track(whole, note, now);
  // What was asked for may end in the middle of parts, and the slice it begins in may be another's.
  const uint64_t last_slice = note.range.empty() ? first_slice : (note.range.end - 1) / kSliceBytes;
  const uint64_t end = std::min(last_slice, first_slice + kPartsSeenMax - 1) + 1;
  for (uint64_t slice = std::max<uint64_t>(first_slice, 1); slice < end; ++slice)
    see_track(part_of(note.track, slice), note, now);
  see_listener(note, now);
}

/// Of one that is held or running under that id: what a request for some of its bytes makes of it.
void Planner::see_track(TrackId track, const DemandNote& note, MonoTime now) {
  if (const auto at = tables_->running_by_track.find(track);
      at != tables_->running_by_track.end()) {
    Running& running = tables_->running.at(at->second);
    const bool overlaps =
        note.range.first < running.part.end && note.range.end > running.part.first;
    if (!running.joined && overlaps) {
      running.joined = true;
      scores_.at(running.model).late.add();
    }
  }
  const auto at = tables_->held.find(track);
  if (at == tables_->held.end()) return;
  Held& held = at->second;
  const bool of_tail = held.tail_bytes > 0 && note.range.first >= held.part.end;
  if (!of_tail && (note.range.first >= held.part.end || note.range.end <= held.part.first)) return;
  ModelScore& score = scores_.at(held.model);
  if (!held.asked) {
    held.asked = true;
    if (held.part.first == 0) uncount(held);
    score.used.add();
    score.record_lead(now - held.since);
    // While it only observes nothing is here because of us: what would have been is counted.
    if (note.range.first == 0 && (note.hit || !options_.fetches)) score.avoided.add();
  }
  if (of_tail) {
    held.tail_used = true;
  } else {
    held.used = std::max(held.used, std::min(note.range.end, held.part.end) - held.part.first);
  }
  if (held.used + (held.tail_used ? held.tail_bytes : 0) >= held.bytes ||
      (held.used >= held.part.length() && (held.tail_bytes == 0 || held.tail_used)))
    judge(track, Fate::Used);
}

bool Planner::evicted(TrackId track) {
  const auto at = tables_->held.find(track);
  if (at == tables_->held.end() || at->second.asked) return false;
  judge(track, Fate::Evicted);
  return true;
}

void Planner::judge(TrackId track, Fate fate) {
  const auto at = tables_->held.find(track);
  Held held = std::move(at->second);
  tables_->held.erase(at);
  tables_->held_ends.erase({held.until, track});
  ModelScore& score = scores_.at(held.model);
  if (fate == Fate::Used && held.used >= held.part.length()) held.used = held.bytes;
  const uint64_t used =
      std::min(held.bytes, held.used + (held.tail_used ? uint64_t{held.tail_bytes} : 0));
  score.bytes_used.add(used);
  score.bytes_wasted.add(held.bytes - used);
  uncount(held);
  if (!held.asked) {
    if (fate == Fate::Expired) score.unused_expired.add();
    if (fate == Fate::Revoked) score.unused_revoked.add();
    if (fate == Fate::Evicted) score.unused_evicted.add();
    if (held.target && fate != Fate::Used)
      tables_->dropped.push_back({std::move(held.target), held.part, held.tail_bytes});
  }
  weigh(held.model, held.bytes, used);
}

/// Whether the model is above its floor, every so many bytes.
void Planner::weigh(uint32_t model, uint64_t judged, uint64_t used) {
  Tables::Window& window = tables_->windows[model];
  window.judged += judged;
  window.used += used;
  if (window.judged < options_.judge_bytes) return;
  const double precision = static_cast<double>(window.used) / static_cast<double>(window.judged);
  scores_.at(model).throttled.set(precision < options_.precision_floor ? 1 : 0);
  window.judged /= 2;
  window.used /= 2;
}

std::vector<uint64_t> Planner::take_stopped() { return std::exchange(tables_->stopped, {}); }

std::vector<Planner::Dropped> Planner::take_dropped() {
  return std::exchange(tables_->dropped, {});
}

}  // namespace segue::edge
