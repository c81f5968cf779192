// base/loop/file_disk.h - a Disk on a preallocated file or block device, over either IoEngine.
// Internal to base/loop; the daemon gets one from EventLoop::open_disk().
#pragma once
#include <string>

#include "base/loop/disk.h"
#include "base/loop/io_engine.h"

namespace segue {

class FileDisk final : public Disk {
 public:
  struct How {
    bool direct = false;  // O_DIRECT: what is left of a partial transfer must be aligned too
    bool locked = false;  // no other process may have it open so
  };
  /// Takes `fd`, which was opened as `path`. `engine` outlives the disk.
  FileDisk(IoEngine& engine, int fd, uint64_t size_bytes, How how, std::string path);
  ~FileDisk() override;

  [[nodiscard]] Task<Result<Done>> read(uint64_t offset, std::span<std::byte> head,
                                        std::span<std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> write(uint64_t offset, std::span<const std::byte> head,
                                         std::span<const std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> flush() override;
  void close() noexcept override;
  [[nodiscard]] Task<Result<Done>> reopen() override;
  [[nodiscard]] uint64_t size_bytes() const noexcept override { return size_bytes_; }
  [[nodiscard]] uint32_t in_flight() const noexcept override { return slab_.taken(); }

 private:
  // By iovec: one coroutine serves both directions. The kernel does not write through a Write's.
  Task<Result<Done>> transfer(IoKind kind, uint64_t offset, iovec head, iovec body);

  // constant after construction
  IoEngine& engine_;
  const uint64_t size_bytes_;
  const How how_;
  const std::string path_;
  // loop-owned
  int fd_;  // -1 while closed
  IoSlab slab_;
};

/// What a file or block device holds. Errors: {Disk, IoError}; {Disk, Unsupported}: neither.
[[nodiscard]] Result<uint64_t> file_size(int fd);
/// Takes the lock that keeps other processes away; it goes with the descriptor. Errors: {Disk,
/// Mismatch}: another process has it; {Disk, IoError}.
[[nodiscard]] Result<Done> lock_file(int fd);

}  // namespace segue
