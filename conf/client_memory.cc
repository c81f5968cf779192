#include "conf/client_memory.h"

#include <algorithm>

#include "base/limits.h"

namespace segue::conf {
namespace {

constexpr uint64_t kTlsSessionBytes = 16 * KiB + 5 * KiB;  // and the rest that a full socket leaves
constexpr uint64_t kSealedBatchBytes = 72 * KiB;           // held while the socket takes no more
// A connection's fair share of what nghttp2 may hold (edge/server/h2_memory.h).
constexpr uint64_t kHttp2Bytes = 32 * KiB;

// Of the frame pool (base/loop/frame_pool.h), which keeps blocks of 64 KiB for one class of frames.
// tests/sim/sim_test.cc has a loop full of the dearest and counts.
constexpr uint64_t kRequestFrameBytes = 8 * KiB;
constexpr uint64_t kFillFrameBytes = 8 * KiB;
constexpr uint64_t kOtherFrameBytes = 2 * MiB;  // drive operations, upkeep, prefetch, admin

// Of TLS clients, how many there are for each that may hold a sealed batch: one whose socket took
// less than it had room for (edge/server/wire.h). When more do, whoever took nothing for longest is
// cut.
constexpr uint64_t kClientsPerBatch = 8;

constexpr uint64_t kBatchesSetAside = kSealedBatchesReserved + 1;

/// Of one loop, those that clients may hold.
uint64_t client_batches(uint64_t clients, uint32_t threads) noexcept {
  return std::min<uint64_t>(clients / kClientsPerBatch / threads,
                            kSealedBatchesPerLoopMax - kBatchesSetAside);
}

}  // namespace

uint64_t loop_bytes(ClientKind kind) noexcept {
  return kOtherFrameBytes + (kind.tls ? kBatchesSetAside * kSealedBatchBytes : 0);
}

uint64_t client_bytes(uint64_t clients, ClientKind kind) noexcept {
  uint64_t each = kClientBytes;
  if (kind.tls) each += kTlsSessionBytes;
  if (kind.tls && kind.http2) each += kHttp2Bytes;
  const uint64_t fills = std::min(clients, uint64_t{kFillsPerLoopMax} * kind.threads);
  uint64_t bytes = clients * each + fills * kFillBytes;
  if (kind.tls) bytes += client_batches(clients, kind.threads) * kind.threads * kSealedBatchBytes;
  return bytes;
}

uint64_t sealed_batches_per_loop(uint64_t clients, uint32_t threads) noexcept {
  return client_batches(clients, threads) + kBatchesSetAside;
}

uint64_t clients_within(uint64_t bytes, ClientKind kind) noexcept {
  uint64_t fit = 0;
  uint64_t too_many = bytes / kClientBytes + 1;
  while (too_many - fit > 1) {
    const uint64_t middle = fit + (too_many - fit) / 2;
    (client_bytes(middle, kind) <= bytes ? fit : too_many) = middle;
  }
  return fit;
}

uint64_t frame_pool_bytes(uint64_t clients) noexcept {
  const uint64_t fills = std::min<uint64_t>(clients, kFillsPerLoopMax);
  return std::min(clients * kRequestFrameBytes + fills * kFillFrameBytes + kOtherFrameBytes,
                  kFramePoolBytesMax);
}

}  // namespace segue::conf
