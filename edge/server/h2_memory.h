// edge/server/h2_memory.h - what nghttp2 allocates for one connection, counted and bounded.
#pragma once
#include <nghttp2/nghttp2.h>

#include <cstddef>

#include "base/counter.h"

namespace segue::edge {

/// Loop-owned; outlives the connection's nghttp2_session. Over the bound an allocation fails, which
/// ends that connection.
class Http2Memory {
 public:
  /// `total`: the sum of the loop, for the metric.
  Http2Memory(size_t bytes_max, Counter& total) noexcept;
  ~Http2Memory();
  Http2Memory(const Http2Memory&) = delete;
  Http2Memory& operator=(const Http2Memory&) = delete;

  [[nodiscard]] nghttp2_mem* functions() noexcept { return &functions_; }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] size_t bytes_peak() const noexcept { return bytes_peak_; }
  /// An allocation was refused.
  [[nodiscard]] bool spent() const noexcept { return spent_; }

 private:
  [[nodiscard]] void* resize(void* memory, size_t bytes) noexcept;

  const size_t bytes_max_;
  Counter& total_;
  size_t bytes_ = 0;
  size_t bytes_peak_ = 0;
  bool spent_ = false;
  nghttp2_mem functions_;
};

}  // namespace segue::edge
