// cache/buffer_state.h - the life of one RAM buffer.
//
//   Free -Reserve-> Reserved -Claim-> Filling -Commit-> Resident -Evict-> Reserved -GiveBack-> Free
//   Resident -StartWrite-> Writing -EndWrite-> Resident     (also on its way to a drive: not
//   evicted) Filling -Drop-> Draining -LastPinGone-> Free            (abandoned, or landed for
//   nobody) Resident -Drop-> Draining                               (its shard has no room to order
//   it) Filling -Hang-> Quarantined -OperationDone-> Draining   (a drive read that does not come
//   back:
//                                                            the kernel may still write into it)
#pragma once
#include <cstdint>
#include <optional>

namespace segue::cache {

enum class BufferState : uint8_t {
  Free,         // on the free list of its class
  Reserved,     // set aside for a fill, not yet named
  Filling,      // in the map; one owner lands bytes
  Resident,     // in the map, whole, evictable when unpinned
  Writing,      // as Resident, and a drive write reads it
  Draining,     // out of the map; the last pin frees it
  Quarantined,  // out of the map; a hung operation may still write into it
};
inline constexpr uint32_t kBufferStates = 7;

enum class BufferEvent : uint8_t {
  Reserve,
  GiveBack,
  Claim,
  Commit,
  Drop,
  Evict,
  StartWrite,
  EndWrite,
  Hang,
  OperationDone,
  LastPinGone,
};

struct BufferEdge {
  BufferState from;
  BufferEvent event;
  BufferState to;
};

inline constexpr BufferEdge kBufferEdges[] = {
    {BufferState::Free, BufferEvent::Reserve, BufferState::Reserved},
    {BufferState::Reserved, BufferEvent::GiveBack, BufferState::Free},
    {BufferState::Reserved, BufferEvent::Claim, BufferState::Filling},
    {BufferState::Filling, BufferEvent::Commit, BufferState::Resident},
    {BufferState::Filling, BufferEvent::Drop, BufferState::Draining},
    {BufferState::Filling, BufferEvent::Hang, BufferState::Quarantined},
    {BufferState::Resident, BufferEvent::Evict, BufferState::Reserved},
    {BufferState::Resident, BufferEvent::Drop, BufferState::Draining},
    {BufferState::Resident, BufferEvent::StartWrite, BufferState::Writing},
    {BufferState::Writing, BufferEvent::EndWrite, BufferState::Resident},
    {BufferState::Quarantined, BufferEvent::OperationDone, BufferState::Draining},
    {BufferState::Draining, BufferEvent::LastPinGone, BufferState::Free},
};

/// The state after `event`; nullopt: not an edge, a bug of ours.
constexpr std::optional<BufferState> next(BufferState from, BufferEvent event) noexcept {
  for (const BufferEdge& edge : kBufferEdges) {
    if (edge.from == from && edge.event == event) return edge.to;
  }
  return std::nullopt;
}

static_assert(!next(BufferState::Writing, BufferEvent::Evict));        // a drive write reads it
static_assert(!next(BufferState::Filling, BufferEvent::Evict));        // its owner writes it
static_assert(!next(BufferState::Draining, BufferEvent::Claim));       // readers are left
static_assert(!next(BufferState::Quarantined, BufferEvent::Reserve));  // the kernel may write it

}  // namespace segue::cache
