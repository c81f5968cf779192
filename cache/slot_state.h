// cache/slot_state.h - the life of a slot on a drive, as a table. An edge not listed is a bug of
// ours and stops the process.
#pragma once
#include <cstdint>
#include <optional>

#include "base/assert.h"

namespace segue::cache {

enum class SlotState : uint8_t {
  Free,
  Writing,   // one write holds it; its key is taken, nobody reads it
  Live,      // linked: reads may start
  Retiring,  // unlinked, and reads that started before still run
  Bad,       // a write to it failed; out of use until the next start
};
inline constexpr uint32_t kSlotStates = 5;
enum class SlotEvent : uint8_t { Take, Written, Failed, Dropped, Evict, LastReaderGone };

struct SlotEdge {
  SlotState from;
  SlotEvent event;
  SlotState to;
};

// Free -Take-> Writing -Written-> Live -Evict-> Retiring -LastReaderGone-> Free
//              Writing -Failed-> Bad     Writing -Dropped-> Free (nothing written, or purged)
inline constexpr SlotEdge kSlotEdges[] = {
    {SlotState::Free, SlotEvent::Take, SlotState::Writing},
    {SlotState::Writing, SlotEvent::Written, SlotState::Live},
    {SlotState::Writing, SlotEvent::Failed, SlotState::Bad},
    {SlotState::Writing, SlotEvent::Dropped, SlotState::Free},
    {SlotState::Live, SlotEvent::Evict, SlotState::Retiring},
    {SlotState::Retiring, SlotEvent::LastReaderGone, SlotState::Free},
};

[[nodiscard]] constexpr std::optional<SlotState> next(SlotState from, SlotEvent event) noexcept {
  for (const SlotEdge& edge : kSlotEdges) {
    if (edge.from == from && edge.event == event) return edge.to;
  }
  return std::nullopt;
}

static_assert(!next(SlotState::Retiring, SlotEvent::Take));  // never rewritten while it is read
static_assert(!next(SlotState::Live, SlotEvent::Take));
static_assert(!next(SlotState::Bad, SlotEvent::Take));

}  // namespace segue::cache
