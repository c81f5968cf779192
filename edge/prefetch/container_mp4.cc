#include "edge/prefetch/container_bytes.h"

namespace segue::edge {

namespace {

struct Box {
  uint64_t data = 0;
  uint64_t end = 0;
};

/// The box at `at`; nothing if its header is not here or cannot be.
std::optional<Box> box_at(const ContainerBytes& bytes, uint64_t at) {
  if (!bytes.has(at, 8)) return std::nullopt;
  uint64_t size = bytes.big(at, 4);
  uint64_t header = 8;
  if (size == 1) {
    if (!bytes.has(at, 16)) return std::nullopt;
    size = bytes.big(at + 8, 8);
    header = 16;
  }
  constexpr uint64_t kSizeMax = uint64_t{1} << 48;
  if (size < header || size > kSizeMax) return std::nullopt;
  return Box{.data = at + header, .end = at + size};
}

/// The media that the index says lasts until `head`.
std::optional<ContainerHead> by_index(const ContainerBytes& bytes, const Box& box,
                                      const HeadWanted& wanted) {
  const bool is_long = bytes.u8(box.data) != 0;
  const uint64_t times = is_long ? 16 : 8;
  const uint64_t references = box.data + 12 + times + 4;
  if (!bytes.has(box.data, 12 + times + 4)) return std::nullopt;
  const auto timescale = static_cast<double>(bytes.big(box.data + 8, 4));
  if (timescale <= 0) return std::nullopt;
  const uint64_t first_offset = is_long ? bytes.big(box.data + 20, 8) : bytes.big(box.data + 16, 4);
  const auto count = static_cast<uint32_t>(bytes.big(box.data + 12 + times + 2, 2));
  const double seconds = std::chrono::duration<double>(wanted.head).count();
  if (first_offset > wanted.complete_length) return std::nullopt;
  uint64_t media = box.end + first_offset;
  double heard = 0;
  for (uint32_t i = 0; i < count && heard < seconds; ++i) {
    const uint64_t at = references + uint64_t{i} * 12;
    if (!bytes.has(at, 12)) return std::nullopt;
    media += bytes.big(at, 4) & 0x7fffffffU;
    heard += static_cast<double>(bytes.big(at + 4, 4)) / timescale;
  }
  if (heard <= 0) return std::nullopt;
  return ContainerHead{.head_bytes = std::min(media, wanted.complete_length), .tail = false};
}

/// Seconds of the movie whose `moov` box this is; 0: not told.
double movie_seconds(const ContainerBytes& bytes, const Box& moov) {
  for (uint64_t at = moov.data; at < moov.end;) {
    const auto box = box_at(bytes, at);
    if (!box) return 0;
    if (bytes.is(at + 4, "mvhd")) {
      const bool is_long = bytes.u8(box->data) != 0;
      const auto timescale = static_cast<double>(bytes.big(box->data + (is_long ? 20 : 12), 4));
      const auto duration = static_cast<double>(is_long ? bytes.big(box->data + 24, 8)
                                                        : bytes.big(box->data + 16, 4));
      return timescale > 0 ? duration / timescale : 0;
    }
    at = box->end;
  }
  return 0;
}

}  // namespace

std::optional<ContainerHead> mp4_head(const HeadWanted& wanted) noexcept {
  const ContainerBytes bytes(wanted.beginning);
  double seconds = 0;
  for (uint64_t at = 0; at < wanted.complete_length;) {
    const auto box = box_at(bytes, at);
    if (!box) break;
    if (bytes.is(at + 4, "sidx")) return by_index(bytes, *box, wanted);
    if (bytes.is(at + 4, "moov")) seconds = movie_seconds(bytes, *box);
    if (bytes.is(at + 4, "mdat")) {
      if (seconds > 0) return linear_head(wanted, box->data, seconds);
      // The header comes after the media: a player reads the end before it can begin.
      return ContainerHead{.head_bytes = 0, .tail = true};
    }
    at = box->end;
  }
  return std::nullopt;
}

}  // namespace segue::edge
