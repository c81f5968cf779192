#include "edge/node/drives.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/entropy.h"
#include "base/log.h"
#include "cache/device_check.h"
#include "edge/node/node.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"

namespace segue::edge {
namespace {

using Verdict = cache::DriveCheck::Verdict;

/// One drive on its way from a path to a mounted Drive.
struct Candidate {
  const NodeOptions::DriveOptions* options = nullptr;
  cache::DriveCheck check;
  // Of loop 0. Its lock keeps other processes away, and goes with it where the drive is let go of.
  EventLoop::OpenedDisk opened;
  std::unique_ptr<cache::Drive> drive;
  Error error;
};

using Candidates = std::vector<std::unique_ptr<Candidate>>;

Task<void> mount_into(Candidate& candidate, Disk& disk, cache::EvictionPolicy policy,
                      const Clock& clock, EventLoop& loop) {
  auto mounted = co_await cache::Drive::mount(
      disk, {.policy = policy, .write_bytes_per_second = candidate.options->write_bytes_per_second},
      clock);
  if (mounted) {
    candidate.drive = std::move(*mounted);
  } else {
    candidate.error = mounted.error();
  }
  loop.stop();
}

Task<void> format_into(Result<Done>& result, Disk& disk, cache::FormatOptions options,
                       EventLoop& loop) {
  result = co_await cache::Drive::format(disk, options);
  loop.stop();
}

Task<void> adopt_into(Result<Done>& result, cache::Drive& drive, Disk& disk, uint64_t hash_seed,
                      EventLoop& loop) {
  result = co_await drive.adopt_seed(disk, hash_seed);
  loop.stop();
}

Task<void> agree_on_epoch(Candidates& candidates, std::vector<std::unique_ptr<Disk>>& disks,
                          bool all_here, EventLoop& loop) {
  uint64_t newest = 0;
  for (const auto& candidate : candidates)
    newest = std::max(newest, candidate->drive->membership_epoch());
  const uint64_t epoch = all_here ? newest : newest + 1;
  for (size_t i = 0; i < candidates.size(); ++i) {
    cache::Drive& drive = *candidates[i]->drive;
    if (drive.membership_epoch() < newest) {
      // Purges were acknowledged while this drive was away: what it holds may be what they named.
      log_warning("drive_emptied", "path={}: it missed a time in which others served",
                  candidates[i]->check.file);
      if (auto emptied = co_await drive.forget_everything(*disks[i]); !emptied)
        drive.set_offline("cannot be emptied");
    }
    if (drive.membership_epoch() == epoch) continue;
    if (auto set = co_await drive.set_membership_epoch(*disks[i], epoch); !set)
      drive.set_offline("superblock not written");
  }
  loop.stop();
}

/// Runs one task on loop 0 before the node serves.
template <class Make>
void run_to_end(EventLoop& loop, Make make) {
  TaskGroup group(loop, 1);
  {
    const Loop::Turn turn(loop);
    const bool spawned = group.try_spawn(make());
    SEGUE_ASSERT(spawned);
  }
  loop.run();
}

std::string explain(const Error& error) {
  return error.os_errno == 0 ? fmt::format("{} ({})", error.where, name_of(error.kind))
                             : fmt::format("{}: {}", error.where, strerror(error.os_errno));
}

/// A file that is not there yet is made under another name and formatted, so that a format cut in
/// the middle is not taken for a drive.
std::expected<void, std::string> create(Candidate& candidate, EventLoop& loop, uint64_t hash_seed,
                                        uint64_t epoch) {
  const uint64_t size = candidate.options->size_bytes;
  auto made = cache::create_drive_file(candidate.check, size, candidate.options->sparse);
  if (!made) return std::unexpected(made.error());
  auto opened = loop.open_disk(*made);
  if (!opened) return std::unexpected(explain(opened.error()));
  Result<Done> formatted = Done{};
  run_to_end(loop, [&] {
    return format_into(formatted, *opened->disk,
                       {.size_bytes = opened->disk->size_bytes(),
                        .hash_seed = hash_seed,
                        .device_id = kernel_random(),
                        .membership_epoch = epoch,
                        .shares = candidate.options->shares},
                       loop);
  });
  if (!formatted) return std::unexpected(explain(formatted.error()));
  if (auto sentence = cache::publish_drive_file(candidate.check)) return std::unexpected(*sentence);
  log_info("drive_created", "path={} bytes={}", candidate.check.file, size);
  return {};
}

std::expected<void, std::string> mount(Candidate& candidate, cache::EvictionPolicy policy,
                                       EventLoop& loop, const Clock& clock) {
  candidate.drive.reset();
  run_to_end(loop,
             [&] { return mount_into(candidate, *candidate.opened.disk, policy, clock, loop); });
  if (!candidate.drive) return std::unexpected(explain(candidate.error));
  return {};
}

/// Locks and mounts what is a drive of ours. An error leaves the node without this drive.
std::expected<void, std::string> bring_up(Candidate& candidate, const NodeOptions& options,
                                          EventLoop& loop, const Clock& clock) {
  if (candidate.check.verdict != Verdict::Ours && candidate.check.verdict != Verdict::Absent)
    return std::unexpected(candidate.check.sentence);
  auto opened = loop.open_disk(candidate.check.file, EventLoop::DiskLock::Exclusive);
  if (!opened && opened.error().kind == Kind::Mismatch)
    return std::unexpected(fmt::format("{} is {}", candidate.check.file, opened.error().where));
  if (!opened) return std::unexpected(explain(opened.error()));
  candidate.opened = std::move(*opened);
  return mount(candidate, options.policy, loop, clock);
}

bool holds_something(const cache::Drive& drive) { return drive.usage().records_live > 0; }

/// The seed all keys are hashed under: that of the first drive with something on it, so that drives
/// formatted each for itself, or wiped, follow the warm one.
uint64_t seed_of(const Candidates& candidates) {
  const Candidate* first = nullptr;
  for (const auto& candidate : candidates) {
    if (!candidate->drive) continue;
    if (first == nullptr) first = candidate.get();
    if (!holds_something(*candidate->drive)) continue;
    first = candidate.get();
    break;
  }
  return first != nullptr ? first->drive->hash_seed() : kernel_random();
}

/// Puts an empty drive under the node's seed.
std::expected<void, std::string> adopt(Candidate& candidate, uint64_t hash_seed,
                                       cache::EvictionPolicy policy, EventLoop& loop,
                                       const Clock& clock) {
  if (candidate.drive->hash_seed() == hash_seed) return {};
  Result<Done> adopted = Done{};
  run_to_end(loop, [&] {
    return adopt_into(adopted, *candidate.drive, *candidate.opened.disk, hash_seed, loop);
  });
  if (!adopted && adopted.error().kind == Kind::Unsupported)
    return std::unexpected(
        "it belongs to another cache, and holds slices (`segue cache wipe` empties it)");
  if (!adopted) return std::unexpected(explain(adopted.error()));
  return mount(candidate, policy, loop, clock);
}

/// Every loop opens every drive for itself. False: not one loop could be given it.
std::expected<void, std::string> open_on_every_loop(const Candidates& candidates,
                                                    std::vector<std::unique_ptr<Worker>>& workers,
                                                    SharedParts& shared) {
  bool direct = true;
  for (auto& worker : workers) {
    for (const auto& candidate : candidates) {
      auto opened = worker == workers.front()
                        ? Result<EventLoop::OpenedDisk>(std::move(candidate->opened))
                        : worker->loop().open_disk(candidate->check.file);
      if (!opened)
        return std::unexpected(
            fmt::format("{}: {}", candidate->check.file, explain(opened.error())));
      direct = direct && opened->direct;
      worker->disks().push_back(std::move(opened->disk));
    }
  }
  if (!direct)
    log_warning(
        "degraded",
        "what=buffered_io: a file system refuses O_DIRECT; the page cache holds a second copy");
  shared.registry.set_degraded("buffered_io", !direct);
  return {};
}

}  // namespace

std::expected<std::vector<std::unique_ptr<cache::Drive>>, std::string> open_drives(
    const NodeOptions& options, std::vector<std::unique_ptr<Worker>>& workers,
    SharedParts& shared) {
  EventLoop& loop = workers.front()->loop();
  Candidates candidates;
  bool all_here = true;
  // Nothing of that kind stops a start: the node serves without this drive.
  const auto leave_out = [&](Candidate& candidate, const std::string& why) {
    log_error("drive_unusable", "path={}: {}", candidate.options->path, why);
    shared.registry.set_degraded("drive_unusable");
    candidate.drive.reset();
    all_here = false;
  };
  uint64_t epoch = 1;
  for (const NodeOptions::DriveOptions& drive_options : options.drives) {
    Candidate& candidate = *candidates.emplace_back(std::make_unique<Candidate>());
    candidate.options = &drive_options;
    candidate.check =
        cache::check_drive_path(drive_options.path, drive_options.size_bytes, drive_options.sparse);
    if (candidate.check.verdict == Verdict::Absent) continue;  // made below, under the others' seed
    if (auto up = bring_up(candidate, options, loop, shared.clock); !up) {
      leave_out(candidate, up.error());
      continue;
    }
    epoch = std::max(epoch, candidate.drive->membership_epoch());
  }
  const uint64_t hash_seed = seed_of(candidates);
  for (const auto& each : candidates) {
    Candidate& candidate = *each;
    std::expected<void, std::string> done;
    if (candidate.drive) {
      done = adopt(candidate, hash_seed, options.policy, loop, shared.clock);
    } else if (candidate.check.verdict == Verdict::Absent) {
      done = create(candidate, loop, hash_seed, epoch);
      if (done) done = bring_up(candidate, options, loop, shared.clock);
    }
    if (!done) leave_out(candidate, done.error());
  }
  std::erase_if(candidates, [](const auto& candidate) { return !candidate->drive; });
  if (auto opened = open_on_every_loop(candidates, workers, shared); !opened)
    return std::unexpected(opened.error());
  if (!candidates.empty()) {
    run_to_end(
        loop, [&] { return agree_on_epoch(candidates, workers.front()->disks(), all_here, loop); });
  }
  std::vector<std::unique_ptr<cache::Drive>> drives;
  for (auto& candidate : candidates) drives.push_back(std::move(candidate->drive));
  return drives;
}

}  // namespace segue::edge
