// edge/server/h2_limits.h - the bounds of one HTTP/2 connection; h2_guard.h has rates of frames.
#pragma once
#include <chrono>
#include <cstdint>

#include "base/units.h"

namespace segue {

inline constexpr uint32_t kHttp2StreamsMax = 100;  // at once (RFC 9113 §6.5.2 advises no fewer)
inline constexpr uint32_t kHttp2MemoryBytesMax =
    128 * KiB;  // what nghttp2 may hold for it; measured: 29 KiB with one stream, 78 with a hundred
inline constexpr uint32_t kHttp2MemoryFairBytes =
    32 * KiB;  // and what it gets of that however much others hold; the memory plan counts by it
inline constexpr uint32_t kHttp2ContinuationsMax = 8;  // of one field block
inline constexpr std::chrono::seconds kHttp2DrainNotice{
    1};  // from "no new streams, please" to refusing them, unless a PING comes back earlier

}  // namespace segue
