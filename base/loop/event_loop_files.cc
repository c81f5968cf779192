// What EventLoop does with drives and ordinary files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/loop/event_loop.h"
#include "base/loop/event_loop_impl.h"
#include "base/loop/file_disk.h"

namespace segue {
namespace {

[[nodiscard]] Error open_error(int os_errno) {
  switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return {Side::Origin, Kind::NotFound, false, os_errno, "openat2"};
    case EXDEV:  // RESOLVE_BENEATH: the path leads out
    case ELOOP:  // RESOLVE_NO_MAGICLINKS, or too many links
    case EACCES:
    case EPERM:
      return {Side::Origin, Kind::Refused, false, os_errno, "openat2"};
    case EMFILE:
    case ENFILE:
    case -kEngineFull:
      return {Side::Self, Kind::Overloaded, true, os_errno, "openat2"};
    default:
      return {Side::Origin, Kind::IoError, false, os_errno, "openat2"};
  }
}

}  // namespace

Result<EventLoop::OpenedDisk> EventLoop::open_disk(const std::string& path, DiskLock lock) {
  bool direct = true;
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
  if (fd < 0 && errno == EINVAL) {  // the file system does not take O_DIRECT
    direct = false;
    fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  }
  if (fd < 0) return fail(Side::Disk, Kind::IoError, "open", errno);
  const auto size_bytes = file_size(fd);
  const bool locked = lock == DiskLock::Exclusive;
  const auto held = size_bytes && locked ? lock_file(fd) : Result<Done>(Done{});
  if (!size_bytes || !held) {
    close(fd);
    return fail(size_bytes ? held.error() : size_bytes.error());
  }
  const FileDisk::How how{.direct = direct, .locked = locked};
  return OpenedDisk{std::make_unique<FileDisk>(*impl_->engine, fd, *size_bytes, how, path), direct};
}

Task<Result<size_t>> EventLoop::read_file(int fd, uint64_t offset, std::span<std::byte> into) {
  const IoSlab::Taken op(impl_->file_ops);
  if (!op) co_return fail_retryable(Side::Self, Kind::Overloaded, "file read");
  op->kind = IoKind::Read;
  op->fd = fd;
  op->offset = offset;
  op->pieces[0] = {into.data(), into.size()};
  op->piece_count = 1;
  while (!advance(*op, 0)) {
    const int32_t result = co_await impl_->engine->run(*op);
    if (result == -EINTR) continue;
    if (result == kEngineFull) co_return fail_retryable(Side::Self, Kind::Overloaded, "file read");
    if (result < 0) co_return fail(Side::Origin, Kind::IoError, "file read", -result);
    if (result == 0) break;  // the end of the file
    (void)advance(*op, static_cast<uint64_t>(result));
  }
  co_return static_cast<size_t>(op->offset - offset);
}

Task<Result<int>> EventLoop::open_beneath(int dir_fd, std::string path) {
  // A path cut at its NUL would name another file.
  if (path.find('\0') != std::string::npos) co_return fail(open_error(ENOENT));
  const IoSlab::Taken op(impl_->file_ops);
  if (!op) co_return fail(open_error(-kEngineFull));
  op->kind = IoKind::OpenBeneath;
  op->fd = dir_fd;
  op->path = path.c_str();
  op->how = {};
  // O_NONBLOCK: opening a FIFO that lies about must not hang for want of a writer.
  op->how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  op->how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  int32_t result = -EINTR;
  // EAGAIN: a rename somewhere raced with the look-up, so the kernel cannot vouch for "beneath".
  for (int tries = 0; tries < 4 && (result == -EINTR || result == -EAGAIN); ++tries) {
    result = co_await impl_->engine->run(*op);
  }
  if (result < 0) co_return fail(open_error(-result));
  // Reads through the ring must wait in the kernel, not fail with EAGAIN. F_SETFL cannot block.
  (void)fcntl(result, F_SETFL, 0);
  co_return result;
}

Task<Result<EventLoop::FileFacts>> EventLoop::stat_file(int fd) {
  const IoSlab::Taken op(impl_->file_ops);
  if (!op) co_return fail_retryable(Side::Self, Kind::Overloaded, "statx");
  op->kind = IoKind::Stat;
  op->fd = fd;
  const int32_t result = co_await impl_->engine->run(*op);
  if (result == kEngineFull) co_return fail_retryable(Side::Self, Kind::Overloaded, "statx");
  if (result < 0) co_return fail(Side::Origin, Kind::IoError, "statx", -result);
  const struct statx& facts = op->facts;
  co_return FileFacts{.size_bytes = facts.stx_size,
                      .mtime_ns = facts.stx_mtime.tv_sec * 1'000'000'000 + facts.stx_mtime.tv_nsec,
                      .regular = S_ISREG(facts.stx_mode)};
}

}  // namespace segue
