// edge/node/process_metrics.h - what every Prometheus client says of its process, under the names
// that dashboards expect.
#pragma once
#include <cstdint>

namespace segue::edge {

class Registry;

/// process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, process_max_fds,
/// process_start_time_seconds. Start-up only; asked at a scrape, from procfs, which does not wait.
void register_process_metrics(Registry& registry);

/// From procfs, which does not wait; 0 where it cannot be read.
[[nodiscard]] uint64_t resident_memory_bytes();
[[nodiscard]] uint64_t open_descriptors();
/// The limit of open files in force now (prlimit(2) changes it in a running process).
[[nodiscard]] uint64_t descriptors_max();

}  // namespace segue::edge
