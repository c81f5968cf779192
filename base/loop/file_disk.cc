#include "base/loop/file_disk.h"

#include <unistd.h>

#include <cerrno>

#include "base/limits.h"
#include "base/units.h"

namespace segue {
namespace {

[[nodiscard]] bool aligned(uint64_t number) { return number % kDiskAlignBytes == 0; }
[[nodiscard]] bool aligned(const iovec& piece) {
  return aligned(piece.iov_len) && aligned(reinterpret_cast<uintptr_t>(piece.iov_base));
}

[[nodiscard]] const char* step_of(IoKind kind) {
  return kind == IoKind::Read ? "drive read" : "drive write";
}

}  // namespace

FileDisk::FileDisk(IoEngine& engine, int fd, uint64_t size_bytes, bool direct)
    : engine_(engine),
      fd_(fd),
      size_bytes_(size_bytes),
      direct_(direct),
      slab_(kDriveOpsInFlightMax) {}

FileDisk::~FileDisk() {
  SEGUE_ASSERT(in_flight() == 0);
  close(fd_);
}

Task<Result<Done>> FileDisk::read(uint64_t offset, std::span<std::byte> head,
                                  std::span<std::byte> body) {
  return transfer(IoKind::Read, offset, {head.data(), head.size()}, {body.data(), body.size()});
}

Task<Result<Done>> FileDisk::write(uint64_t offset, std::span<const std::byte> head,
                                   std::span<const std::byte> body) {
  return transfer(IoKind::Write, offset, {const_cast<std::byte*>(head.data()), head.size()},
                  {const_cast<std::byte*>(body.data()), body.size()});
}

Task<Result<Done>> FileDisk::transfer(IoKind kind, uint64_t offset, iovec head, iovec body) {
  SEGUE_ASSERT(aligned(offset));
  SEGUE_ASSERT(aligned(head));
  SEGUE_ASSERT(aligned(body));
  const IoSlab::Taken op(slab_);
  if (!op) co_return fail_retryable(Side::Self, Kind::Overloaded, step_of(kind));
  op->kind = kind;
  op->fd = fd_;
  op->offset = offset;
  op->pieces = {head, body};
  op->piece_count = 2;
  while (!advance(*op, 0)) {  // also steps over empty pieces
    const int32_t result = co_await engine_.run(*op);
    if (result == -EINTR) continue;
    if (result == kEngineFull)
      co_return fail_retryable(Side::Self, Kind::Overloaded, step_of(kind));
    if (result < 0) co_return fail(Side::Disk, Kind::IoError, step_of(kind), -result);
    // A partial transfer is carried on before it is called short. O_DIRECT takes only aligned
    // rests, so up to one block is done twice.
    auto done = static_cast<uint64_t>(result);
    if (direct_) done = round_down(done, kDiskAlignBytes);
    if (done == 0) co_return fail(Side::Disk, Kind::IoError, step_of(kind));  // the end: short
    if (advance(*op, done)) break;
  }
  co_return Done{};
}

Task<Result<Done>> FileDisk::flush() {
  const IoSlab::Taken op(slab_);
  if (!op) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive flush");
  op->kind = IoKind::Flush;
  op->fd = fd_;
  const int32_t result = co_await engine_.run(*op);
  // EINTR is not tried again: the kernel may already have reported, and forgotten, a lost write.
  if (result == kEngineFull) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive flush");
  if (result < 0) co_return fail(Side::Disk, Kind::IoError, "drive flush", -result);
  co_return Done{};
}

}  // namespace segue
