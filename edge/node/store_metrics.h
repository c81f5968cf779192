// edge/node/store_metrics.h - the numbers of the RAM tier and of the drives. They are read
// together, once a scrape: drives sum them under the locks of their shards.
#pragma once
#include "cache/store.h"
#include "edge/metrics/registry.h"

namespace segue::edge {

/// segue_buffers*, segue_ram_*, segue_representations and the like; segue_drive_* with the drive's
/// number. The store outlives the registry's last scrape; its drives are complete.
void register_store_metrics(Registry& registry, const cache::Store& store);

}  // namespace segue::edge
