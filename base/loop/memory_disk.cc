#include "base/loop/memory_disk.h"

#include <algorithm>
#include <cerrno>

namespace segue {
namespace {

[[nodiscard]] bool aligned(uint64_t number) { return number % kDiskAlignBytes == 0; }

}  // namespace

void PageStore::read(uint64_t offset, std::span<std::byte> into) const noexcept {
  SEGUE_ASSERT(aligned(offset));
  SEGUE_ASSERT(aligned(into.size()));
  for (; !into.empty(); into = into.subspan(kDiskAlignBytes), offset += kDiskAlignBytes) {
    const auto found = pages_.find(offset);
    const auto page = into.first(kDiskAlignBytes);
    if (found == pages_.end()) {
      std::ranges::fill(page, std::byte{});
    } else {
      std::ranges::copy(*found->second, page.begin());
    }
  }
}

void PageStore::write(uint64_t offset, std::span<const std::byte> bytes) {
  SEGUE_ASSERT(aligned(offset));
  SEGUE_ASSERT(aligned(bytes.size()));
  for (; !bytes.empty(); bytes = bytes.subspan(kDiskAlignBytes), offset += kDiskAlignBytes) {
    auto& page = pages_[offset];
    if (page == nullptr) page = std::make_unique<Page>();
    std::ranges::copy(bytes.first(kDiskAlignBytes), page->begin());
  }
}

void PageStore::erase(uint64_t offset, uint64_t bytes) noexcept {
  SEGUE_ASSERT(aligned(offset));
  SEGUE_ASSERT(aligned(bytes));
  for (uint64_t at = offset; at < offset + bytes; at += kDiskAlignBytes) pages_.erase(at);
}

std::byte* PageStore::find(uint64_t offset) noexcept {
  const auto found = pages_.find(offset);
  return found == pages_.end() ? nullptr : found->second->data();
}

/// Counts one operation while it lives.
class MemoryDisk::InFlight {
 public:
  explicit InFlight(MemoryDisk& disk) noexcept
      : disk_(disk.in_flight_ < kDriveOpsInFlightMax ? &disk : nullptr) {
    if (disk_ != nullptr) ++disk_->in_flight_;
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  ~InFlight() {
    if (disk_ != nullptr) --disk_->in_flight_;
  }
  explicit operator bool() const noexcept { return disk_ != nullptr; }

 private:
  MemoryDisk* disk_;
};

bool MemoryDisk::beyond_end(uint64_t offset, uint64_t bytes) const noexcept {
  return offset > options_.size_bytes || bytes > options_.size_bytes - offset;
}

Task<Result<Done>> MemoryDisk::read(uint64_t offset, std::span<std::byte> head,
                                    std::span<std::byte> body) {
  SEGUE_ASSERT(Loop::current() == &loop_);
  const InFlight operation(*this);
  if (!operation) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive read");
  co_await sleep_for(options_.read_latency);
  if (beyond_end(offset, head.size() + body.size())) {
    co_return fail(Side::Disk, Kind::IoError, "drive read");
  }
  pages_.read(offset, head);
  pages_.read(offset + head.size(), body);
  co_return Done{};
}

Task<Result<Done>> MemoryDisk::write(uint64_t offset, std::span<const std::byte> head,
                                     std::span<const std::byte> body) {
  SEGUE_ASSERT(Loop::current() == &loop_);
  const InFlight operation(*this);
  if (!operation) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive write");
  co_await sleep_for(options_.write_latency);
  if (beyond_end(offset, head.size() + body.size())) {
    co_return fail(Side::Disk, Kind::IoError, "drive write", ENOSPC);
  }
  pages_.write(offset, head);
  if (options_.keep_payload || head.empty()) {
    pages_.write(offset + head.size(), body);
  } else {
    pages_.erase(offset + head.size(), body.size());
  }
  co_return Done{};
}

Task<Result<Done>> MemoryDisk::flush() {
  const InFlight operation(*this);
  if (!operation) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive flush");
  co_await sleep_for(options_.flush_latency);
  co_return Done{};
}

Task<Result<Done>> MemoryDisk::reopen() { co_return Done{}; }

}  // namespace segue
