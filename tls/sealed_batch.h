// tls/sealed_batch.h - the buffers that sealed records wait in until the socket has taken them.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/assert.h"
#include "base/counter.h"
#include "base/sanitizer.h"
#include "base/units.h"

namespace segue::tls {

/// Bytes of plaintext that one batch holds: one writev each.
inline constexpr size_t kBatchBytes = 64 * KiB;
/// So few sealed bytes that the socket left are moved out of their batch, which goes back: who
/// seals no more than the socket has room for (edge/server/wire.h) leaves no more than these, and a
/// client that pauses holds them for minutes.
inline constexpr size_t kRestBytesMax = 5 * KiB;
inline constexpr size_t kRecordBytesMax = 16 * KiB;  // RFC 8446 §5.1
/// What a record adds at most: its header, TLS 1.2's nonce, the tag, TLS 1.3's type byte.
inline constexpr size_t kRecordOverheadBytesMax = 5 + 8 + 16 + 1;

struct SealedBatch {
  // Beside a batch: the overhead of its records, and what a handshake left behind (tickets).
  static constexpr size_t kBytes = kBatchBytes + 6 * KiB;
  size_t begin = 0;
  size_t end = 0;
  std::array<std::byte, kBytes> bytes;  // not initialised
};

/// Loop-owned; shared by the sessions of one loop and outlives them. At most `batches_max` are out,
/// which bounds what clients that stop reading can hold.
class SealedPool {
 public:
  explicit SealedPool(uint32_t batches_max) : batches_max_(batches_max) {}
  SealedPool(const SealedPool&) = delete;
  SealedPool& operator=(const SealedPool&) = delete;
  ~SealedPool() { SEGUE_ASSERT(in_use_.get() == 0); }

  /// Null when all are out.
  [[nodiscard]] SealedBatch* take() {
    if (in_use_.get() >= batches_max_) {
      spent_.add();
      return nullptr;
    }
    in_use_.add();
    if (free_.empty()) return new SealedBatch;
    SealedBatch* batch = free_.back().release();
    free_.pop_back();
    batch->begin = batch->end = 0;
    return batch;
  }
  void give_back(SealedBatch* batch) {
    in_use_.sub();
    std::unique_ptr<SealedBatch> owned(batch);
    if (!kSanitized && free_.size() < kKeptMax) free_.push_back(std::move(owned));
  }

  /// Any thread.
  [[nodiscard]] const Counter& in_use() const noexcept { return in_use_; }
  /// Times a batch was asked for and none was left.
  [[nodiscard]] const Counter& spent() const noexcept { return spent_; }

  /// Where pieces of plaintext are joined into one small record; used within one call.
  static constexpr size_t kJoinBytes = 8 * KiB;
  [[nodiscard]] std::span<std::byte, kJoinBytes> join_room() noexcept { return join_; }

 private:
  static constexpr size_t kKeptMax = 64;
  const uint32_t batches_max_;
  std::vector<std::unique_ptr<SealedBatch>> free_;
  Counter in_use_;
  Counter spent_;
  std::array<std::byte, kJoinBytes> join_;  // not initialised
};

}  // namespace segue::tls
