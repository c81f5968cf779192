// One loop's door to the store: drives that went offline and come back. Loop 0 looks at them, later
// each time, so that a drive that is slow or loose disturbs less and less; the other loops close
// and open their disks when they are told to.
#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "cache/local_store.h"

namespace segue::cache {

void LocalStore::Impl::CareMessage::arrive(PostNode& node) {
  auto& message = static_cast<CareMessage&>(node);
  message.posted.store(false, std::memory_order_release);
  message.impl->look_after_doors();
}

void LocalStore::Impl::look_after_doors() {
  for (size_t i = 0; i < disks.size(); ++i) {
    Door& door = doors[i];
    const Drive& drive = *shared.drives[i];
    if (disks[i] == nullptr || door.opening || draining) continue;
    const bool stale = door.opened != drive.times_back();
    // As long as a disk is open, the file system or device below it cannot be let go of.
    if ((drive.offline() || stale) && !door.closed && disks[i]->in_flight() == 0) {
      disks[i]->close();
      door.closed = true;
    }
    // A write that waited while the drive left and came back may be under way on what is closed.
    if (drive.offline() || !stale || !door.closed || disks[i]->in_flight() != 0) continue;
    door.opening = true;  // open_door() may end at once
    if (!durable.try_spawn(open_door(static_cast<uint8_t>(i)))) door.opening = false;
  }
}

Task<void> LocalStore::Impl::open_door(uint8_t number) {
  Door& door = doors[number];
  Drive& drive = *shared.drives[number];
  const uint32_t times_back = drive.times_back();
  auto opened = co_await disks[number]->reopen();
  if (opened) {
    opened = co_await drive.recognise(*disks[number]);
    if (!opened) disks[number]->close();
  }
  door.opening = false;
  if (!opened) {
    // The next message tries again; until then its slices are misses here.
    if (std::strcmp(door.reason, opened.error().where) == 0) co_return;
    door.reason = opened.error().where;
    log_warning("drive_still_away", "device={:016x} loop={} reason={} errno={}", drive.device_id(),
                loop.index(), door.reason, opened.error().os_errno);
    co_return;
  }
  door.reason = "";
  door.closed = false;
  door.opened = times_back;
}

uint64_t LocalStore::Impl::newest_epoch() const noexcept {
  uint64_t newest = 0;
  for (const auto& drive : shared.drives) newest = std::max(newest, drive->membership_epoch());
  return newest;
}

Task<Result<Done>> LocalStore::Impl::try_bring_back(uint8_t number) {
  Drive& drive = *shared.drives[number];
  Disk& disk = *disks[number];
  const auto opened = co_await bounded(drive, "opening hung", disk.reopen());
  if (!opened) co_return fail(opened.error());
  // Also the epochs of drives that are offline themselves count: what was purged is gone for all.
  const uint64_t epoch = newest_epoch();
  const bool emptied = drive.membership_epoch() < epoch;
  const Sequence leased{shared.leased_end.load(std::memory_order_acquire)};
  const auto back =
      co_await bounded(drive, "looking at it hung", drive.come_back(disk, epoch, leased));
  if (!back) co_return fail(back.error());
  if (newest_epoch() != epoch) {
    co_return fail_retryable(Side::Disk, Kind::Mismatch, "a purge was made while it came back");
  }
  drive.set_online();
  doors[number] = {.opened = drive.times_back()};
  if (emptied) {
    log_warning("drive_emptied", "device={:016x}: it missed a time in which others served",
                drive.device_id());
  }
  co_return Done{};
}

Task<void> LocalStore::Impl::bring_back_drives() {
  bool any = false;
  for (size_t i = 0; i < disks.size(); ++i) {
    Drive& drive = *shared.drives[i];
    Retry& retry = retries[i];
    any = any || drive.offline() || drive.times_back() != 0;
    if (disks[i] == nullptr) continue;
    if (!drive.offline()) {
      if (loop.now() - retry.since >= kDriveReturnAfterMax) retry = {};
      continue;
    }
    const auto later = [&] {
      retry.after = retry.after.count() == 0
                        ? kDriveReturnAfter
                        : std::min<std::chrono::nanoseconds>(retry.after * 2, kDriveReturnAfterMax);
      retry.next = loop.now() + retry.after;
    };
    if (!retry.away) {
      retry.away = true;
      retry.reason = "";
      later();
    }
    look_after_doors();
    const bool is_quiet = drive.under_way() == 0 && disks[i]->in_flight() == 0;
    if (loop.now() < retry.next || !is_quiet) continue;
    const auto back = co_await try_bring_back(static_cast<uint8_t>(i));
    if (back) {
      retry.away = false;
      retry.since = loop.now();
      log_info("drive_back", "device={:016x} slices_bytes={}", drive.device_id(),
               drive.usage().payload_bytes);
      continue;
    }
    if (disks[i]->in_flight() == 0) disks[i]->close();
    doors[i].closed = disks[i]->in_flight() == 0;
    if (std::strcmp(retry.reason, back.error().where) != 0) {
      retry.reason = back.error().where;
      log_warning("drive_still_away", "device={:016x} reason={} errno={}", drive.device_id(),
                  retry.reason, back.error().os_errno);
    }
    later();
  }
  for (uint32_t i = 0; any && i < kLoopsMax; ++i) {
    LocalStore* other = shared.locals[i].load(std::memory_order_acquire);
    if (other == nullptr || other == &owner) continue;
    Impl& impl = *other->impl_;
    if (!impl.care.posted.exchange(true, std::memory_order_acq_rel)) impl.loop.post(impl.care);
  }
}

}  // namespace segue::cache
