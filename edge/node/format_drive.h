// edge/node/format_drive.h - `segue cache format` and `segue cache wipe`: the only ways by which a
// drive that is not made by `serve` itself is written.
#pragma once
#include <cstdint>
#include <expected>
#include <string>

#include "cache/geometry.h"

namespace segue::edge {

struct FormatDrive {
  std::string path;         // folder, file or block device
  uint64_t size_bytes = 0;  // 0: a device or an existing file whole
  bool sparse = false;
  std::string serial;  // of a device that carries something: says that it is meant
  cache::DriveShares shares;
  bool wipe = false;  // empties a drive of ours; anything else is refused
};

/// Start-up command: waits for the drive. Returns what was done; the error is a sentence for the
/// operator, and then nothing was written.
[[nodiscard]] std::expected<std::string, std::string> format_drive(const FormatDrive& what);

}  // namespace segue::edge
