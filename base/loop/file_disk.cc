#include "base/loop/file_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

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

Result<uint64_t> file_size(int fd) {
  struct stat facts{};
  if (fstat(fd, &facts) != 0) return fail(Side::Disk, Kind::IoError, "fstat", errno);
  if (S_ISREG(facts.st_mode)) return static_cast<uint64_t>(facts.st_size);
  if (!S_ISBLK(facts.st_mode)) {
    return fail(Side::Disk, Kind::Unsupported, "neither a file nor a block device");
  }
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
    return fail(Side::Disk, Kind::IoError, "BLKGETSIZE64", errno);
  }
  return bytes;
}

Result<Done> lock_file(int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return Done{};
  if (errno == EWOULDBLOCK) return fail(Side::Disk, Kind::Mismatch, "in use by another process");
  return fail(Side::Disk, Kind::IoError, "flock", errno);
}

FileDisk::FileDisk(IoEngine& engine, int fd, uint64_t size_bytes, How how, std::string path)
    : engine_(engine),
      size_bytes_(size_bytes),
      how_(how),
      path_(std::move(path)),
      fd_(fd),
      slab_(kDriveOpsInFlightMax) {}

FileDisk::~FileDisk() { close(); }

void FileDisk::close() noexcept {
  SEGUE_ASSERT(in_flight() == 0);
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Task<Result<Done>> FileDisk::reopen() {
  close();
  const IoSlab::Taken op(slab_);
  SEGUE_ASSERT(op);  // nothing else is in flight
  // Through the engine, because opening what hangs off a broken path may wait for ever.
  op->kind = IoKind::OpenBeneath;
  op->fd = AT_FDCWD;
  op->path = path_.c_str();
  op->how = {};
  op->how.flags = O_RDWR | O_CLOEXEC | (how_.direct ? O_DIRECT : 0);
  int32_t result = -EINTR;
  while (result == -EINTR) result = co_await engine_.run(*op);
  if (result == kEngineFull) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive open");
  if (result < 0) co_return fail(Side::Disk, Kind::IoError, "drive open", -result);
  fd_ = result;
  const auto size = file_size(fd_);
  Result<Done> usable = Done{};
  if (!size) {
    usable = fail(size.error());
  } else if (*size != size_bytes_) {
    usable = fail(Side::Disk, Kind::Mismatch, "another size than before");
  } else if (how_.locked) {
    usable = lock_file(fd_);
  }
  if (!usable) ::close(std::exchange(fd_, -1));
  co_return usable;
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
    if (how_.direct) done = round_down(done, kDiskAlignBytes);
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
