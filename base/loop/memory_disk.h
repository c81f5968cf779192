// base/loop/memory_disk.h - a Disk without a device, for the simulation and `segue replay`: its
// bytes are pages in memory, its time is the loop's clock.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/limits.h"
#include "base/loop/disk.h"

namespace segue {

/// The bytes of a drive, kept sparsely in pages of kDiskAlignBytes: what was never written reads as
/// zeros. Offsets and lengths are multiples of the page. One thread at a time.
class PageStore {
 public:
  using Page = std::array<std::byte, kDiskAlignBytes>;

  void read(uint64_t offset, std::span<std::byte> into) const noexcept;
  void write(uint64_t offset, std::span<const std::byte> bytes);
  /// Makes [offset, offset + bytes) zeros again and gives the memory back.
  void erase(uint64_t offset, uint64_t bytes) noexcept;
  /// The page at `offset`, or null if it is all zeros. Valid until the page is written or erased.
  [[nodiscard]] std::byte* find(uint64_t offset) noexcept;
  [[nodiscard]] uint64_t pages() const noexcept { return pages_.size(); }

 private:
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
};

/// Loop-owned; several loops of one thread may each have one over the same PageStore.
class MemoryDisk final : public Disk {
 public:
  struct Options {
    uint64_t size_bytes = 0;
    std::chrono::nanoseconds read_latency{};
    std::chrono::nanoseconds write_latency{};
    std::chrono::nanoseconds flush_latency{};
    /// False: of a write with both a head and a body (a slot) only the head is kept, and the body
    /// reads as zeros. Everything else on a drive (superblock, journal, records, tables) is written
    /// by one span, and stays whole. A replay of a day of traffic fits into memory that way.
    bool keep_payload = true;
  };
  /// `loop` and `pages` outlive the disk.
  MemoryDisk(Loop& loop, PageStore& pages, Options options) noexcept
      : loop_(loop), pages_(pages), options_(options) {}
  ~MemoryDisk() override { SEGUE_ASSERT(in_flight_ == 0); }

  /// Reads see, and writes change, the bytes when their latency is over. Never completes at once,
  /// not even without latency: a drive does not either. Past the end: {Disk, IoError}.
  [[nodiscard]] Task<Result<Done>> read(uint64_t offset, std::span<std::byte> head,
                                        std::span<std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> write(uint64_t offset, std::span<const std::byte> head,
                                         std::span<const std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> flush() override;
  void close() noexcept override {}
  [[nodiscard]] Task<Result<Done>> reopen() override;
  [[nodiscard]] uint64_t size_bytes() const noexcept override { return options_.size_bytes; }
  [[nodiscard]] uint32_t in_flight() const noexcept override { return in_flight_; }

 private:
  class InFlight;
  [[nodiscard]] bool beyond_end(uint64_t offset, uint64_t bytes) const noexcept;

  Loop& loop_;
  PageStore& pages_;
  const Options options_;
  uint32_t in_flight_ = 0;
};

}  // namespace segue
