// edge/node/shared_parts.h - what the loops of one node share.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "base/loop/clock.h"
#include "cache/store.h"
#include "edge/delivery/miss_notes.h"
#include "edge/delivery/site_table.h"
#include "edge/fill/stored_response.h"
#include "edge/metrics/access_log.h"
#include "edge/metrics/listens.h"
#include "edge/metrics/registry.h"
#include "edge/node/node_tls.h"
#include "edge/overload/overload.h"
#include "edge/server/connection_budget.h"
#include "origin/health.h"

namespace segue::edge {

/// Built before the workers are wired, destroyed after them.
struct SharedParts {
  SystemClock clock;
  StoredResponseCodec codec;
  Registry registry;
  std::unique_ptr<ConnectionBudget> connections;  // of clients, of all loops
  std::unique_ptr<cache::Store> store;
  // Of the hashes of client addresses: out of the store's own secret, so that a client is the same
  // one on every loop and, where there is a drive, after a restart.
  uint64_t peer_seed = 0;
  Ref<const SiteTable> sites;  // of loop 0 once the node runs; each worker has its own
  std::vector<std::shared_ptr<origin::Health>> health;  // by origin
  std::unique_ptr<Listens> listens;                     // null: not counted; outlives the log
  std::unique_ptr<AccessLog> access_log;                // null: off
  std::unique_ptr<NodeTls> tls;
  Overload overload;                     // judged on loop 0
  std::vector<const MissNotes*> misses;  // of each loop's delivery, any thread
  // What a reload changes for all loops at once; atomic, any thread.
  std::atomic<std::chrono::milliseconds> drain_limit{std::chrono::milliseconds{0}};
  std::atomic<std::chrono::milliseconds> retire_limit{std::chrono::milliseconds{0}};
};

}  // namespace segue::edge
