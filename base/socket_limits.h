// base/socket_limits.h - bounds of what a client's socket may hold unsent, beside base/limits.h.
#pragma once
#include <cstdint>

#include "base/limits.h"
#include "base/units.h"

namespace segue {

// One writev, and the cap on unsent bytes, of a client that has taken all it was sent before and
// asks for more than kWriteBatchBytes: a mebibyte then costs it a quarter less. So few of them at
// once that what they hold besides (a client may stop reading at any time) is bounded: 16 MiB of
// the kernel's memory for each loop, over TLS 24.
inline constexpr uint32_t kWideBatchBytes = 512 * KiB;
inline constexpr uint32_t kWideSocketsPerLoopMax = 64;

static_assert(kWideBatchBytes > kNotSentLowatBytes);

}  // namespace segue
