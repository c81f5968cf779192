#include "edge/node/format_drive.h"

#include <fmt/format.h>

#include "base/entropy.h"
#include "base/loop/event_loop.h"
#include "cache/device_check.h"
#include "cache/drive.h"

namespace segue::edge {
namespace {

using Verdict = cache::DriveCheck::Verdict;

/// Whether `what` may be done to what lies there; the sentence if not.
std::expected<void, std::string> permit(const FormatDrive& what, const cache::DriveCheck& check) {
  if (what.wipe) {
    if (check.verdict == Verdict::Ours) return {};
    return std::unexpected(
        fmt::format("{}: not a drive of Segue, so there is nothing to wipe ({})", what.path,
                    check.sentence.empty() ? "nothing is there" : check.sentence));
  }
  switch (check.verdict) {
    case Verdict::Absent:
    case Verdict::Blank:
      return {};
    case Verdict::Ours:
      return std::unexpected(
          fmt::format("{}: is a drive of Segue already; `segue cache wipe` empties it", what.path));
    case Verdict::NeedsSerial:
      if (!check.serial.empty() && what.serial == check.serial) return {};
      return std::unexpected(check.sentence);
    case Verdict::Refused:
      break;
  }
  return std::unexpected(check.sentence);
}

Task<void> format_on(Disk& disk, cache::FormatOptions options, Result<Done>& result,
                     EventLoop& loop) {
  result = co_await cache::Drive::format(disk, options);
  loop.stop();
}

std::expected<uint64_t, std::string> write_format(const std::string& file,
                                                  cache::DriveShares shares) {
  SystemClock clock;
  auto loop = EventLoop::create(0, clock, {});
  if (!loop) return std::unexpected(fmt::format("event loop: {}", loop.error().where));
  auto opened = (*loop)->open_disk(file);
  if (!opened)
    return std::unexpected(fmt::format("{}: {}", file, strerror(opened.error().os_errno)));
  const uint64_t size = opened->disk->size_bytes();
  Result<Done> formatted = Done{};
  {
    TaskGroup group(**loop, 1);
    {
      const Loop::Turn turn(**loop);
      const bool spawned = group.try_spawn(format_on(*opened->disk,
                                                     {.size_bytes = size,
                                                      .hash_seed = kernel_random(),
                                                      .device_id = kernel_random(),
                                                      .membership_epoch = 1,
                                                      .shares = shares},
                                                     formatted, **loop));
      SEGUE_ASSERT(spawned);
    }
    (*loop)->run();
  }
  {
    const Loop::Turn turn(**loop);
    opened->disk.reset();
  }
  if (!formatted)
    return std::unexpected(
        fmt::format("{}: {} ({})", file, formatted.error().where, name_of(formatted.error().kind)));
  return size;
}

}  // namespace

std::expected<std::string, std::string> format_drive(const FormatDrive& what) {
  const cache::DriveCheck check = cache::check_drive_path(what.path, what.size_bytes, what.sparse);
  if (auto permitted = permit(what, check); !permitted) return std::unexpected(permitted.error());
  std::string file = check.file;
  if (check.verdict == Verdict::Absent) {
    auto made = cache::create_drive_file(check, what.size_bytes, what.sparse);
    if (!made) return std::unexpected(made.error());
    file = *made;
  }
  {
    // A running node holds this lock: its drive is not wiped under it.
    auto lock = cache::DriveLock::take(file);
    if (!lock) return std::unexpected(lock.error());
    auto size = write_format(file, what.shares);
    if (!size) return std::unexpected(size.error());
    if (check.verdict != Verdict::Absent)
      return fmt::format("{}: {}, {} bytes", file, what.wipe ? "wiped" : "formatted", *size);
  }
  if (auto sentence = cache::publish_drive_file(check)) return std::unexpected(*sentence);
  return fmt::format("{}: formatted, {} bytes", check.file, what.size_bytes);
}

}  // namespace segue::edge
