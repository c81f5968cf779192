// edge/node/drives.h - opens and mounts the drives of a node before it serves.
#pragma once
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "cache/drive.h"

namespace segue::edge {

struct NodeOptions;
struct SharedParts;
class Worker;

/// Opens every drive on every loop and mounts it. Start-up only; waits. A drive that cannot be used
/// is one log line and a metric, and the node serves without it; the error is for what the operator
/// must mend first.
[[nodiscard]] std::expected<std::vector<std::unique_ptr<cache::Drive>>, std::string> open_drives(
    const NodeOptions& options, std::vector<std::unique_ptr<Worker>>& workers, SharedParts& shared);

}  // namespace segue::edge
