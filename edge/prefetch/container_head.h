// edge/prefetch/container_head.h - how much of a file's beginning holds its first seconds, read
// from the container: Ogg, MP3 (Xing, VBRI, CBR), FLAC, MP4 (sidx, mvhd).
//
// Pure parsers over the first bytes of a file, which come from an origin and are hostile: each
// reads within its span only, walks forward only, and says nothing rather than something unlikely.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace segue::edge {

struct ContainerHead {
  uint64_t head_bytes = 0;  // from the first byte on; at most the complete length
  bool tail = false;        // players look at the end first
};

/// What is known of the file, and how much of it is wanted.
struct HeadWanted {
  std::span<const std::byte> beginning;
  uint64_t complete_length = 0;
  std::chrono::milliseconds head{10'000};
};

/// Whatever container it is; nothing if none of these, or if it does not tell.
[[nodiscard]] std::optional<ContainerHead> container_head(const HeadWanted& wanted) noexcept;

/// RFC 3533 pages; granule positions of Vorbis, Opus (RFC 7845) and FLAC in Ogg.
[[nodiscard]] std::optional<ContainerHead> ogg_head(const HeadWanted& wanted) noexcept;
/// An ID3v2 tag is skipped; a Xing, Info or VBRI header tells, else the first frame's bit rate.
[[nodiscard]] std::optional<ContainerHead> mp3_head(const HeadWanted& wanted) noexcept;
/// STREAMINFO and, where it is there, the seek table (RFC 9639).
[[nodiscard]] std::optional<ContainerHead> flac_head(const HeadWanted& wanted) noexcept;
/// A segment index (sidx), else the movie header's duration (ISO/IEC 14496-12).
[[nodiscard]] std::optional<ContainerHead> mp4_head(const HeadWanted& wanted) noexcept;

}  // namespace segue::edge
