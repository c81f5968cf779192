#include "edge/delivery/playlist_note.h"

#include <algorithm>

#include "base/hint_limits.h"
#include "edge/delivery/hint_note.h"
#include "edge/prefetch/hint_gate.h"
#include "edge/prefetch/media_playlist.h"
#include "edge/prefetch/whole_range.h"

namespace segue::edge {
namespace {

using Item = PlaylistItems::Item;

HintRefusals& refusals_of(Inbox& inbox) noexcept {
  return inbox.refused[static_cast<uint8_t>(HintSource::Playlist)];
}

uint32_t segments_ahead(const Inbox& inbox) noexcept {
  return inbox.playlists != nullptr ? inbox.segments_ahead.load(std::memory_order_relaxed) : 0;
}

/// RFC 8216 §4 and §10, and what servers send besides. By its name only where the origin says
/// nothing.
bool is_playlist(const Exchange& exchange) noexcept {
  using http::equals_ignore_case;
  std::string_view type =
      exchange.selection.response->parts().fields.view().find("Content-Type").value_or("");
  type = http::trim_whitespace(type.substr(0, type.find(';')));
  for (const std::string_view known : {"application/vnd.apple.mpegurl", "audio/mpegurl",
                                       "audio/x-mpegurl", "application/x-mpegurl"}) {
    if (equals_ignore_case(type, known)) return true;
  }
  for (const std::string_view generic :
       {"", "application/octet-stream", "binary/octet-stream", "text/plain"}) {
    if (!equals_ignore_case(type, generic)) continue;
    const std::string_view target = exchange.asked.target;
    return target.substr(0, target.find('?')).ends_with(".m3u8");
  }
  return false;
}

/// Whether `exchange` was answered with a stored representation, or that it has not changed.
bool was_answered(const Exchange& exchange) noexcept {
  const int status = exchange.head.status;
  return exchange.selection.selected && (status == 200 || status == 206 || status == 304) &&
         exchange.selection.response->parts().form == StoredResponse::Form::Normal;
}

/// Turns what a playlist names into keys. One that is refused (counted) is left out, and what
/// follows it counts as next.
class ItemWriter {
 public:
  ItemWriter(const Exchange& exchange, cache::Store& store, Inbox& inbox) noexcept
      : exchange_(exchange), store_(store), refused_(refusals_of(inbox)) {}

  Ref<const PlaylistItems> write(const MediaPlaylist& playlist) {
    items_->is_live = playlist.is_live;
    items_->segments.reserve(playlist.segments.size());
    std::vector<uint32_t> places(playlist.maps.size(), PlaylistItems::kNoMap);
    for (size_t i = 0; i < places.size(); ++i) {
      const auto item = item_of(playlist.maps[i]);
      if (!item) continue;
      places[i] = static_cast<uint32_t>(items_->maps.size());
      items_->maps.push_back(*item);
    }
    for (const MediaPlaylist::Segment& segment : playlist.segments) {
      auto item = item_of(segment.what);
      if (!item) continue;
      if (segment.map != MediaPlaylist::kNoMap) item->map = places[segment.map];
      items_->segments.push_back(*item);
    }
    items_->texts.shrink_to_fit();
    return items_;
  }

 private:
  std::optional<Item> item_of(const PlaylistResource& what) {
    Item item{.track = 0, .range = what.range};
    if (what.uri == before_.uri && before_item_) {  // a further part of the same file
      item = *before_item_;
      item.range = what.range;
      return item;
    }
    before_ = what;
    before_item_.reset();
    const auto text = key_of_reference(exchange_, what.uri, room_, refused_);
    if (!text) return std::nullopt;
    if (text->key_text.size() > kNoteTextBytesMax) {
      refused_.too_long.add();
      return std::nullopt;
    }
    item.track = track_of(store_.hash(text->key_text));
    item.text_at = static_cast<uint32_t>(items_->texts.size());
    item.text_bytes = static_cast<uint32_t>(text->key_text.size());
    items_->texts.append(text->key_text);
    before_item_ = item;
    return item;
  }

  const Exchange& exchange_;
  cache::Store& store_;
  HintRefusals& refused_;
  ReferenceRoom room_;
  Ref<PlaylistItems> items_ = make_ref<PlaylistItems>();
  PlaylistResource before_;
  std::optional<Item> before_item_;
};

void count(PlaylistMistake mistake, PlaylistCounters& counters) noexcept {
  switch (mistake) {
    case PlaylistMistake::TooLarge:
      return counters.too_large.add();
    case PlaylistMistake::Multivariant:
      return counters.multivariant.add();
    case PlaylistMistake::Malformed:
      return counters.malformed.add();
  }
}

/// What the playlist that was sent names, read if this version of it was not yet. Null: not all of
/// it is in RAM now, or this loop has read enough for the moment; a later response will tell. What
/// is refused is remembered as naming nothing.
Ref<const PlaylistItems> items_of(const Exchange& exchange, const PlaylistScope& scope) {
  const cache::Generation& generation = *exchange.selection.selected.generation;
  PlaylistTable& table = *scope.inbox.playlists;
  PlaylistCounters& counters = scope.inbox.playlists_read;
  const TrackId playlist = track_of(generation.key());
  if (auto known = table.find(playlist, generation.id(), scope.sites)) return known;
  const uint64_t length = generation.complete_length();
  const auto refuse = [&](PlaylistMistake mistake) {
    count(mistake, counters);
    auto nothing = make_ref<PlaylistItems>();
    (void)table.put(playlist, generation.id(), scope.sites, nothing);
    return nothing;
  };
  if (length > kPlaylistBytesMax) return refuse(PlaylistMistake::TooLarge);
  if (length == 0) return refuse(PlaylistMistake::Malformed);
  // Nobody's use; pinned until it is read. All of it is one slice.
  const auto found = scope.store.find(generation, cache::SliceIndex{0}, cache::UseId{});
  if (!found.buffer) return {};
  const std::span<const std::byte> landed = found.buffer.landed();
  if (landed.size() != length) return {};
  TokenBucket& budget = scope.inbox.playlist_budget;
  budget.refill(kPlaylistReadBytesPerSecond, Loop::current()->now());
  if (!budget.affords(static_cast<double>(length))) {
    counters.put_off.add();
    return {};
  }
  budget.spend(static_cast<double>(length));
  const auto parsed = parse_media_playlist(
      std::string_view(reinterpret_cast<const char*>(landed.data()), landed.size()));
  if (!parsed) return refuse(parsed.error());
  auto items = ItemWriter(exchange, scope.store, scope.inbox).write(*parsed);
  if (!table.put(playlist, generation.id(), scope.sites, items))
    return refuse(PlaylistMistake::TooLarge);
  counters.read.add();
  return items;
}

/// Hints of one request.
class Hinting {
 public:
  Hinting(const Exchange& exchange, const PlaylistScope& scope, TrackId playlist,
          const PlaylistItems& items) noexcept
      : exchange_(exchange), scope_(scope), items_(items) {
    // Without a session id, whoever asks for parts of this playlist from one place.
    const uint64_t place = exchange.session != 0 ? exchange.session : mix(playlist);
    session_ = mix(exchange.listener ^ place) | 1;
  }
  /// What the request asks for itself; `part` of it is the segment (empty: all).
  void ask_for(const DemandNote& demand, ByteRange part) noexcept {
    asked_ = demand.track;
    after_ = part_of(demand.track, demand.range.first / kSliceBytes);
    // Its last slice comes whole.
    constexpr uint64_t kEndMax = UINT64_MAX / kSliceBytes;
    const uint64_t end = std::max(demand.range.end, part.end);
    brought_ =
        std::min(end / kSliceBytes + (end % kSliceBytes != 0 ? 1 : 0), kEndMax) * kSliceBytes;
  }
  /// `count` segments from `from` on, each with its initialization section if that is another than
  /// `map`.
  void hint(uint32_t from, uint32_t count, uint32_t map) {
    const auto segments = static_cast<uint32_t>(items_.segments.size());
    for (uint32_t i = from; i < std::min(segments, from + count); ++i) {
      const Item& segment = items_.segments[i];
      if (segment.map != map && segment.map != PlaylistItems::kNoMap)
        hint(items_.maps[segment.map]);
      map = segment.map;
      hint(segment);
    }
  }

 private:
  void hint(const Item& item) {
    ByteRange range = item.range;
    if (item.track == asked_ && !range.empty()) {
      // Another part of the same file: its beginning comes with what is asked for now.
      range.first = std::max(range.first, brought_);
      if (range.empty()) return;
    }
    HintRefusals& refused = refusals_of(scope_.inbox);
    const std::string_view key_text = items_.key_text(item);
    ByteRange looked_at = range;
    if (looked_at.empty()) looked_at.end = kHintBytes;
    // Looked at here first: of what many listen to nearly all is, and the planner is one loop.
    if (is_here(scope_.store, scope_.store.hash(key_text), key_text, looked_at))
      return refused.already_here.add();
    const std::string_view target = key_text.substr(exchange_.asked.site->name.size());
    if (!fit_to_token(exchange_, scope_.sites, target, scope_.wall, matcher_, range, refused))
      return;
    HintNote note;
    note.source = HintSource::Playlist;
    note.after = after_;
    note.session = session_;
    note.listener = exchange_.listener;
    note.apart = true;
    note.range = range;
    note.text_bytes = static_cast<uint16_t>(key_text.copy(note.text.data(), note.text.size()));
    scope_.inbox.hints.push(note);
  }

  const Exchange& exchange_;
  const PlaylistScope& scope_;
  const PlaylistItems& items_;
  UriMatcher matcher_;
  uint64_t session_ = 0;
  TrackId asked_ = 0, after_ = 0;
  uint64_t brought_ = 0;  // of the track asked for: bytes before it
};

}  // namespace

void hint_at_next_segments(const Exchange& exchange, const DemandNote& demand,
                           const PlaylistScope& scope) {
  const uint32_t ahead = segments_ahead(scope.inbox);
  // What may cost the origin nothing itself does not cost it by its hints.
  if (ahead == 0 || exchange.asked.only_if_cached) return;
  const auto place = scope.inbox.playlists->find_segment(demand.track, scope.sites);
  if (!place) return;
  const PlaylistItems& items = *place->items;
  const auto at = items.find(demand.track, demand.range.first, place->index);
  if (!at) return;
  Hinting hinting(exchange, scope, place->playlist, items);
  hinting.ask_for(demand, items.segments[*at].range);
  hinting.hint(*at + 1, ahead, items.segments[*at].map);
}

void hint_at_first_segments(const Exchange& exchange, const PlaylistScope& scope) {
  const uint32_t ahead = segments_ahead(scope.inbox);
  if (ahead == 0 || exchange.listener == 0 || exchange.asked.only_if_cached) return;
  if (!was_answered(exchange) || !is_playlist(exchange)) return;
  const auto items = items_of(exchange, scope);
  if (!items) return;
  Hinting hinting(exchange, scope, track_of(exchange.selection.selected.generation->key()), *items);
  const auto segments = static_cast<uint32_t>(items->segments.size());
  const uint32_t from = items->is_live && segments > ahead ? segments - ahead : 0;
  hinting.hint(from, ahead, PlaylistItems::kNoMap);
}

}  // namespace segue::edge
