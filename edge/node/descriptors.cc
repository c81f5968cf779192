#include "edge/node/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/limits.h"

namespace segue::edge {
namespace {

constexpr uint64_t kOfProcess = 64;  // logs, listeners, the admin listener, name servers
constexpr uint64_t kOfLoop = 16;     // epoll, rings, timers, eventfds, the acceptor's spare
constexpr uint64_t kConnectionsMin = 16;

}  // namespace

uint64_t raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;  // Linux's default
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

uint32_t connections_within(uint64_t limit, uint32_t loops, uint64_t origins, uint64_t drives,
                            uint32_t wanted) noexcept {
  // At the soft limit of the overload judge loads are shed: what is allowed stays below it.
  limit = limit / 100 * kDescriptorsSoftPercent;
  const uint64_t per_loop =
      kOfLoop + kTurnedAwayMax + origins * kOriginConnectionsPerLoopMax + drives;
  const uint64_t kept = std::min(kOfProcess + loops * per_loop, limit / 2);
  const uint64_t left = (limit - kept) / std::max(loops, 1U);
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, std::max(left, kConnectionsMin)));
}

}  // namespace segue::edge
