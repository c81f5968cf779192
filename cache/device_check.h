// cache/device_check.h - looks at what an operator gave as `--cache PATH` before the first byte is
// written: a folder, a file or a block device; ours, empty or somebody else's. Nothing here ever
// destroys anything. Blocking system calls: start-up and `segue cache format` only.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/units.h"

namespace segue::cache {

/// The smallest drive that makes sense; a smaller one is refused with this figure.
inline constexpr uint64_t kDriveBytesMin = 32 * MiB;

struct DriveCheck {
  enum class Verdict : uint8_t {
    Ours,    // mount it
    Absent,  // create_drive_file(), Drive::format(), publish_drive_file(), then mount it
    Blank,   // an empty file or a device of zeros: `segue cache format` may write it, serve not
    NeedsSerial,  // a device with a partition table or a signature: `cache format --serial` may
    Refused,      // nothing may
  };
  Verdict verdict = Verdict::Refused;
  std::string file;  // what to open: PATH, or segue.drive in it
  bool block_device = false;
  uint64_t size_bytes = 0;  // of the file or device; 0 if absent
  std::string serial;       // of the device; empty if it has none: then nothing overrides
  /// For every verdict but Ours and Absent: one sentence for the operator.
  std::string sentence;
};

/// `wanted_bytes`: of a file to be created (0: nothing is created, a missing file is Refused);
/// `sparse`: it will not be preallocated, so free space is not asked for.
[[nodiscard]] DriveCheck check_drive_path(const std::string& path, uint64_t wanted_bytes,
                                          bool sparse);

/// Makes the file of an Absent drive under a name of its own (file + ".new"), so that a format cut
/// in the middle is not mistaken for a drive; a leftover of that name from an earlier attempt is
/// replaced. Returns that name, or a sentence for the operator (and no file is left).
[[nodiscard]] std::expected<std::string, std::string> create_drive_file(const DriveCheck& check,
                                                                        uint64_t size_bytes,
                                                                        bool sparse);
/// Gives the formatted file its name, durably. A sentence if that failed.
[[nodiscard]] std::optional<std::string> publish_drive_file(const DriveCheck& check);

/// One process per drive: holds an exclusive lock on the file or device while it lives. Move-only.
class [[nodiscard]] DriveLock {
 public:
  /// A sentence if another process has it.
  [[nodiscard]] static std::expected<DriveLock, std::string> take(const std::string& file);
  DriveLock(DriveLock&& other) noexcept;
  DriveLock& operator=(DriveLock&&) = delete;
  ~DriveLock();

 private:
  explicit DriveLock(int fd) noexcept : fd_(fd) {}
  int fd_;
};

// --- the parts that need no system call, for tests ---

/// What the first bytes (kSignatureBytes of them, or all there are) look like; empty if they are
/// all zeros, "data" if nothing known.
inline constexpr size_t kSignatureBytes = 128 * KiB;
[[nodiscard]] std::string_view signature_of(std::span<const std::byte> first_bytes) noexcept;

/// Whether /proc/self/mountinfo, given as text, has a mount of device `major`:`minor`.
[[nodiscard]] bool is_mounted(std::string_view mountinfo, uint32_t major, uint32_t minor) noexcept;

}  // namespace segue::cache
