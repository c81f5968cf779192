#include "edge/prefetch/playlist_table.h"

#include <algorithm>
#include <bit>

#include "base/playlist_limits.h"

namespace segue::edge {

std::optional<uint32_t> PlaylistItems::find(TrackId track, uint64_t first,
                                            uint32_t from) const noexcept {
  for (uint32_t i = from; i < segments.size() && segments[i].track == track; ++i) {
    const ByteRange range = segments[i].range;
    if (range.empty() || (range.first <= first && first < range.end)) return i;
  }
  return std::nullopt;
}

uint64_t PlaylistItems::bytes() const noexcept {
  return sizeof(PlaylistItems) + (segments.capacity() + maps.capacity()) * sizeof(Item) +
         texts.capacity();
}

PlaylistTable::PlaylistTable(uint64_t bytes_max)
    : items_bytes_max_(bytes_max / 4 * 3),
      sets_(std::bit_floor(std::max<uint64_t>(bytes_max / 4 / sizeof(Set), 1))) {}

/// With its places in the order and the map.
uint64_t PlaylistTable::cost_of(const PlaylistItems& items) noexcept {
  constexpr uint64_t kPlaces = 160;
  return items.bytes() + kPlaces;
}

PlaylistTable::Set& PlaylistTable::set_of(TrackId segment) noexcept {
  return sets_[mix(segment) & (sets_.size() - 1)];
}

Ref<const PlaylistItems> PlaylistTable::find(TrackId playlist, cache::Sequence version) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto known = by_playlist_.find(playlist);
  if (known == by_playlist_.end() || known->second->version != version) return {};
  order_.splice(order_.begin(), order_, known->second);
  return known->second->items;
}

/// Into `gone`, to be freed once the mutex is not held.
void PlaylistTable::forget(Order::iterator at, Order& gone) {
  by_playlist_.erase(at->playlist);
  count_.fetch_sub(1, std::memory_order_relaxed);
  bytes_.fetch_sub(cost_of(*at->items), std::memory_order_relaxed);
  gone.splice(gone.begin(), order_, at);
}

bool PlaylistTable::put(TrackId playlist, cache::Sequence version,
                        const Ref<const PlaylistItems>& items) {
  const uint64_t cost = cost_of(*items);
  if (cost > items_bytes_max_) return false;
  Order gone;
  Order fresh;
  fresh.push_back({.playlist = playlist, .version = version, .items = items});
  {
    const std::scoped_lock lock(mutex_);
    if (const auto former = by_playlist_.find(playlist); former != by_playlist_.end())
      forget(former->second, gone);
    while (!order_.empty() && (bytes() + cost > items_bytes_max_ || order_.size() >= kPlaylistsMax))
      forget(std::prev(order_.end()), gone);
    order_.splice(order_.begin(), fresh);
    by_playlist_.emplace(playlist, order_.begin());
    count_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(cost, std::memory_order_relaxed);
  }
  const auto segments = static_cast<uint32_t>(items->segments.size());
  for (uint32_t from = 0; from < segments; from += kEntriesAtOnce) {
    const std::scoped_lock lock(mutex_);  // others look up in between
    enter(playlist, *items, from, std::min(segments, from + kEntriesAtOnce));
  }
  return true;
}

void PlaylistTable::enter(TrackId playlist, const PlaylistItems& items, uint32_t from,
                          uint32_t end) noexcept {
  for (uint32_t i = from; i < end; ++i) {
    const TrackId segment = items.segments[i].track;
    if (i > 0 && items.segments[i - 1].track == segment) continue;  // a further part of it
    Set& set = set_of(segment);
    auto way = std::ranges::find(set, segment, &Entry::segment);
    // One that stands there again (a jingle) is known by its first place.
    if (way != set.end() && way->playlist == playlist && way->index < i &&
        items.segments[way->index].track == segment)
      continue;
    if (way == set.end()) way = std::ranges::find(set, TrackId{0}, &Entry::segment);
    if (way == set.end()) way = set.begin() + next_way_++ % kWays;
    *way = {.segment = segment, .playlist = playlist, .index = i};
  }
}

std::optional<PlaylistTable::Place> PlaylistTable::find_segment(TrackId track) noexcept {
  if (count() == 0) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  const Set& set = set_of(track);
  const auto entry = std::ranges::find(set, track, &Entry::segment);
  if (entry == set.end()) return std::nullopt;
  const auto known = by_playlist_.find(entry->playlist);
  if (known == by_playlist_.end()) return std::nullopt;
  const Ref<const PlaylistItems>& items = known->second->items;
  const uint32_t index = entry->index;
  // Of a former version, or of one whose entries are still being made.
  if (index >= items->segments.size() || items->segments[index].track != track) return std::nullopt;
  order_.splice(order_.begin(), order_, known->second);
  return Place{.playlist = entry->playlist, .items = items, .index = index};
}

void PlaylistTable::clear() {
  Order gone;
  const std::scoped_lock lock(mutex_);
  gone.swap(order_);
  by_playlist_.clear();
  count_.store(0, std::memory_order_relaxed);
  bytes_.store(0, std::memory_order_relaxed);
}

}  // namespace segue::edge
