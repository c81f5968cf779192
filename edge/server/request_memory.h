// edge/server/request_memory.h - what one HTTP/1.1 connection needs while a request is under way:
// the read buffer and the parser. An idle connection holds none.
#pragma once
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/units.h"
#include "edge/server/memory_pool.h"
#include "http/chunked.h"
#include "http/request_parser.h"

namespace segue::edge {

/// Holds nearly every request head; a longer one moves to a LargeReadBuffer.
inline constexpr size_t kReadBufferBytes = 4 * KiB;

/// Holds the longest request head the parser takes and a piece of body behind it, so it never needs
/// to grow.
struct LargeReadBuffer {
  std::array<char, http::kRequestHeadBytesMax + kReadBufferBytes> bytes;  // not initialised
};

/// Loop-owned. Holds the bytes from the first one of the current request on: its head, then what
/// came behind it (its body, pipelined requests).
class RequestMemory {
 public:
  explicit RequestMemory(ObjectPool<LargeReadBuffer>& large_buffers) noexcept
      : large_buffers_(large_buffers) {}
  RequestMemory(const RequestMemory&) = delete;
  RequestMemory& operator=(const RequestMemory&) = delete;
  ~RequestMemory() {
    if (large_ != nullptr) large_buffers_.destroy(large_);
  }

  http::RequestParser parser;
  /// Of a request body that is skipped or collected.
  std::optional<http::ChunkedDecoder> chunked;
  uint64_t body_left = 0;  // Body::Length: bytes not yet read
  std::string body;        // collected where the handler wants bodies; else empty

  /// Where the next bytes from the socket go; empty if the buffer is full. Valid until grow() or
  /// drop().
  [[nodiscard]] std::span<char> room() noexcept { return memory().subspan(used_); }
  void received(size_t bytes) noexcept { used_ += bytes; }
  /// Everything received and not yet dropped; `from` bytes into it.
  [[nodiscard]] std::span<const char> bytes(size_t from = 0) noexcept {
    return memory().subspan(from, used_ - from);
  }
  [[nodiscard]] size_t used() const noexcept { return used_; }
  /// Moves to a large buffer; false if this is one already. Views of the parser are then invalid
  /// until it is called again.
  [[nodiscard]] bool grow() {
    if (large_ != nullptr) return false;
    large_ = large_buffers_.make();
    std::memcpy(large_->bytes.data(), small_.data(), used_);
    return true;
  }
  /// Drops `count` bytes from `from` on; what came behind them moves up.
  void drop(size_t from, size_t count) noexcept {
    used_ -= count;
    if (used_ == from || count == 0) return;
    std::memmove(memory().data() + from, memory().data() + from + count, used_ - from);
  }

 private:
  [[nodiscard]] std::span<char> memory() noexcept {
    return large_ != nullptr ? std::span<char>(large_->bytes) : std::span<char>(small_);
  }

  ObjectPool<LargeReadBuffer>& large_buffers_;
  LargeReadBuffer* large_ = nullptr;
  size_t used_ = 0;
  std::array<char, kReadBufferBytes> small_;  // not initialised
};

}  // namespace segue::edge
