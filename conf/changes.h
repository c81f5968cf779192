// conf/changes.h - what a reload changes: the settings that run now, those of the file as it is
// today, and which of them can be put in force without a restart.
#pragma once
#include <expected>
#include <string>
#include <vector>

#include "conf/load.h"

namespace segue::conf {

struct Changes {
  Settings settings;                       // those that run, with what a reload may change
  std::vector<std::string> applied;        // keys that differ and take effect
  std::vector<std::string> needs_restart;  // keys that differ and do not
};

/// `fresh` has no mistakes. The error says what `fresh` needs that only a restart gives: then
/// nothing of it can be taken.
[[nodiscard]] std::expected<Changes, std::string> changes_between(const Loaded& running,
                                                                  const Loaded& fresh);

/// "node.ram, origin.store.servers"
[[nodiscard]] std::string join(const std::vector<std::string>& keys);

}  // namespace segue::conf
