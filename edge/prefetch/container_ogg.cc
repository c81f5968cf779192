#include "edge/prefetch/container_bytes.h"

namespace segue::edge {

namespace {

constexpr uint64_t kPageHeaderBytes = 27;
constexpr uint64_t kGranuleNone = UINT64_MAX;  // no packet ends on this page

/// Samples per second of the stream whose first packet stands at `at`; 0: none we know.
double rate_of(const ContainerBytes& bytes, uint64_t at) {
  if (bytes.is(at, "\x01vorbis")) return static_cast<double>(bytes.little(at + 12, 4));
  if (bytes.is(at, "OpusHead")) return 48'000;  // whatever the input had (RFC 7845 §4)
  // \x7fFLAC, 2 versions, 2 counts, fLaC, block header, then STREAMINFO.
  if (bytes.is(at,
               "\x7f"
               "FLAC"))
    return static_cast<double>(bytes.big(at + 27, 3) >> 4);
  return 0;
}

}  // namespace

std::optional<ContainerHead> ogg_head(const HeadWanted& wanted) noexcept {
  const ContainerBytes bytes(wanted.beginning);
  const double seconds = std::chrono::duration<double>(wanted.head).count();
  double rate = 0;
  uint64_t serial = 0;
  uint64_t heard_bytes = 0;  // where the last page with a time ended
  double heard_seconds = 0;
  for (uint64_t page = 0; bytes.has(page, kPageHeaderBytes) && bytes.is(page, "OggS");) {
    const uint32_t segments = bytes.u8(page + 26);
    if (!bytes.has(page + kPageHeaderBytes, segments)) break;
    uint64_t end = page + kPageHeaderBytes + segments;
    if (rate == 0) {
      rate = rate_of(bytes, end);
      serial = bytes.little(page + 14, 4);
    }
    for (uint32_t i = 0; i < segments; ++i) end += bytes.u8(page + kPageHeaderBytes + i);
    const uint64_t granule = bytes.little(page + 6, 8);
    const bool is_ours = rate > 0 && bytes.little(page + 14, 4) == serial;
    if (is_ours && granule != kGranuleNone && granule > 0) {
      heard_bytes = end;
      heard_seconds = static_cast<double>(granule) / rate;
      if (heard_seconds >= seconds) break;
    }
    page = end;
  }
  if (rate == 0) return std::nullopt;
  ContainerHead head{.head_bytes = heard_bytes, .tail = true};
  if (heard_seconds < seconds) {  // the rest is not here: as much again for each second
    constexpr double kSecondsMin = 0.5;
    if (heard_seconds < kSecondsMin) return std::nullopt;
    head.head_bytes =
        static_cast<uint64_t>(static_cast<double>(heard_bytes) * seconds / heard_seconds) + 1;
  }
  head.head_bytes = std::min(head.head_bytes, wanted.complete_length);
  return head;
}

}  // namespace segue::edge
