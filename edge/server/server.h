// edge/server/server.h - the listeners and connections of one loop: accepts, limits, drains.
#pragma once
#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "base/address_range.h"
#include "base/loop/task.h"
#include "base/result.h"
#include "edge/server/connection_context.h"
#include "tls/context_holder.h"

namespace segue::edge {

class ClientLimits;
class ConnectionBudget;
class Overload;
struct Peer;

/// Loop-owned: made, used and destroyed inside turns of its loop. Ignores SIGPIPE for the process.
class Server {
 public:
  /// `handler` outlives the server. `peer_seed`: of the hashes of client addresses, a secret; the
  /// same for all loops of a node, since a client has connections on several. 0: one of its own.
  Server(EventLoop& loop, RequestHandler& handler, ConnectionLimits limits = {},
         uint64_t peer_seed = 0);
  /// All connections are gone (drain() first).
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Accepts from a listening, non-blocking socket (open_listener()); takes the descriptor.
  /// `tls`: what its connections shake hands with, as it is when they come; null: plain.
  /// `proxies`: who may connect, and says in a PROXY header whom each connection is from; empty:
  /// connections are from whom they come.
  void listen(int listener, std::shared_ptr<const tls::ContextHolder> tls = nullptr,
              std::vector<AddressRange> proxies = {});
  /// Serves a connected, non-blocking socket that somebody else accepted; takes the descriptor.
  /// Over connections_max or the shared budget it is turned away and counted: answered 503, a TLS
  /// client or one of too many turned away at once just closed.
  void adopt(int fd, const Peer& peer, std::shared_ptr<const tls::ServerContext> tls = nullptr,
             std::span<const AddressRange> proxies = {});

  /// Connections also count against `budget`, which other loops share; null: not. It outlives them.
  /// Called while there is none.
  void share(ConnectionBudget* budget) noexcept;
  /// Counts connections by client from here on; null: not. It outlives the connections.
  void limit_by(ClientLimits* limits) noexcept;

  /// Closes new connections right after accept while `overload` says so; null: never. It outlives
  /// the server.
  void shed_by(const Overload* overload) noexcept;

  /// Closes the listeners; connections go on.
  void stop_accepting() noexcept;
  /// stop_accepting(), then: idle connections are closed (those that were just opened get
  /// ConnectionLimits::drain_fresh to send their one request), responses under way close theirs.
  /// What still runs after `running_max` is cut. Waits until no connection is left. Called once;
  /// what is adopted meanwhile is served.
  [[nodiscard]] Task<void> drain(std::chrono::nanoseconds running_max);

  /// What is held now; any thread. Between requests a connection holds none but itself.
  struct Usage {
    uint32_t connections = 0;
    uint32_t request_memories = 0;
    uint32_t large_buffers = 0;
    uint32_t exchanges = 0;
    uint32_t unsent_texts = 0;
    uint32_t handshakes = 0;
    uint32_t sealed_batches = 0;
    uint32_t http2_streams = 0;
    uint64_t http2_bytes = 0;  // of nghttp2
  };
  [[nodiscard]] Usage usage() const noexcept;
  [[nodiscard]] const ServerCounters& counters() const noexcept;
  [[nodiscard]] const Counter& sealed_spent() const noexcept;

 private:
  struct Impl;
  friend struct Listening;
  std::unique_ptr<Impl> impl_;
};

/// The server's counters and segue_connection_pieces{pool}; `listener` is "public" or "admin". Call
/// once per loop.
void register_metrics(Registry& registry, const Server& server, const char* listener);

}  // namespace segue::edge
