// One loop's door to the store: operations that nobody may wait for without end. A kernel can keep
// a write for ever (a path to the device is gone, firmware loops); it cannot be taken back, so
// whoever wants its outcome stops waiting and the drive is left alone.
#include <utility>

#include "cache/local_store.h"

namespace segue::cache {

Task<void> LocalStore::Impl::carry_out(Task<Result<Done>> handed, Ref<DriveWork> held) {
  Task<Result<Done>> work = std::move(handed);
  const Ref<DriveWork> outcome = std::move(held);
  outcome->result.emplace(co_await std::move(work));
  outcome->done.raise();
}

Task<Result<Done>> LocalStore::Impl::bounded(Drive& drive, const char* what,
                                             Task<Result<Done>> work) {
  const auto outcome = make_ref<DriveWork>();
  if (!durable.try_spawn(carry_out(std::move(work), outcome)))
    co_return fail_retryable(Side::Self, Kind::Overloaded, "drive operations");
  const MonoTime until = loop.now() + kDriveWriteHangTimeout;
  while (!outcome->result) {
    const Wake woken = co_await outcome->done.wait(until);
    if (woken == Wake::Raised || outcome->result) continue;
    counters.drive_hangs.add();
    drive.set_offline(what);
    co_return fail(Side::Disk, Kind::Timeout, what);
  }
  co_return *outcome->result;
}

}  // namespace segue::cache
