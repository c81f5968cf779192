#include "edge/prefetch/playlist_table.h"

#include <algorithm>
#include <bit>

#include "base/hint_limits.h"

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

PlaylistTable::Entry* PlaylistTable::find_entry(Set& set, TrackId segment) noexcept {
  const auto found = std::ranges::find_if(set, [&](const Entry& entry) {
    return entry.segment.load(std::memory_order_relaxed) == segment;
  });
  return found == set.end() ? nullptr : &*found;
}

Ref<const PlaylistItems> PlaylistTable::find(TrackId playlist, cache::Sequence version,
                                             const RefCounted& rules) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto known = by_playlist_.find(playlist);
  if (rules_.get() != &rules || known == by_playlist_.end() || known->second->version != version)
    return {};
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

/// Takes the one in `fresh`. False: some have made room for it and there is not enough yet; others
/// may look up before the next try.
bool PlaylistTable::try_enter(Order& fresh, Order& gone) {
  const TrackId playlist = fresh.front().playlist;
  const uint64_t cost = cost_of(*fresh.front().items);
  const auto is_full = [&] {
    return bytes() + cost > items_bytes_max_ || order_.size() >= kPlaylistsMax;
  };
  if (const auto former = by_playlist_.find(playlist); former != by_playlist_.end())
    forget(former->second, gone);
  for (uint32_t i = 0; i < kForgottenAtOnce && !order_.empty() && is_full(); ++i)
    forget(std::prev(order_.end()), gone);
  if (is_full()) return false;
  order_.splice(order_.begin(), fresh);
  by_playlist_.emplace(playlist, order_.begin());
  count_.fetch_add(1, std::memory_order_relaxed);
  bytes_.fetch_add(cost, std::memory_order_relaxed);
  return true;
}

bool PlaylistTable::put(TrackId playlist, cache::Sequence version, const RefCounted& rules,
                        const Ref<const PlaylistItems>& items) {
  if (cost_of(*items) > items_bytes_max_) return false;
  Order fresh;
  fresh.push_back({.playlist = playlist, .version = version, .items = items});
  for (bool entered = false; !entered;) {
    Order gone;  // freed where the mutex is not held
    const std::scoped_lock lock(mutex_);
    if (rules_.get() != &rules) return true;
    entered = try_enter(fresh, gone);
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
    Entry* way = find_entry(set, segment);
    // One that stands there again (a jingle) is known by its first place.
    if (way != nullptr && way->playlist == playlist && way->index < i &&
        items.segments[way->index].track == segment)
      continue;
    if (way == nullptr) way = find_entry(set, TrackId{0});
    if (way == nullptr) way = &set[next_way_++ % kWays];
    way->segment.store(segment, std::memory_order_relaxed);
    way->playlist = playlist;
    way->index = i;
  }
}

std::optional<PlaylistTable::Place> PlaylistTable::find_segment(TrackId track,
                                                                const RefCounted& rules) noexcept {
  Set& set = set_of(track);
  // Without the mutex: most of what is asked for is no segment. One that is just being entered may
  // be overlooked.
  if (count() == 0 || find_entry(set, track) == nullptr) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  const Entry* entry = find_entry(set, track);
  if (entry == nullptr || rules_.get() != &rules) return std::nullopt;
  const auto known = by_playlist_.find(entry->playlist);
  if (known == by_playlist_.end()) return std::nullopt;
  const Ref<const PlaylistItems>& items = known->second->items;
  const uint32_t index = entry->index;
  // Of a former version, or of one whose entries are still being made.
  if (index >= items->segments.size() || items->segments[index].track != track) return std::nullopt;
  order_.splice(order_.begin(), order_, known->second);
  return Place{.playlist = entry->playlist, .items = items, .index = index};
}

void PlaylistTable::renew(Ref<const RefCounted> rules) {
  Order gone;  // freed where the mutex is not held, as what `rules` then holds
  std::unordered_map<TrackId, Order::iterator> gone_places;
  const std::scoped_lock lock(mutex_);
  std::swap(rules_, rules);
  gone.swap(order_);
  gone_places.swap(by_playlist_);
  count_.store(0, std::memory_order_relaxed);
  bytes_.store(0, std::memory_order_relaxed);
}

void PlaylistTable::keep(Ref<const RefCounted> rules) {
  const std::scoped_lock lock(mutex_);
  std::swap(rules_, rules);  // the former are freed where the mutex is not held: by the caller
}

}  // namespace segue::edge
