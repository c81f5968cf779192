// conf/plan.h - how `ram` is divided, and what a drive holds. Arithmetic on Settings, so that
// `segue check` can say before a start what a start will do, and a budget too small is refused with
// the needed figure.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "conf/settings.h"

namespace segue::conf {

/// What the settings do not say: found on the machine by look_at_machine(), or set by a test.
struct Machine {
  uint32_t cores = 1;
  std::vector<uint64_t> drive_bytes;  // of each drive, in order; 0: not there (yet)
  std::string host_name;
};
/// Asks the operating system. May wait for file systems: for start-up and `segue check` only.
[[nodiscard]] Machine look_at_machine(const Settings& settings);

struct DrivePlan {
  std::string path;
  uint64_t size_bytes = 0;
  uint64_t slots_64k = 0;
  uint64_t slots_128k = 0;
  uint64_t slots_256k = 0;
  uint64_t records = 0;
  [[nodiscard]] uint64_t slots() const { return slots_64k + slots_128k + slots_256k; }
};

/// The parts add up to ram_bytes, unless needed_bytes is more than that.
struct Plan {
  uint32_t threads = 1;
  uint64_t ram_bytes = 0;
  uint64_t process_bytes = 0;          // program, libraries, allocator
  uint64_t prefetch_bytes = 0;         // what feeds name, what the predictor learns
  uint64_t logs_bytes = 0;             // access log's queues, listens, clients with limits
  uint64_t loops_bytes = 0;            // stacks, rings, origin connections, client_memory.h
  uint64_t streaming_bytes = 0;        // answers on their way that are not stored
  uint64_t connections_bytes = 0;      // client connections: client_memory.h
  uint64_t index_bytes = 0;            // slots, ghosts and known representations of the drives
  uint64_t representations_bytes = 0;  // stored header fields held in RAM
  uint64_t buffers_bytes = 0;          // the RAM tier
  uint64_t needed_bytes = 0;           // the least ram_bytes these settings work with
  // What the parts are enough for; the modules take these as their bounds.
  uint64_t connections = 0;  // at once, of the node
  // Coroutine frames: connections_bytes has them once for all clients, whichever loop they are on.
  uint64_t frames_bytes_per_loop = 0;
  uint32_t sealed_batches_per_loop = 0;  // within loops_bytes and connections_bytes
  uint32_t passes_per_loop = 0;          // answers passed through at once
  uint32_t relays_per_loop = 0;          // requests of other methods at once
  uint32_t collections_per_loop = 0;     // answers of unknown length collected at once
  std::vector<DrivePlan> drives;
};

[[nodiscard]] Plan make_plan(const Settings& settings, const Machine& machine);

/// The plan as a table for people.
[[nodiscard]] std::string print_plan(const Plan& plan);

}  // namespace segue::conf
