// base/hint_limits.h - the bounds of reading what is said to be asked for next, by players and
// by HLS playlists; the other page is limits.h.
#pragma once
#include <cstdint>

#include "base/units.h"

namespace segue {

inline constexpr uint32_t kPlaylistBytesMax = 256 * KiB;  // one slice; a longer one is not read
/// What one loop reads in a second: whoever asks for more of them than are remembered, in turn,
/// would have each read again.
inline constexpr uint32_t kPlaylistReadBytesPerSecond = 512 * KiB;
inline constexpr uint32_t kPlaylistLinesMax = 16 * 1024;  // likewise
inline constexpr uint32_t kPlaylistSegmentsMax =
    2048;                                         // kept of one: the first, of a live one the last
inline constexpr uint32_t kPlaylistMapsMax = 64;  // initialization sections of one
inline constexpr uint32_t kPlaylistsMax = 4096;   // remembered; the memory may allow fewer
inline constexpr uint32_t kPlaylistSegmentsAheadMax = 8;  // prefetch.playlist_segments
inline constexpr uint32_t kNextObjectsMax = 4;            // of one request's CMCD

}  // namespace segue
