// conf/load.h - from a file and flags to settings that are complete and right, or to every mistake
// in them. For start-up, `segue check` and reload; reads a file, so it may wait.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "conf/mistake.h"
#include "conf/parse_toml.h"
#include "conf/plan.h"
#include "conf/settings.h"

namespace segue::conf {

/// Flags as written; each means the same as its setting and wins over the file.
struct Flags {
  std::string config;               // --config: the file; empty: none
  std::vector<std::string> listen;  // --listen: [[listen]] addr
  std::vector<std::string> origin;  // --origin: the servers of [origin.default]
  std::vector<std::string> cache;   // --cache: [[cache.drive]] path
  std::string cache_size;           // --cache-size: cache.size
  std::string ram;                  // --ram: node.ram
  std::string admin;                // --admin: admin.listen
  std::string threads;              // --threads: node.threads
  std::string io;                   // --io: node.io
  bool sparse = false;              // --sparse: cache.drive.sparse of every drive
};

struct Loaded {
  Settings settings;              // to be used only if there is no mistake
  Plan plan;                      // likewise
  Written written;                // what stands in the file, for a later reload to compare
  std::vector<Mistake> mistakes;  // in the order of the file
  [[nodiscard]] bool is_right() const { return mistakes.empty(); }
};

/// Reads flags.config (if any) and looks at this machine.
[[nodiscard]] Loaded load(const Flags& flags);

/// The same from text. `look` says what the machine is like once the drives are known.
[[nodiscard]] Loaded load_text(std::string_view text, const std::string& file, const Flags& flags,
                               Machine (*look)(const Settings&));

/// What a command prints, and its exit code: 0 done, 1 it failed, 2 it was called wrongly.
struct Outcome {
  std::string text;
  int exit_code = 0;
};

/// `segue check`: every mistake, one a line, or the memory and disk plan.
[[nodiscard]] Outcome check(const Flags& flags);

}  // namespace segue::conf
