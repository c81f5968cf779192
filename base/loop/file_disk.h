// base/loop/file_disk.h - a Disk on a preallocated file or block device, over either IoEngine.
// Internal to base/loop; the daemon gets one from EventLoop::open_disk().
#pragma once
#include "base/loop/disk.h"
#include "base/loop/io_engine.h"

namespace segue {

class FileDisk final : public Disk {
 public:
  /// Takes `fd`. `direct`: opened with O_DIRECT, so that what is left of a partial transfer must be
  /// aligned too. `engine` outlives the disk.
  FileDisk(IoEngine& engine, int fd, uint64_t size_bytes, bool direct);
  ~FileDisk() override;

  [[nodiscard]] Task<Result<Done>> read(uint64_t offset, std::span<std::byte> head,
                                        std::span<std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> write(uint64_t offset, std::span<const std::byte> head,
                                         std::span<const std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> flush() override;
  [[nodiscard]] uint64_t size_bytes() const noexcept override { return size_bytes_; }
  [[nodiscard]] uint32_t in_flight() const noexcept override { return slab_.taken(); }

 private:
  // By iovec: one coroutine serves both directions. The kernel does not write through a Write's.
  Task<Result<Done>> transfer(IoKind kind, uint64_t offset, iovec head, iovec body);

  IoEngine& engine_;
  const int fd_;
  const uint64_t size_bytes_;
  const bool direct_;
  IoSlab slab_;
};

}  // namespace segue
