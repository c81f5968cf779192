// edge/server/h2_memory.h - what nghttp2 allocates for one connection, counted and bounded.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>

#include "base/counter.h"
#include "base/limits_http2.h"

namespace segue::edge {

/// Bytes. A connection within the fair share always gets what it asks for; beyond it as long as the
/// loop's connections together hold less than `total_max`, and never more than `of_one_max`.
struct Http2MemoryBounds {
  size_t of_one_max = kHttp2MemoryBytesMax;
  size_t fair_share = kHttp2MemoryFairBytes;
  size_t total_max = SIZE_MAX;
};

/// Loop-owned; outlives the connection's nghttp2_session. Over the bounds an allocation fails,
/// which ends that connection.
class Http2Memory {
 public:
  /// `total`: the sum of the loop.
  Http2Memory(Http2MemoryBounds bounds, Counter& total) noexcept;
  ~Http2Memory();
  Http2Memory(const Http2Memory&) = delete;
  Http2Memory& operator=(const Http2Memory&) = delete;

  [[nodiscard]] nghttp2_mem* functions() noexcept { return &functions_; }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] size_t bytes_peak() const noexcept { return bytes_peak_; }
  /// An allocation was refused, by the bounds or by the machine.
  [[nodiscard]] bool spent() const noexcept { return spent_; }

 private:
  [[nodiscard]] bool allows(size_t bytes, size_t instead_of) const noexcept;
  [[nodiscard]] void* resize(void* memory, size_t bytes) noexcept;

  const Http2MemoryBounds bounds_;
  Counter& total_;
  size_t bytes_ = 0;
  size_t bytes_peak_ = 0;
  bool spent_ = false;
  nghttp2_mem functions_;
};

}  // namespace segue::edge
