// conf/client_memory.h - what client connections cost at most, and how many fit an amount of
// memory. Part of the memory plan (conf/plan.h); arithmetic only.
#pragma once
#include <cstdint>

#include "base/units.h"

namespace segue::conf {

/// Measured: 21 KiB with its coroutine frames (bench stalled), most of it the request's buffer and
/// the exchange; an idle client costs 0.5 KiB (bench idle).
inline constexpr uint64_t kClientBytes = 22 * KiB;
/// A contact or run: frames, the ask, the fetch.
inline constexpr uint64_t kFillBytes = 8 * KiB;

/// What decides the price of a client.
struct ClientKind {
  uint32_t threads = 1;
  bool tls = false;    // some listener speaks TLS
  bool http2 = false;  // and offers HTTP/2
};

/// What each loop sets aside before any client comes: frames of what is done for none, and over TLS
/// the batches in reserve.
[[nodiscard]] uint64_t loop_bytes(ClientKind kind) noexcept;

/// For `clients` at once, each in the dearest state it can be in for long: a response that it does
/// not read, with the fill behind it. Grows with `clients`, from 0.
[[nodiscard]] uint64_t client_bytes(uint64_t clients, ClientKind kind) noexcept;

/// The most clients that `bytes` are enough for.
[[nodiscard]] uint64_t clients_within(uint64_t bytes, ClientKind kind) noexcept;

/// Batches of sealed bytes of one loop: those that its TLS clients may hold while their sockets
/// take no more, and those in reserve.
[[nodiscard]] uint64_t sealed_batches_per_loop(uint64_t clients, uint32_t threads) noexcept;

/// What the coroutine frames of one loop may take while `clients` are served there: all of them,
/// for the kernel spreads connections as it likes.
[[nodiscard]] uint64_t frame_pool_bytes(uint64_t clients) noexcept;

}  // namespace segue::conf
