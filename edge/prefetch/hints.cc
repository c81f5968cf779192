// Hints of players, turned into plans of one track each. Their sessions are their own: a feed that
// plans for the same listener goes on undisturbed.
#include <algorithm>

#include "base/hint_limits.h"
#include "edge/prefetch/prefetch_job.h"
#include "edge/prefetch/whole_range.h"

namespace segue::edge {
namespace {

constexpr uint64_t kPartBytesMax = 1 * MiB;
constexpr seconds kHintLasts{60};
// As many segments ahead as may be hinted at, of 20 s each: one that is here already is not planned
// again, so it has to last until it is played.
constexpr seconds kHintApartLasts{kPlaylistSegmentsAheadMax * 20};
constexpr double kHintProbability = 0.9;  // "SHOULD NOT depend on any pre-fetch": players also seek
constexpr uint64_t kSessionsApart = 0x636d6364;

}  // namespace

void Prefetcher::set_budgets() {
  hint_gate_.configure(options_.hint_bytes_per_second);
  const bool wants_hints = options_.hint_bytes_per_second > 0;
  for (const auto& inbox : inboxes_) {
    inbox->wants_hints.store(wants_hints, std::memory_order_relaxed);
    inbox->segments_ahead.store(wants_hints ? options_.playlist_segments : 0,
                                std::memory_order_relaxed);
  }
}

uint64_t Prefetcher::hints_dropped() const noexcept {
  uint64_t sum = 0;
  for (const auto& inbox : inboxes_) sum += inbox->hints.dropped().get();
  return sum;
}

uint64_t Prefetcher::hints_refused(HintSource source,
                                   const Counter HintRefusals::* reason) const noexcept {
  uint64_t sum = 0;
  for (const auto& inbox : inboxes_)
    sum += (inbox->refused[static_cast<uint8_t>(source)].*reason).get();
  return sum;
}

uint64_t Prefetcher::playlists_read(const Counter PlaylistCounters::* what) const noexcept {
  uint64_t sum = 0;
  for (const auto& inbox : inboxes_) sum += (inbox->playlists_read.*what).get();
  return sum;
}

void Prefetcher::take_hints(HintQueue& queue, void* owner) {
  auto& self = *static_cast<Prefetcher*>(owner);
  queue.drain([&](const HintNote& note) { self.take_hint(note); });
  self.step();
}

/// Nothing if it names no site that is here, or is not canonical.
Ref<const PrefetchTarget> Prefetcher::target_of_key(std::string_view key_text,
                                                    TargetBytes* counted) {
  const size_t slash = key_text.find('/');
  if (slash == std::string_view::npos) return {};
  auto target = make_target(
      {.site = std::string(key_text.substr(0, slash)), .path = std::string(key_text.substr(slash))},
      counted);
  return target && target->key_text == key_text ? target : Ref<const PrefetchTarget>();
}

/// Without a range it is a track like any that a feed names, which says no more than that.
PlanEntry Prefetcher::entry_of_hint(const HintNote& note, Ref<const PrefetchTarget> target) const {
  PlanEntry entry;
  if (note.range.empty()) {
    entry = entry_of({}, loop_.now(), std::move(target));
  } else {
    entry.track = part_of(track_of(target->key), note.range.first / kSliceBytes);
    entry.due = loop_.now();
    entry.first_byte = note.range.first;
    entry.head_bytes = std::min(note.range.length(), kPartBytesMax);
    entry.target = std::move(target);
  }
  entry.probability = kHintProbability;
  return entry;
}

void Prefetcher::take_hint(const HintNote& note) {
  HintCounters& counts = hint_counts_[static_cast<uint8_t>(note.source)];
  const auto target = target_of_key(note.key_text(), &targets_);
  if (!target) return counts.unknown_site.add();
  PlanEntry entry = entry_of_hint(note, target);
  ByteRange range{entry.first_byte, entry.first_byte + entry.head_bytes};
  if (is_here(local_.store(), target->key, target->key_text, range))
    return counts.already_here.add();
  if (entry.track == note.after) return counts.repeated.add();
  const uint64_t session = mix(note.session ^ kSessionsApart) | 1;
  // It comes by whole slices, however little of one is named.
  const uint64_t slices = (range.end + kSliceBytes - 1) / kSliceBytes - range.first / kSliceBytes;
  const uint64_t bytes = slices * kSliceBytes + entry.tail_bytes;
  const HintGate::Hint hint{
      .listener = note.listener, .session = session, .part = entry.track, .bytes = bytes};
  switch (hint_gate_.admit(hint, loop_.now())) {
    case HintGate::Verdict::Repeated:
      return counts.repeated.add();
    case HintGate::Verdict::OverBudget:
      return counts.over_budget.add();
    case HintGate::Verdict::Take:
      break;
  }
  counts.taken.add();
  (void)planner_.set({.session = note.apart ? mix(session ^ entry.track) | 1 : session,
                      .model = scores_.find_or_add(name_of(note.source)),
                      .until = loop_.now() + (note.apart ? kHintApartLasts : kHintLasts),
                      .now = note.after,
                      .rest = false,
                      .next = {&entry, 1}},
                     loop_.now());
}

}  // namespace segue::edge
