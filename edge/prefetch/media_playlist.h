// edge/prefetch/media_playlist.h - the segments that an HLS media playlist names (RFC 8216), as far
// as fetching them is concerned. It comes from an origin; hostile all the same. Pure.
#pragma once
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

#include "base/byte_range.h"

namespace segue::edge {

/// What one URI line, or the URI of an EXT-X-MAP, names.
struct PlaylistResource {
  std::string_view uri;  // as written; a view of the playlist's text
  ByteRange range;       // empty: all of it
};

struct MediaPlaylist {
  static constexpr uint32_t kNoMap = UINT32_MAX;
  struct Segment {
    PlaylistResource what;
    uint32_t map = kNoMap;  // its initialization section in `maps` (§4.3.2.5)
  };
  std::vector<Segment> segments;  // in their order; views of the text
  std::vector<PlaylistResource> maps;
  bool is_live = true;  // no EXT-X-ENDLIST: it goes on (§4.3.3.4)
};

enum class PlaylistMistake : uint8_t {
  TooLarge,      // bytes, lines or initialization sections
  Multivariant,  // its URIs are playlists (§4.3.4): players choose, we do not
  Malformed,     // no playlist, or not one that a player could follow
};

/// The segments of `text`, at most kPlaylistSegmentsMax: the first ones, of a live playlist the
/// last. Those that EXT-X-GAP says are not there are left out. Takes time linear in the text's
/// length; allocates.
[[nodiscard]] std::expected<MediaPlaylist, PlaylistMistake> parse_media_playlist(
    std::string_view text);

}  // namespace segue::edge
