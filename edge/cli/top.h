// edge/cli/top.h - `segue top`: what an operator looks at first, in a terminal, again and again;
// and `segue stats`: the same once, since the node's start.
#pragma once
#include <chrono>

#include "edge/cli/admin_client.h"

namespace segue::edge {

/// Runs until q. The exit code: 1 where there is no terminal, or no node when it begins; a node
/// that goes away later is waited for, and the screen says so.
[[nodiscard]] int run_top(const AdminPlace& place, std::chrono::milliseconds every);

/// Prints once. The exit code: 1 where the node does not answer.
[[nodiscard]] int print_stats(const AdminPlace& place);

}  // namespace segue::edge
