// edge/node/metrics.h - the node's numbers under their public names: every module's counters, given
// to the registry once at start.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace segue::edge {

class Worker;
struct SharedParts;

/// Start-up only; `origin_names` by origin. What is registered belongs to the workers and the
/// store: drop the registry first, or never scrape after.
void register_node_metrics(SharedParts& shared, const std::vector<std::unique_ptr<Worker>>& workers,
                           const std::vector<std::string>& origin_names);

}  // namespace segue::edge
