// edge/node/node.h - one running node: loops, drives, store, origins, delivery, listeners, wired
// together. The only file besides main.cc that knows every folder; what it builds it takes down
// again in reverse.
#pragma once
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address_range.h"
#include "base/limits.h"
#include "base/loop/event_loop.h"
#include "cache/drive.h"
#include "cache/store.h"
#include "edge/access/client_limits.h"
#include "edge/access/token_rules.h"
#include "edge/fill/site.h"
#include "edge/node/node_tls.h"
#include "edge/prefetch/feed_nats.h"
#include "edge/prefetch/prefetcher.h"
#include "edge/server/listen_address.h"
#include "origin/options.h"

namespace segue::edge {

/// How a listener speaks.
struct ListenTls {
  bool on = false;
  std::string client_ca;
  std::vector<AddressRange> proxies;  // who speaks the PROXY protocol here; empty: nobody
};

struct NodeOptions {
  struct DriveOptions {
    std::string path;  // folder, file or block device
    uint64_t size_bytes = 0;
    bool sparse = false;
    uint64_t write_bytes_per_second = 0;
    cache::DriveShares shares;  // of a drive that is made
  };
  std::string name = "segue";
  uint64_t ram_bytes = 0;  // of the whole process; 0: its memory is no reason to shed
  uint32_t threads = 1;
  IoBackend io = IoBackend::Auto;
  std::vector<ListenAddress> listen;
  std::vector<std::string> listen_texts;  // as the operator wrote them
  std::vector<ListenTls> listen_tls;      // by listener
  NodeTlsOptions tls;
  std::optional<ListenAddress> admin;
  cache::Store::Options store;
  cache::EvictionPolicy policy = cache::EvictionPolicy::Lru;
  std::vector<DriveOptions> drives;
  std::vector<origin::OriginOptions> origins;
  std::vector<std::string> origin_names;  // by origin: their labels in metrics
  std::vector<Ref<const Site>> sites;
  LimitOptions limits;
  std::vector<TokenOptions> tokens;       // by site
  std::string access_log;                 // empty: off; "-": standard output
  uint32_t listens_bytes_per_second = 0;  // of audio, to count listening by; 0: it is not counted
  uint32_t access_log_sample = 1;         // one of so many good responses is written
  std::optional<Prefetcher::Options> prefetch;  // none: off
  std::string predictor_file;                   // empty: what is learned is not kept
  std::vector<std::string> feeds;               // followed files and FIFOs
  std::vector<NatsFeed::Options> nats;          // subjects with a feed, with purges, or with both
  // What the memory plan (conf/plan.h) reserves; more is refused.
  uint32_t connections_max = kConnectionsPerLoopMax;  // of clients, of all loops
  uint64_t frame_bytes_per_loop_max = kFramePoolBytesMax;
  uint32_t sealed_batches_per_loop_max = kSealedBatchesPerLoopMax;
  uint32_t passes_per_loop_max = kPassesPerLoopMax;
  uint32_t relays_per_loop_max = kRelaysPerLoopMax;
  uint32_t collections_per_loop_max = kCollectionsPerLoopMax;
  std::chrono::milliseconds drain_limit{5000};      // running bodies get this long at a stop
  std::chrono::milliseconds retire_limit{600'000};  // a drain ends after this even if players stay
  /// Listening sockets that a service manager opened; each must be one of `listen` or `admin`.
  std::vector<int> handed_over;
};

class Node {
 public:
  /// Builds everything and listens; serves nothing yet. May wait: start-up only. The error is a
  /// sentence for the operator.
  [[nodiscard]] static std::expected<std::unique_ptr<Node>, std::string> create(
      NodeOptions options);
  ~Node();

  /// Serves until request_stop() (or SIGTERM/SIGINT by way of it), drains and returns. The calling
  /// thread runs loop 0.
  void run();
  /// Stops accepting, lets running responses finish within drain_limit, flushes the drives. Any
  /// thread, also from a signal handler's thread.
  void request_stop() noexcept;
  /// Takes what can change in a running node; see edge/node/reload.h. One thread at a time.
  [[nodiscard]] std::expected<void, std::string> reload(const NodeOptions& fresh);
  /// Counts a reload that got no further than its settings file. The same thread as reload().
  void note_refused_reload() noexcept;
  /// Whether every loop took the message of the last call; see edge/node/loop_health.h. One thread
  /// at a time.
  [[nodiscard]] bool check_loops() noexcept;
  [[nodiscard]] std::string stuck_loops() const;
  /// Opens the access log anew (SIGHUP after a rotation). Any thread.
  void reopen_logs() noexcept;
  /// Where it listens, with the ports the kernel picked.
  [[nodiscard]] std::vector<std::string> addresses() const;

 private:
  struct Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::edge
