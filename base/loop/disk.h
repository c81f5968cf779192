// base/loop/disk.h - the seam behind which one drive stands, as one loop sees it: asynchronous
// reads, writes and flushes.
//
// The real one: FileDisk over io_uring or threads (same tests); product fake: MemoryDisk
// (replay, simulation); with injected faults: tests/support. All offsets, lengths and addresses are
// multiples of kDiskAlignBytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/loop/task.h"

namespace segue {

/// One operation. Memory the kernel writes to must outlive the operation, so a DiskOp lives in a
/// slab of the Disk (rule R6); whoever awaits it awaits its completion, always: there is no
/// cancelling, only not caring about the result.
class Disk {
 public:
  virtual ~Disk() = default;

  /// Reads exactly head.size() + body.size() bytes at `offset` as one vectored read (a slot's
  /// header goes apart from its payload); either may be empty. Waits. Errors: {Disk, IoError,
  /// os_errno}; a short read is an IoError too (the file is preallocated, so short means damaged).
  /// {Self, Overloaded} if kDriveOpsInFlightMax are in flight. Both spans must stay valid until the
  /// task ends: keep them in a buffer or slab, never in a frame that may be dropped.
  [[nodiscard]] virtual Task<Result<Done>> read(uint64_t offset, std::span<std::byte> head,
                                                std::span<std::byte> body) = 0;

  /// Writes `head` and then `body` at `offset` as one vectored write; either may be empty. Waits. A
  /// short write is an IoError.
  [[nodiscard]] virtual Task<Result<Done>> write(uint64_t offset, std::span<const std::byte> head,
                                                 std::span<const std::byte> body) = 0;

  /// fdatasync: what completed before is durable after. Waits.
  [[nodiscard]] virtual Task<Result<Done>> flush() = 0;

  /// Lets go of what lies below, so that it can be unmounted or unplugged: whatever is started from
  /// here on fails. REQUIRES: nothing is in flight.
  virtual void close() noexcept = 0;
  /// Opens the same drive anew: it was pulled and put back, and what was open before stays dead.
  /// Waits. REQUIRES: nothing is in flight. Errors: {Disk, IoError, os_errno}: it is not there;
  /// {Disk, Mismatch}: what is there is another size or in use by another process.
  [[nodiscard]] virtual Task<Result<Done>> reopen() = 0;

  [[nodiscard]] virtual uint64_t size_bytes() const noexcept = 0;
  /// Operations started and not yet completed. Any thread.
  [[nodiscard]] virtual uint32_t in_flight() const noexcept = 0;
};

}  // namespace segue
