// edge/server/connection_context.h - what all connections of one listener group on one loop share.
// Internal to edge/server.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/limits.h"
#include "base/limits_http2.h"
#include "base/loop/event_loop.h"
#include "base/socket_limits.h"
#include "edge/delivery/exchange.h"
#include "edge/server/h2_shared.h"
#include "edge/server/memory_pool.h"
#include "edge/server/oldest_first.h"
#include "edge/server/request_handler.h"
#include "edge/server/request_memory.h"
#include "edge/server/response_writer.h"
#include "edge/server/server_counters.h"
#include "tls/sealed_batch.h"

namespace segue::edge {

class Connection;

/// Limits of a connection; the defaults are those of base/limits.h. Tests narrow them.
struct ConnectionLimits {
  uint32_t connections_max = kConnectionsPerLoopMax;
  std::chrono::nanoseconds keep_alive = kKeepAliveTimeout;
  std::chrono::nanoseconds head_read = kHeaderReadTimeout;  // from the first byte to the last
  std::chrono::nanoseconds client_stall = kClientStallTimeout;
  std::chrono::nanoseconds half_close_grace = kHalfCloseGrace;
  std::chrono::nanoseconds linger = kLingerTimeout;
  /// At a drain: what a connection that has not sent its first request yet gets to send it. Its
  /// client must not repeat the request by itself (RFC 9112 §9.3.1 is about reused connections).
  std::chrono::nanoseconds drain_fresh = std::chrono::seconds{1};
  std::chrono::nanoseconds tls_handshake = kTlsHandshakeTimeout;  // from accept to the last flight
  uint32_t tls_handshakes_max = kTlsHandshakesPerLoopMax;
  uint32_t sealed_batches_max = kSealedBatchesPerLoopMax;
  uint32_t sealed_batches_reserved = kSealedBatchesReserved;  // less than max, or none is
  uint32_t wide_sockets_max = kWideSocketsPerLoopMax;
  uint32_t http2_streams_max = kHttp2StreamsMax;
  uint32_t http2_streams_per_loop_max = kHttp2StreamsPerLoopMax;
  uint32_t http2_memory_bytes_max = kHttp2MemoryBytesMax;
  uint64_t http2_memory_per_loop_max = uint64_t{kConnectionsPerLoopMax} * kHttp2MemoryFairBytes;
  std::chrono::nanoseconds http2_drain_notice = kHttp2DrainNotice;
  uint32_t body_drain_bytes_max = kRequestBodyDrainBytesMax;
  uint32_t linger_bytes_max = kLingerBytesMax;
};

/// Loop-owned; outlives the connections.
struct ConnectionContext {
  /// Free pieces kept for the next request: steady traffic allocates nothing, a flood's memory goes
  /// back.
  static constexpr uint32_t kRequestsKeptMax = 256;
  static constexpr uint32_t kLargeBuffersKeptMax = 8;

  ConnectionContext(EventLoop& on_loop, RequestHandler& request_handler, ConnectionLimits narrowed)
      : loop(on_loop), handler(request_handler), limits(narrowed) {}

  EventLoop& loop;
  RequestHandler& handler;
  const ConnectionLimits limits;
  ServerCounters counters;
  WriterShared writer;
  ObjectPool<LargeReadBuffer> large_buffers{kLargeBuffersKeptMax};
  ObjectPool<RequestMemory> request_memories{kRequestsKeptMax};
  ObjectPool<Exchange> exchanges{kRequestsKeptMax};
  tls::SealedPool sealed{limits.sealed_batches_max};
  OldestFirst<BatchHolder> batch_holders;
  OldestFirst<WideHolder> wide_holders;
  OldestFirst<Handshake> handshakes;
  Http2Shared http2;
  uint64_t peer_seed = 0;                 // of the hashes of clients' addresses
  ClientLimits* client_limits = nullptr;  // null: nobody counts
  bool draining = false;                  // every response closes its connection

  /// Counts a connection of this client; nothing if that is one too many.
  [[nodiscard]] std::optional<ConnectionLease> lease(ClientLimits::Key client) noexcept {
    if (client_limits == nullptr) return ConnectionLease();
    switch (client_limits->open(client, loop.now())) {
      case ClientLimits::Opened::Counted:
        return ConnectionLease(client_limits, client);
      case ClientLimits::Opened::Uncounted:
        return ConnectionLease();
      case ClientLimits::Opened::Refused:
        break;
    }
    return std::nullopt;
  }
};

}  // namespace segue::edge
