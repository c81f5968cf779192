#include "edge/prefetch/container_bytes.h"

namespace segue::edge {

namespace {
constexpr uint32_t kStreamInfo = 0;
constexpr uint32_t kSeekTable = 3;
constexpr uint32_t kSeekPointBytes = 18;
constexpr uint64_t kPlaceholder = UINT64_MAX;
}  // namespace

std::optional<ContainerHead> flac_head(const HeadWanted& wanted) noexcept {
  const ContainerBytes bytes(wanted.beginning);
  if (!bytes.is(0, "fLaC")) return std::nullopt;
  double rate = 0;
  uint64_t samples = 0;
  std::optional<uint64_t>
      point;           // bytes of audio before the first sought sample that is late enough
  uint64_t audio = 0;  // 0: not seen yet
  for (uint64_t block = 4; bytes.has(block, 4);) {
    const uint32_t type = bytes.u8(block) & 0x7f;
    const uint64_t length = bytes.big(block + 1, 3);
    const uint64_t data = block + 4;
    if (type == kStreamInfo && length >= 34 && bytes.has(data, 18)) {
      rate = static_cast<double>(bytes.big(data + 10, 3) >> 4);
      samples = bytes.big(data + 13, 5) & 0xfffffffffULL;
    }
    const uint64_t needed =
        static_cast<uint64_t>(rate * std::chrono::duration<double>(wanted.head).count());
    for (uint64_t at = data; type == kSeekTable && rate > 0 && !point; at += kSeekPointBytes) {
      if (at + kSeekPointBytes > data + length || !bytes.has(at, kSeekPointBytes)) break;
      const uint64_t sample = bytes.big(at, 8);
      if (sample != kPlaceholder && sample >= needed) point = bytes.big(at + 8, 8);
    }
    block = data + length;
    if ((bytes.u8(data - 4) & 0x80) != 0) {
      audio = block;
      break;
    }
    if (!bytes.has(block, 4)) audio = block;  // a picture beyond what is here: audio is later still
  }
  if (rate <= 0 || audio == 0) return std::nullopt;
  if (point && *point <= wanted.complete_length)
    return ContainerHead{.head_bytes = std::min(wanted.complete_length, audio + *point),
                         .tail = false};
  return linear_head(wanted, audio, static_cast<double>(samples) / rate);
}

}  // namespace segue::edge
