// edge/node/shared_parts.h - what the loops of one node share.
#pragma once
#include <memory>
#include <vector>

#include "base/loop/clock.h"
#include "cache/device_check.h"
#include "cache/store.h"
#include "edge/delivery/site_table.h"
#include "edge/fill/stored_response.h"
#include "edge/metrics/access_log.h"
#include "edge/metrics/registry.h"
#include "origin/health.h"

namespace segue::edge {

/// Built before the workers are wired, destroyed after them.
struct SharedParts {
  SystemClock clock;
  StoredResponseCodec codec;
  Registry registry;
  std::vector<cache::DriveLock> drive_locks;  // held as long as the drives are used
  std::unique_ptr<cache::Store> store;
  Ref<const SiteTable> sites;
  std::vector<std::shared_ptr<origin::Health>> health;  // by origin
  std::unique_ptr<AccessLog> access_log;                // null: off
};

}  // namespace segue::edge
