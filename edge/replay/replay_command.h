// edge/replay/replay_command.h - `segue replay`: a trace against each policy and each feed, as a
// table and as JSON.
#pragma once
#include <expected>
#include <string>
#include <vector>

#include "edge/replay/replay.h"

namespace segue::edge {

/// Bytes, or parts of 100 of the trace's footprint.
struct ReplaySize {
  uint64_t bytes = 0;
  uint32_t percent = 0;
};

struct ReplayCommand {
  std::string trace;  // path; "-": standard input
  ReplaySize ram, ssd;
  std::vector<cache::EvictionPolicy> policies;
  std::vector<ReplayFeed> feeds;
  /// Of all runs alike; cache sizes, policy, feed and the share held for nobody are filled in.
  ReplayOptions options;
};

struct ReplayOutput {
  std::string table;
  std::string json;
};

/// Reads the trace and runs all. The error is a sentence for the operator.
[[nodiscard]] std::expected<ReplayOutput, std::string> run_replays(const ReplayCommand& command);

}  // namespace segue::edge
