// conf/command_line.h - the words after `segue`: a verb, its flags, its arguments. What is wrong in
// them, and what --help prints, comes back as text: nothing here writes or exits.
#pragma once
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "conf/load.h"
#include "conf/replay_arguments.h"
#include "conf/settings.h"

namespace segue::conf {

enum class Verb : uint8_t {
  Serve,
  Check,
  Explain,
  Purge,
  CacheFormat,
  CacheWipe,
  Drain,
  Stats,
  Top,
  Version,
  Limits,
  Settings,
  Listens,
  Replay,
  Sign,
};

struct PurgeArguments {
  std::vector<std::string> urls;      // --url, each one key
  std::vector<std::string> prefixes;  // --prefix, each all keys that begin so
  std::vector<std::string> tags;      // --tag, each all answers that carried it
  bool soft = false;                  // stale instead of gone
  bool cut = false;                   // also end responses already begun
};

/// Of `segue sign`: the key from a file, or with form and name from a site of a settings file.
struct SignArguments {
  TokenSettings tokens;  // one form, one key
  milliseconds valid_for{std::chrono::hours{24}};
  std::optional<milliseconds> valid_from;  // from now
  std::string prefix;
  std::string glob;
  std::string client;
  std::string preview;
  std::string listener;  // --id
};

struct DriveArguments {
  std::string path;
  uint64_t size_bytes = 0;  // 0: a device whole
  bool sparse = false;
  std::string serial;  // of a device that carries something: says that it is meant
  ShareSettings shares = DriveSettings{}.shares;
};

struct Command {
  Verb verb = Verb::Serve;
  Flags flags;                            // serve, check
  Address admin;                          // of the verbs that ask a node: where it answers
  std::string url;                        // explain, sign
  SignArguments sign;                     // sign
  PurgeArguments purge;                   // purge
  DriveArguments drive;                   // cache format, cache wipe
  ReplayArguments replay;                 // replay
  bool as_man_page = false;               // settings
  bool as_csv = false;                    // listens
  bool as_json = false;                   // stats
  std::chrono::milliseconds every{2000};  // top
};

/// Where a node's admin listener is looked for when neither --admin nor --config says.
inline constexpr const char* kAdminDefault = "unix:/run/segue/admin.sock";

/// A command, or what to print instead (help: code 0, a mistake: code 2). May read the file of
/// --config to learn the admin address.
[[nodiscard]] std::expected<Command, Outcome> parse_command_line(int argc, const char* const* argv);

}  // namespace segue::conf
