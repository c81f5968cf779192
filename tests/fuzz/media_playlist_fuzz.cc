// Any text is read in bounded memory without a step outside of it; what it names lies in the text,
// is no more than the limits say, and leads to a target on the same host, or to none.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "base/hint_limits.h"
#include "edge/prefetch/media_playlist.h"
#include "fuzz_input.h"
#include "http/relative_target.h"

namespace {

void check(const segue::edge::PlaylistResource& what, std::string_view text) {
  SEGUE_ASSERT(!what.uri.empty());
  SEGUE_ASSERT(what.uri.data() >= text.data());
  SEGUE_ASSERT(what.uri.data() + what.uri.size() <= text.data() + text.size());
  SEGUE_ASSERT(what.range.first <= what.range.end);
  std::array<char, 256> room;
  const auto target = segue::http::resolve_on_host("/a/b/c?d", what.uri, room);
  if (target) SEGUE_ASSERT(target->starts_with('/'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = segue::fuzz::text_of(data, size);
  const auto playlist = segue::edge::parse_media_playlist(text);
  if (!playlist) return 0;
  SEGUE_ASSERT(playlist->segments.size() <= segue::kPlaylistSegmentsMax);
  SEGUE_ASSERT(playlist->maps.size() <= segue::kPlaylistMapsMax);
  for (const auto& map : playlist->maps) check(map, text);
  for (const auto& segment : playlist->segments) {
    check(segment.what, text);
    const bool has_map = segment.map != segue::edge::MediaPlaylist::kNoMap;
    if (has_map) SEGUE_ASSERT(segment.map < playlist->maps.size());
  }
  return 0;
}
