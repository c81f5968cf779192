// loadtest/origin/content.h - what the bytes of every resource are, so that the origin needs no
// files and a client can check each byte it gets, at any offset, without having fetched it before.
//
// A resource is a path; its bytes are a window into one random block whose length is prime, so that
// no confusion of slices (a wrong offset, a neighbour, another resource) can look right. Paths:
//   /t/N               a track: 96, 160 or 320 kbit/s, 150 to 270 s (or a fixed size)
//   /p/N               a podcast of 58 MB at 128 kbit/s
//   /h/N/index.m3u8    an HLS playlist of /h/N/K.m4s, 10 s each at 128 kbit/s
//   /d/N/manifest.mpd  a DASH manifest of /d/N/K.m4s
#pragma once
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace loadtest {

constexpr uint64_t kBlockBytes = 1'048'573;
constexpr uint64_t kPodcastBytes = 58'000'000;
constexpr uint32_t kSegmentSeconds = 10;
constexpr uint32_t kSegmentByteRate = 16'000;
constexpr uint32_t kSegmentsMin = 15;
constexpr uint32_t kSegmentsMore = 12;

// splitmix64.
[[nodiscard]] constexpr uint64_t mix(uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

[[nodiscard]] constexpr uint64_t hash_path(std::string_view path) noexcept {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix(hash);
}

/// Bytes a second of a track that is played.
[[nodiscard]] constexpr uint32_t track_byte_rate(uint64_t number) noexcept {
  constexpr uint32_t kRates[] = {12'000, 20'000, 20'000, 40'000};
  return kRates[mix(number) % 4];
}

/// Bytes of a track; `fixed` where it is not 0.
[[nodiscard]] constexpr uint64_t track_bytes(uint64_t number, uint64_t fixed) noexcept {
  const uint64_t seconds = 150 + mix(number ^ 0x5e6) % 121;
  return fixed != 0 ? fixed
                    : seconds * track_byte_rate(number) + mix(number) % track_byte_rate(number);
}

[[nodiscard]] constexpr uint32_t segments_of(uint64_t number) noexcept {
  return kSegmentsMin + static_cast<uint32_t>(mix(number) % kSegmentsMore);
}

/// A number at the start of `text`, which is cut off.
[[nodiscard]] inline std::optional<uint64_t> take_number(std::string_view& text) noexcept {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

/// One resource: text of its own, or a window into the block.
struct Resource {
  uint64_t bytes = 0;
  uint64_t start = 0;  // in the block
  std::string text;    // of playlists
  std::string_view type = "audio/ogg";
};

[[nodiscard]] inline std::string hls_playlist(uint64_t number) {
  std::string text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:10\n";
  for (uint32_t k = 0; k < segments_of(number); ++k) {
    text += "#EXTINF:10.0,\n" + std::to_string(k) + ".m4s\n";
  }
  return text + "#EXT-X-ENDLIST\n";
}

[[nodiscard]] inline std::string dash_manifest(uint64_t number) {
  return "<?xml version=\"1.0\"?>\n<MPD mediaPresentationDuration=\"PT" +
         std::to_string(segments_of(number) * kSegmentSeconds) +
         "S\">\n<SegmentTemplate media=\"$Number$.m4s\" startNumber=\"0\" duration=\"10\" "
         "timescale=\"1\"/>\n</MPD>\n";
}

/// Nothing: there is no such path (404).
[[nodiscard]] inline std::optional<Resource> find_resource(std::string_view path,
                                                           uint64_t fixed_track_bytes) {
  Resource resource;
  resource.start = hash_path(path) % kBlockBytes;
  if (path.size() < 4 || path[0] != '/' || path[2] != '/') return std::nullopt;
  const char kind = path[1];
  std::string_view rest = path.substr(3);
  const auto number = take_number(rest);
  if (!number) return std::nullopt;
  if (kind == 't' && rest.empty()) {
    resource.bytes = track_bytes(*number, fixed_track_bytes);
    return resource;
  }
  if (kind == 'p' && rest.empty()) {
    resource.bytes = kPodcastBytes;
    resource.type = "audio/mpeg";
    return resource;
  }
  if (kind != 'h' && kind != 'd') return std::nullopt;
  if (rest == (kind == 'h' ? "/index.m3u8" : "/manifest.mpd")) {
    resource.text = kind == 'h' ? hls_playlist(*number) : dash_manifest(*number);
    resource.bytes = resource.text.size();
    resource.type = kind == 'h' ? "application/vnd.apple.mpegurl" : "application/dash+xml";
    return resource;
  }
  if (!rest.starts_with('/')) return std::nullopt;
  rest.remove_prefix(1);
  const auto segment = take_number(rest);
  if (!segment || *segment >= segments_of(*number) || rest != ".m4s") return std::nullopt;
  resource.bytes = uint64_t{kSegmentSeconds} * kSegmentByteRate + mix(*segment ^ *number) % 4096;
  resource.type = "audio/mp4";
  return resource;
}

/// The random block, twice in a row, so that up to kBlockBytes lie together from any place.
class Block {
 public:
  Block() : bytes_(std::make_unique<char[]>(kBlockBytes * 2)) {
    for (uint64_t i = 0; i < kBlockBytes; ++i) {
      bytes_[i] = bytes_[i + kBlockBytes] = static_cast<char>(mix(i) & 0xff);
    }
  }

  /// The bytes of `resource` from `offset` on, at most `most`, as many as lie together. Valid while
  /// both live.
  [[nodiscard]] std::string_view at(const Resource& resource, uint64_t offset,
                                    uint64_t most) const noexcept {
    if (offset >= resource.bytes) return {};
    const uint64_t left = resource.bytes - offset < most ? resource.bytes - offset : most;
    if (!resource.text.empty()) return std::string_view(resource.text).substr(offset, left);
    const uint64_t count = left < kBlockBytes ? left : kBlockBytes;
    return {bytes_.get() + (resource.start + offset) % kBlockBytes, count};
  }

 private:
  const std::unique_ptr<char[]> bytes_;
};

}  // namespace loadtest
