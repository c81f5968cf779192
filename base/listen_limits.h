// base/listen_limits.h - the bounds of counting who listened to what; the other page is limits.h.
#pragma once
#include <cstdint>

#include "base/units.h"

namespace segue {

inline constexpr uint32_t kListenSessionsMax = 20'000;  // players of a track, about 450 bytes each
inline constexpr uint32_t kListenRecentMax = 256 * 1024;     // plays and downloads, 16 bytes each
inline constexpr uint32_t kListenersRecentMax = 256 * 1024;  // listeners of the hour, 16 bytes each
inline constexpr uint32_t kListenRowsMax = 10'000;           // tracks by hour, about 400 bytes each
inline constexpr uint32_t kListenRowsShownMax = 2'000;       // in one answer
inline constexpr uint64_t kListenBytesMax = 22 * MiB;        // all of it

}  // namespace segue
