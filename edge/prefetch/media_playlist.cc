#include "edge/prefetch/media_playlist.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/hint_limits.h"

namespace segue::edge {
namespace {

constexpr uint64_t kPositionMax = uint64_t{1} << 52;

std::optional<uint64_t> number_of(std::string_view text) noexcept {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kPositionMax)
    return std::nullopt;
  return value;
}

/// The next line without its end (§4.1: LF, or CR and LF) and without blanks there, which players
/// overlook.
std::string_view take_line(std::string_view& text) noexcept {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line.substr(0, line.find_last_not_of("\r\t ") + 1);
}

/// What follows `tag` if the line begins with it.
std::optional<std::string_view> value_of(std::string_view line, std::string_view tag) noexcept {
  if (!line.starts_with(tag)) return std::nullopt;
  return line.substr(tag.size());
}

/// "<n>[@<o>]" (§4.3.2.2); without o it begins at `otherwise`.
std::optional<ByteRange> parse_byte_range(std::string_view text,
                                          std::optional<uint64_t> otherwise) noexcept {
  const size_t at = text.find('@');
  const auto bytes = number_of(text.substr(0, at));
  const auto first = at == std::string_view::npos ? otherwise : number_of(text.substr(at + 1));
  if (!bytes || !first || *bytes == 0 || *first + *bytes > kPositionMax) return std::nullopt;
  return ByteRange{*first, *first + *bytes};
}

/// The value of attribute `name` (§4.2), without its quotes; a quoted one may hold commas.
std::optional<std::string_view> find_attribute(std::string_view list,
                                               std::string_view name) noexcept {
  while (!list.empty()) {
    const size_t equals = list.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    std::string_view found = list.substr(0, equals);
    found.remove_prefix(std::min(found.find_first_not_of(' '), found.size()));
    list.remove_prefix(equals + 1);
    std::string_view value;
    if (list.starts_with('"')) {
      const size_t end = list.find('"', 1);
      if (end == std::string_view::npos) return std::nullopt;
      value = list.substr(1, end - 1);
      list.remove_prefix(end + 1);
    } else {
      value = list.substr(0, list.find(','));
    }
    if (found == name) return value;
    list.remove_prefix(std::min(list.find(','), list.size()));
    if (!list.empty()) list.remove_prefix(1);
  }
  return std::nullopt;
}

class Parser {
 public:
  std::expected<MediaPlaylist, PlaylistMistake> parse(std::string_view text);

 private:
  using Mistake = std::optional<PlaylistMistake>;
  Mistake take_tag(std::string_view line);
  Mistake take_map(std::string_view attributes);
  Mistake take_uri(std::string_view line);

  MediaPlaylist playlist_;
  // Of the segment whose URI is to come.
  bool has_duration_ = false;
  bool is_gap_ = false;
  std::optional<std::string_view> byte_range_;
  // Of those to come.
  uint32_t map_ = MediaPlaylist::kNoMap;
  PlaylistResource before_;
};

Parser::Mistake Parser::take_tag(std::string_view line) {
  // A playlist with variables (EXT-X-DEFINE) would have to be rewritten first.
  if (line.starts_with("#EXT-X-DEFINE")) return PlaylistMistake::Malformed;
  if (line.starts_with("#EXT-X-STREAM-INF") || line.starts_with("#EXT-X-I-FRAME-STREAM-INF") ||
      line.starts_with("#EXT-X-MEDIA:"))
    return PlaylistMistake::Multivariant;
  if (line.starts_with("#EXTINF:")) has_duration_ = true;
  if (line == "#EXT-X-GAP") is_gap_ = true;
  if (line == "#EXT-X-ENDLIST") playlist_.is_live = false;
  if (const auto range = value_of(line, "#EXT-X-BYTERANGE:")) byte_range_ = range;
  if (const auto map = value_of(line, "#EXT-X-MAP:")) return take_map(*map);
  return std::nullopt;
}

Parser::Mistake Parser::take_map(std::string_view attributes) {
  const auto uri = find_attribute(attributes, "URI");
  if (!uri || uri->empty()) return PlaylistMistake::Malformed;
  PlaylistResource map{.uri = *uri, .range = {}};
  if (const auto text = find_attribute(attributes, "BYTERANGE")) {
    const auto range = parse_byte_range(*text, 0);
    if (!range) return PlaylistMistake::Malformed;
    map.range = *range;
  }
  if (playlist_.maps.size() == kPlaylistMapsMax) return PlaylistMistake::TooLarge;
  map_ = static_cast<uint32_t>(playlist_.maps.size());
  playlist_.maps.push_back(map);
  return std::nullopt;
}

Parser::Mistake Parser::take_uri(std::string_view line) {
  if (!has_duration_) return PlaylistMistake::Malformed;  // EXTINF is required (§4.3.2.1)
  PlaylistResource what{.uri = line, .range = {}};
  if (byte_range_) {
    // Without an offset it goes on where the part of the same resource before it ended, and is
    // none if there was no such part.
    const bool goes_on = before_.uri == line && !before_.range.empty();
    const auto range =
        parse_byte_range(*byte_range_, goes_on ? std::optional(before_.range.end) : std::nullopt);
    if (!range) return PlaylistMistake::Malformed;
    what.range = *range;
  }
  before_ = what;
  if (!is_gap_) playlist_.segments.push_back({.what = what, .map = map_});
  has_duration_ = false;
  is_gap_ = false;
  byte_range_.reset();
  return std::nullopt;
}

std::expected<MediaPlaylist, PlaylistMistake> Parser::parse(std::string_view text) {
  if (text.size() > kPlaylistBytesMax) return std::unexpected(PlaylistMistake::TooLarge);
  if (take_line(text) != "#EXTM3U") return std::unexpected(PlaylistMistake::Malformed);
  for (uint32_t lines = 1; !text.empty(); ++lines) {
    if (lines == kPlaylistLinesMax) return std::unexpected(PlaylistMistake::TooLarge);
    const std::string_view line = take_line(text);
    if (line.empty()) continue;
    const Mistake mistake = line.starts_with('#') ? take_tag(line) : take_uri(line);
    if (mistake) return std::unexpected(*mistake);
  }
  auto& segments = playlist_.segments;
  if (segments.size() > kPlaylistSegmentsMax) {
    const auto more = static_cast<ptrdiff_t>(segments.size() - kPlaylistSegmentsMax);
    if (playlist_.is_live) {
      segments.erase(segments.begin(), segments.begin() + more);
    } else {
      segments.resize(kPlaylistSegmentsMax);
    }
  }
  return std::move(playlist_);
}

}  // namespace

std::expected<MediaPlaylist, PlaylistMistake> parse_media_playlist(std::string_view text) {
  return Parser().parse(text);
}

}  // namespace segue::edge
