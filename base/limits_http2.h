// base/limits_http2.h - the bounds of HTTP/2, as base/limits.h; edge/server/h2_guard.h has rates of
// frames.
#pragma once
#include <chrono>
#include <cstdint>

#include "base/units.h"

namespace segue {

inline constexpr uint32_t kHttp2StreamsMax = 100;  // at once (RFC 9113 §6.5.2 advises no fewer)
// Of all connections, each with a request, its exchange and a body that may be collected; one more
// is REFUSED_STREAM, which its client may repeat.
inline constexpr uint32_t kHttp2StreamsPerLoopMax = 16 * 1024;
inline constexpr uint32_t kHttp2MemoryBytesMax =
    128 * KiB;  // what nghttp2 may hold for it; measured: 29 KiB with one stream, 78 with a hundred
inline constexpr uint32_t kHttp2MemoryFairBytes =
    32 * KiB;  // and what it gets of that however much others hold; the memory plan counts by it
inline constexpr uint32_t kHttp2ContinuationsMax = 8;  // of one field block
inline constexpr std::chrono::seconds kHttp2DrainNotice{
    1};  // from "no new streams, please" to refusing them, unless a PING comes back earlier

}  // namespace segue
