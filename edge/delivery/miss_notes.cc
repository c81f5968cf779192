#include "edge/delivery/miss_notes.h"

#include <algorithm>
#include <span>

#include "edge/delivery/delivery_counters.h"
#include "edge/delivery/exchange.h"

namespace segue::edge {
namespace {

constexpr size_t kWays = 4;
static_assert(kMissNotesPerLoop % kWays == 0);

}  // namespace

size_t MissNotes::set_of(KeyHash key) noexcept {
  return key.low % (kMissNotesPerLoop / kWays) * kWays;
}

void MissNotes::add(KeyHash key, const MissNote& note) noexcept {
  const std::scoped_lock lock(mutex_);
  const std::span set(entries_.begin() + static_cast<ptrdiff_t>(set_of(key)), kWays);
  auto place = std::ranges::find(set, key, &Entry::key);
  if (place == set.end())
    place = std::ranges::min_element(set, {}, [](const Entry& entry) { return entry.note.when; });
  *place = {key, note};
}

std::optional<MissNote> MissNotes::find(KeyHash key) const noexcept {
  const std::scoped_lock lock(mutex_);
  const std::span set(entries_.begin() + static_cast<ptrdiff_t>(set_of(key)), kWays);
  const auto place = std::ranges::find(set, key, &Entry::key);
  if (place == set.end() || place->note.when == WallTime{}) return std::nullopt;
  return place->note;
}

std::optional<MissNote> miss_note_of(const Exchange& exchange, WallTime now) noexcept {
  const AccessRecord& record = exchange.record;
  switch (record.cache) {
    case CacheResult::HitRam:
    case CacheResult::HitDrive:
    case CacheResult::Negative:
      return std::nullopt;
    case CacheResult::None:
      if (record.status < 500 || exchange.asked.key_text.empty()) return std::nullopt;
      break;
    case CacheResult::Miss:
    case CacheResult::Pass:
    case CacheResult::Stale:
    case CacheResult::Revalidated:
      break;
  }
  const auto forwarded = forwarded_because(exchange);
  return MissNote{.when = now,
                  .status = record.status,
                  .result = record.cache,
                  .reason = forwarded ? http::name_of(*forwarded) : record.reason,
                  .slices_hit = record.slices_hit,
                  .slices_needed = record.slices_needed};
}

}  // namespace segue::edge
