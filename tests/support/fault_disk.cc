#include "tests/support/fault_disk.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/limits.h"
#include "base/units.h"

namespace segue::testing {

/// One operation in flight; in the frame of its coroutine.
struct Platter::Operation {
  explicit Operation(FaultDisk& on) : disk(on) {
    if (on.in_flight_ == kDriveOpsInFlightMax) return;
    accepted = true;
    ++on.in_flight_;
    on.platter_.in_flight_.push_back(this);
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() {
    if (!accepted) return;
    --disk.in_flight_;
    std::erase(disk.platter_.in_flight_, this);
  }
  void wake() {
    const Loop::Turn turn(disk.loop_);
    released.raise();
  }

  FaultDisk& disk;
  bool accepted = false;
  bool fails = false;
  bool untouched = false;  // where it fails, nothing of a write is written
  int os_errno = EIO;
  bool hangs = false;
  bool crashed = false;
  bool is_write = false;
  uint64_t offset = 0;
  uint64_t asked_offset = 0;  // before misdirection
  uint64_t bytes = 0;
  std::array<std::span<const std::byte>, 2> pieces;  // of a write
  Signal released;
};

Platter::~Platter() { SEGUE_ASSERT(in_flight_.empty()); }

void Platter::note_collisions(const Operation& operation) noexcept {
  if (operation.bytes <= kDiskAlignBytes) return;
  for (const Operation* other : in_flight_) {
    if (other == &operation || other->crashed || other->disk.epoch_ != epoch_) continue;
    if (!other->is_write && !operation.is_write) continue;
    if (other->asked_offset < operation.asked_offset + operation.bytes &&
        operation.asked_offset < other->asked_offset + other->bytes)
      ++collisions_;
  }
}

void Platter::decide(Operation& operation) noexcept {
  ++operations_;
  operation.fails = operations_ == fail_at_ || random_.one_in(options_.error_one_in);
  if (dead_from_ != 0 && operations_ >= dead_from_) operation.fails = operation.untouched = true;
  operation.hangs = operations_ == hang_at_ || random_.one_in(options_.hang_one_in);
  if (!operation.is_write) return;
  ++writes_;
  if (full_from_ != 0 && writes_ >= full_from_) {
    operation.fails = operation.untouched = true;
    operation.os_errno = ENOSPC;
  }
  if (writes_ == misdirect_at_) {
    operation.offset = misdirect_to_;
  } else if (random_.one_in(options_.misdirect_one_in)) {
    const uint64_t last = (options_.size_bytes - operation.bytes) / kDiskAlignBytes;
    operation.offset = random_.between(0, last) * kDiskAlignBytes;
  }
}

void Platter::write_page(uint64_t offset, std::span<const std::byte> bytes) {
  auto [entry, is_new] = former_.try_emplace(offset);
  PageHistory& history = entry->second;
  FormerPage before{is_new ? 0 : history.visible_written_at, {}};
  visible_.read(offset, before.bytes);
  history.former.push_back(before);
  history.visible_written_at = ++sequence_;
  visible_.write(offset, bytes);
}

void Platter::write_pages(const Operation& operation, bool torn) {
  uint64_t offset = operation.offset;
  for (std::span<const std::byte> piece : operation.pieces) {
    for (; !piece.empty(); piece = piece.subspan(kDiskAlignBytes), offset += kDiskAlignBytes) {
      if (torn && random_.one_in(2)) continue;
      write_page(offset, piece.first(kDiskAlignBytes));
    }
  }
}

void Platter::make_durable(uint64_t sequence) {
  for (auto entry = former_.begin(); entry != former_.end();) {
    PageHistory& history = entry->second;
    if (history.visible_written_at <= sequence) {
      entry = former_.erase(entry);
      continue;
    }
    // The newest version that the flush covers is the oldest a crash can bring back. None is left
    // when a later flush has overtaken this one.
    auto oldest = std::ranges::find_if(
        history.former, [&](const FormerPage& page) { return page.written_at > sequence; });
    if (oldest != history.former.begin()) {
      history.former.erase(history.former.begin(), oldest - 1);
    }
    ++entry;
  }
}

void Platter::flip_bit(uint64_t offset, uint32_t bit) {
  const uint64_t page = round_down(offset, kDiskAlignBytes);
  const auto flipped = static_cast<std::byte>(1U << (bit % 8));
  if (visible_.find(page) == nullptr) visible_.write(page, PageStore::Page{});
  visible_.find(page)[offset - page] ^= flipped;
  if (const auto entry = former_.find(page); entry != former_.end()) {
    for (FormerPage& former : entry->second.former) former.bytes[offset - page] ^= flipped;
  }
}

uint32_t Platter::hung() const noexcept {
  return static_cast<uint32_t>(std::ranges::count_if(
      in_flight_, [](const Operation* operation) { return operation->hangs; }));
}

void Platter::release_hung() {
  for (Operation* operation : in_flight_) {
    if (!operation->hangs) continue;
    operation->hangs = false;
    operation->wake();
  }
}

void Platter::crash() {
  ++epoch_;
  for (Operation* operation : in_flight_) {
    // A disk from before an earlier crash touches the platter no more.
    const bool attached = operation->disk.epoch_ + 1 == epoch_ && !lost_;
    if (operation->is_write && attached) write_pages(*operation, /*torn=*/true);
    operation->crashed = true;
    operation->wake();
  }
  lose_unflushed();
}

void Platter::lose_unflushed() {
  for (auto& [offset, history] : former_) {
    const uint64_t version = random_.below(history.former.size() + 1);
    if (version == history.former.size()) continue;  // the newest made it to the platter
    visible_.write(offset, history.former[version].bytes);
  }
  former_.clear();
}

void Platter::set_lost(bool lost) {
  if (lost == lost_) return;
  lost_ = lost;
  if (!lost) return;
  ++pulls_;
  for (const Operation* operation : in_flight_) {
    if (operation->is_write && operation->disk.epoch_ == epoch_) write_pages(*operation, true);
  }
  lose_unflushed();
}

Task<Result<Done>> FaultDisk::pass_time(Platter::Operation& operation) {
  SEGUE_ASSERT(Loop::current() == &loop_);
  if (!operation.accepted) co_return fail_retryable(Side::Self, Kind::Overloaded, "drive");
  const FaultOptions& options = platter_.options_;
  operation.asked_offset = operation.offset;
  platter_.note_collisions(operation);
  if (operation.bytes > options.size_bytes ||
      operation.offset > options.size_bytes - operation.bytes) {
    operation.fails = true;
    operation.pieces = {};
  } else {
    platter_.decide(operation);
  }
  const auto latency = std::chrono::nanoseconds{
      platter_.random_.between(static_cast<uint64_t>(options.latency_min.count()),
                               static_cast<uint64_t>(options.latency_max.count()))};
  if (operation.hangs) {
    while (operation.hangs && !operation.crashed) (void)co_await operation.released.wait(kNever);
  } else {
    (void)co_await operation.released.wait(loop_.now() + latency);  // raised only by a crash
  }
  if (operation.crashed || !is_alive()) {
    co_return fail(Side::Disk, Kind::IoError, "drive", EIO);
  }
  if (operation.fails) {
    if (operation.is_write && !operation.untouched) platter_.write_pages(operation, /*torn=*/true);
    co_return fail(Side::Disk, Kind::IoError, "drive", operation.os_errno);
  }
  co_return Done{};
}

bool FaultDisk::is_alive() const noexcept {
  return !closed_ && epoch_ == platter_.epoch_ && pulls_ == platter_.pulls_ && !platter_.lost_;
}

void FaultDisk::close() noexcept {
  SEGUE_ASSERT(in_flight_ == 0);
  closed_ = true;
}

Task<Result<Done>> FaultDisk::reopen() {
  SEGUE_ASSERT(in_flight_ == 0);
  if (platter_.lost_ || epoch_ != platter_.epoch_) {
    closed_ = true;
    co_return fail(Side::Disk, Kind::IoError, "drive open", ENOENT);
  }
  pulls_ = platter_.pulls_;
  closed_ = false;
  co_return Done{};
}

Task<Result<Done>> FaultDisk::read(uint64_t offset, std::span<std::byte> head,
                                   std::span<std::byte> body) {
  Platter::Operation operation(*this);
  operation.offset = offset;
  operation.bytes = head.size() + body.size();
  auto passed = co_await pass_time(operation);
  if (!passed) {
    // What a failed read leaves in the buffer is nobody's business; garbage shows who looks at it.
    if (operation.accepted) platter_.random_.fill(head);
    co_return fail(passed.error());
  }
  platter_.visible_.read(offset, head);
  platter_.visible_.read(offset + head.size(), body);
  co_return Done{};
}

Task<Result<Done>> FaultDisk::write(uint64_t offset, std::span<const std::byte> head,
                                    std::span<const std::byte> body) {
  Platter::Operation operation(*this);
  operation.is_write = true;
  operation.offset = offset;
  operation.bytes = head.size() + body.size();
  operation.pieces = {head, body};
  auto passed = co_await pass_time(operation);
  if (!passed) co_return fail(passed.error());
  platter_.write_pages(operation, /*torn=*/false);
  co_return Done{};
}

Task<Result<Done>> FaultDisk::flush() {
  Platter::Operation operation(*this);
  // A write that completes while the flush runs may have come too late for it.
  const uint64_t completed_before = platter_.sequence_;
  auto passed = co_await pass_time(operation);
  if (!passed) co_return fail(passed.error());
  platter_.make_durable(completed_before);
  co_return Done{};
}

}  // namespace segue::testing
