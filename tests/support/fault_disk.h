// tests/support/fault_disk.h - a drive that does everything a drive can do to you. The Platter is
// what lies on the shelf: it survives a crash of the node and may be opened by several loops of one
// thread, each by its own FaultDisk. Faults are options and plans of the Platter; chance comes from
// its seed.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/loop/disk.h"
#include "base/loop/memory_disk.h"
#include "tests/support/random.h"

namespace segue::testing {

class FaultDisk;

/// What may go wrong by chance. Odds are "one in N operations"; 0 is never.
struct FaultOptions {
  uint64_t size_bytes = 0;
  std::chrono::nanoseconds latency_min{std::chrono::microseconds{50}};
  std::chrono::nanoseconds latency_max{std::chrono::microseconds{500}};
  uint64_t error_one_in = 0;      // EIO; a failed write leaves some of its pages written
  uint64_t hang_one_in = 0;       // never completes until release_hung()
  uint64_t misdirect_one_in = 0;  // a write that lands elsewhere and reports success
};

/// Pages of kDiskAlignBytes are written whole or not at all; nothing else is promised.
class Platter {
 public:
  Platter(uint64_t seed, FaultOptions options) : options_(options), random_(seed) {}
  ~Platter();
  Platter(const Platter&) = delete;
  Platter& operator=(const Platter&) = delete;

  /// May be changed at any time; an operation takes its fate when it starts.
  [[nodiscard]] FaultOptions& options() noexcept { return options_; }

  // Plans: `nth` counts operations that start from now on (1 is the next), reads, writes and
  // flushes alike; misdirect_write() counts writes only.
  void fail_operation(uint64_t nth) noexcept { fail_at_ = operations_ + nth; }
  /// From the nth on every operation fails: a drive that dies and stays dead.
  void fail_from_operation(uint64_t nth) noexcept { dead_from_ = operations_ + nth; }
  /// From the nth write on every write fails with ENOSPC and nothing of it is written: the file
  /// system below a sparse drive is full. Reads go on.
  void fill_up_from_write(uint64_t nth) noexcept { full_from_ = writes_ + nth; }
  /// No plan is in force any more: the drive works.
  void heal() noexcept {
    fail_at_ = hang_at_ = misdirect_at_ = dead_from_ = full_from_ = 0;
    lost_ = false;
  }
  void hang_operation(uint64_t nth) noexcept { hang_at_ = operations_ + nth; }
  void misdirect_write(uint64_t nth, uint64_t to_offset) noexcept {
    misdirect_at_ = writes_ + nth;
    misdirect_to_ = to_offset;
  }
  /// A drive pulled and put back: every operation fails with EIO while lost, what was open then
  /// stays dead until it is opened anew, and what was not flushed may be lost as in a crash.
  void set_lost(bool lost);
  /// Bit rot, under the drive's own checks; durable at once.
  void flip_bit(uint64_t offset, uint32_t bit);
  /// Hung operations complete now, as they would have.
  void release_hung();
  /// The machine stops. Of an operation in flight each page is written or not (torn); of a write
  /// completed but not yet flushed likewise, per page; what was flushed stays. Operations in flight
  /// end with EIO, and disks opened before touch the platter no more, so that the node above can
  /// be taken apart in order; open new ones for the restart.
  void crash();

  /// Bytes as a read would see them now.
  void peek(uint64_t offset, std::span<std::byte> into) const noexcept {
    visible_.read(offset, into);
  }
  [[nodiscard]] uint32_t hung() const noexcept;
  [[nodiscard]] uint32_t in_flight() const noexcept {
    return static_cast<uint32_t>(in_flight_.size());
  }
  /// Reads and writes that were in flight at once on the same bytes: somebody reused a place that
  /// is still read, or writes one from two sides. Single pages do not count: a record that is read
  /// while it is written over shows by its checksum.
  [[nodiscard]] uint64_t collisions() const noexcept { return collisions_; }
  [[nodiscard]] uint64_t operations() const noexcept { return operations_; }
  [[nodiscard]] uint64_t writes() const noexcept { return writes_; }
  /// Pages whose newest bytes a crash could still lose.
  [[nodiscard]] uint64_t unflushed_pages() const noexcept { return former_.size(); }

 private:
  friend class FaultDisk;
  struct Operation;
  /// A page as it was before a write that no flush has covered yet.
  struct FormerPage {
    uint64_t written_at;  // sequence of the write that made it; 0: older than every flush
    PageStore::Page bytes;
  };
  struct PageHistory {
    std::vector<FormerPage> former;  // oldest first; the visible page is newer than all
    uint64_t visible_written_at;
  };

  void decide(Operation& operation) noexcept;
  void note_collisions(const Operation& operation) noexcept;
  void lose_unflushed();
  void write_page(uint64_t offset, std::span<const std::byte> bytes);
  void write_pages(const Operation& operation, bool torn);
  /// What completed up to `sequence` is durable.
  void make_durable(uint64_t sequence);

  FaultOptions options_;
  Random random_;
  PageStore visible_;
  std::map<uint64_t, PageHistory> former_;  // by offset; ordered, so that a crash repeats by seed
  std::vector<Operation*> in_flight_;
  uint64_t sequence_ = 0;
  uint64_t epoch_ = 0;  // crashes so far
  uint64_t operations_ = 0;
  uint64_t writes_ = 0;
  uint64_t collisions_ = 0;
  uint64_t fail_at_ = 0;
  uint64_t hang_at_ = 0;
  uint64_t misdirect_at_ = 0;
  uint64_t misdirect_to_ = 0;
  uint64_t dead_from_ = 0;
  uint64_t full_from_ = 0;
  uint32_t pulls_ = 0;
  bool lost_ = false;
};

/// One loop's view of a Platter.
class FaultDisk final : public Disk {
 public:
  FaultDisk(Loop& loop, Platter& platter) noexcept
      : loop_(loop), platter_(platter), epoch_(platter.epoch_), pulls_(platter.pulls_) {}
  ~FaultDisk() override { SEGUE_ASSERT(in_flight_ == 0); }

  [[nodiscard]] Task<Result<Done>> read(uint64_t offset, std::span<std::byte> head,
                                        std::span<std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> write(uint64_t offset, std::span<const std::byte> head,
                                         std::span<const std::byte> body) override;
  [[nodiscard]] Task<Result<Done>> flush() override;
  void close() noexcept override;
  [[nodiscard]] Task<Result<Done>> reopen() override;
  [[nodiscard]] bool is_closed() const noexcept { return closed_; }
  [[nodiscard]] uint64_t size_bytes() const noexcept override {
    return platter_.options_.size_bytes;
  }
  [[nodiscard]] uint32_t in_flight() const noexcept override { return in_flight_; }

 private:
  friend class Platter;
  [[nodiscard]] bool is_alive() const noexcept;
  /// Waits for the latency or the release, and says whether the operation may take effect.
  Task<Result<Done>> pass_time(Platter::Operation& operation);

  Loop& loop_;
  Platter& platter_;
  const uint64_t epoch_;
  uint32_t pulls_;  // of the platter when it was opened
  bool closed_ = false;
  uint32_t in_flight_ = 0;
};

}  // namespace segue::testing
