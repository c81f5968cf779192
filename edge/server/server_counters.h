// edge/server/server_counters.h - what one loop's listeners and connections did. Written by the
// loop, read by the scrape.
#pragma once
#include <array>
#include <cstdint>

#include "base/counter.h"
#include "edge/server/h2_guard.h"
#include "tls/session.h"

namespace segue::edge {

class Registry;

struct ServerCounters {
  Counter accepted;
  Counter active;            // gauge: open connections, lingering ones too
  Counter refused_limit;     // over node.connections: answered 503 or closed
  Counter refused_overload;  // accepted and closed: shed by the overload manager
  Counter refused_proxy;     // no PROXY header where one must come, or from who may not send one
  Counter refused_client;    // accepted and closed: one client's connections ([limits])
  Counter refused_fd;        // accepted by the spare descriptor and closed: EMFILE, ENFILE
  Counter accept_errors;
  Counter accept_pauses;
  Counter requests;
  Counter bytes_received, bytes_sent;  // of sockets: heads, framing and bodies
  // Requests that were none, by the status they got.
  Counter refused_400, refused_408, refused_413, refused_414, refused_431, refused_501, refused_505;
  // Connections ended by a clock of ours.
  Counter timeout_keep_alive, timeout_head, timeout_stall, timeout_half_close, timeout_body,
      timeout_linger;
  std::array<Counter, tls::kHandshakeEnds> handshakes;  // by tls::HandshakeEnd
  Counter handshakes_timed_out;
  Counter handshakes_crowded_out;  // the oldest of too many at once
  Counter wide_sockets;            // gauge: may hold kWideBatchBytes unsent
  Counter batches_reclaimed;       // cut: longest stalled of too many that held sealed bytes
  Counter http2_connections;       // gauge
  Counter http2_requests;          // of `requests`, those that came by HTTP/2
  Counter http2_refused_streams;   // over the streams of a connection, or while it drains
  Counter http2_resets_received;
  Counter http2_resets_sent;
  Counter http2_errors;                       // connections that broke the protocol
  Counter http2_memory_spent;                 // connections ended for what nghttp2 held for them
  std::array<Counter, kFloods> http2_calmed;  // connections ended by GOAWAY(ENHANCE_YOUR_CALM)
  Counter misdirected;                        // 421: the certificate shown does not cover the host
  Counter bodies_too_long;  // an unread request body over kRequestBodyDrainBytesMax: closed instead
  Counter clients_gone;     // closed or reset by the client with a response under way

  /// Null for a status that no refusal has.
  [[nodiscard]] Counter* refused(int status) noexcept;
};

/// segue_connections_* and segue_http_*; `listener` is "public" or "admin". Call once per loop.
void register_metrics(Registry& registry, const ServerCounters& counters, const char* listener);

}  // namespace segue::edge
