#include "edge/prefetch/container_bytes.h"

namespace segue::edge {

namespace {

constexpr uint64_t kId3HeaderBytes = 10;
constexpr uint32_t kTocEntries = 100;

/// A frame of layer III (ISO/IEC 11172-3 §2.4.1.3, 13818-3).
struct Frame {
  double samples_per_second = 0;
  uint32_t samples = 0;
  uint32_t bits_per_second = 0;
  uint32_t side_bytes = 0;
};

std::optional<Frame> frame_at(const ContainerBytes& bytes, uint64_t at) {
  if (!bytes.has(at, 4) || bytes.u8(at) != 0xff || (bytes.u8(at + 1) & 0xe0) != 0xe0)
    return std::nullopt;
  const uint32_t version = bytes.u8(at + 1) >> 3 & 3;  // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
  const uint32_t layer = bytes.u8(at + 1) >> 1 & 3;    // 1: layer III
  const uint32_t bitrate = bytes.u8(at + 2) >> 4;
  const uint32_t rate = bytes.u8(at + 2) >> 2 & 3;
  const bool is_mono = bytes.u8(at + 3) >> 6 == 3;
  if (version == 1 || layer != 1 || bitrate == 0 || bitrate == 15 || rate == 3) return std::nullopt;
  constexpr uint32_t kRates[] = {44'100, 48'000, 32'000};
  constexpr uint32_t kFirst[] = {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
  constexpr uint32_t kSecond[] = {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160};
  const bool is_first = version == 3;
  const uint32_t halved = is_first ? 1 : (version == 2 ? 2 : 4);
  return Frame{.samples_per_second = static_cast<double>(kRates[rate]) / halved,
               .samples = is_first ? 1152U : 576U,
               .bits_per_second = 1000 * (is_first ? kFirst : kSecond)[bitrate],
               .side_bytes = is_first ? (is_mono ? 17U : 32U) : (is_mono ? 9U : 17U)};
}

/// Xing or Info: frames, bytes and a table of where each hundredth of the time begins.
std::optional<ContainerHead> by_xing(const ContainerBytes& bytes, uint64_t first, uint64_t tag,
                                     const Frame& frame, const HeadWanted& wanted) {
  const uint64_t flags = bytes.big(tag + 4, 4);
  if ((flags & 1) == 0) return std::nullopt;
  const auto frames = static_cast<double>(bytes.big(tag + 8, 4));
  const double seconds = frames * frame.samples / frame.samples_per_second;
  const auto head = linear_head(wanted, first, seconds);
  const uint64_t toc = tag + 12 + ((flags & 2) != 0 ? 4 : 0);
  if (!head || (flags & 4) == 0 || !bytes.has(toc, kTocEntries)) return head;
  const double percent = 100 * std::chrono::duration<double>(wanted.head).count() / seconds;
  if (percent >= kTocEntries - 1) return head;
  const uint32_t entry = static_cast<uint32_t>(percent) + 1;
  const uint64_t whole = wanted.complete_length - first;
  const uint64_t end = first + whole / 256 * (bytes.u8(toc + entry) + 1U) + 1;
  return ContainerHead{.head_bytes = std::min(end, wanted.complete_length), .tail = false};
}

}  // namespace

std::optional<ContainerHead> mp3_head(const HeadWanted& wanted) noexcept {
  const ContainerBytes bytes(wanted.beginning);
  uint64_t first = 0;
  if (bytes.is(0, "ID3") && bytes.has(0, kId3HeaderBytes)) {
    for (uint32_t i = 6; i < 10; ++i) {  // 7 bits a byte (ID3v2.4 §3.1)
      if (bytes.u8(i) > 0x7f) return std::nullopt;
      first = first << 7 | bytes.u8(i);
    }
    first += kId3HeaderBytes + ((bytes.u8(5) & 0x10) != 0 ? kId3HeaderBytes : 0);
  }
  const auto frame = frame_at(bytes, first);
  if (!frame || first >= wanted.complete_length) return std::nullopt;
  const uint64_t xing = first + 4 + frame->side_bytes;
  if (bytes.is(xing, "Xing") || bytes.is(xing, "Info")) {
    if (auto head = by_xing(bytes, first, xing, *frame, wanted)) return head;
  }
  const uint64_t vbri = first + 4 + 32;
  if (bytes.is(vbri, "VBRI") && bytes.has(vbri, 18)) {
    const auto frames = static_cast<double>(bytes.big(vbri + 14, 4));
    if (auto head = linear_head(wanted, first, frames * frame->samples / frame->samples_per_second))
      return head;
  }
  const double seconds =
      static_cast<double>(wanted.complete_length - first) * 8 / frame->bits_per_second;
  return linear_head(wanted, first, seconds);
}

}  // namespace segue::edge
