// edge/delivery/send.h - moves a response's bytes from pinned buffers, or from the origin, to the
// client's stream.
#pragma once
#include <sys/uio.h>

#include <array>
#include <optional>
#include <string_view>

#include "base/socket_limits.h"
#include "edge/delivery/exchange.h"
#include "http/multipart.h"

namespace segue::edge {

/// The resident bytes at the front of a range, at most as many as the stream is to be offered at
/// once (Stream::batch_bytes()), pinned. A local of a plain function or of a block without a wait:
/// never kept while a client is waited for.
class ResidentBatch {
 public:
  /// Cannot wait, cannot allocate. bytes() is 0 when the first byte of the range is not in RAM.
  ResidentBatch(RangeReader& reader, ByteRange range, uint64_t bytes_max) noexcept;
  [[nodiscard]] std::span<const iovec> parts() const noexcept { return {parts_.data(), count_}; }
  [[nodiscard]] uint64_t bytes() const noexcept { return bytes_; }
  /// Adds the first `sent` bytes of the batch to the tiers they came from.
  void count_sent(uint64_t sent, uint64_t (&bytes_by_tier)[kTiers]) const noexcept;

 private:
  // kWideBatchBytes from any offset touch at most three slices.
  static constexpr uint32_t kPartsMax = 3;
  static_assert(kWriteBatchBytes <= kSliceBytes);
  static_assert(kWideBatchBytes <= 2 * kSliceBytes);
  std::array<std::optional<RangeReader::Readable>, kPartsMax> pinned_;
  std::array<iovec, kPartsMax> parts_;
  uint32_t count_ = 0;
  uint64_t bytes_ = 0;
};

[[nodiscard]] Tier tier_of(cache::Where where) noexcept;

/// Hands the head (once) and `body` to the stream: one writev. Returns the body bytes taken. Keeps
/// the record's times and counts.
[[nodiscard]] Result<size_t> send_now(Exchange& exchange, std::span<const iovec> body,
                                      MonoTime now) noexcept;

/// Sends `range` of the selected generation. Waits for: SSD, origin (behind a fill), client. No pin
/// is held while waiting for the client. RFC 9110 §14.2. An error before exchange.head_sent can
/// still be answered; after it the response is cut.
[[nodiscard]] Task<Result<Done>> send_range(Scope& scope, Exchange& exchange, ByteRange range);
/// Sends multipart/byteranges: part heads and parts as exchange.plan has them. `boundary` and the
/// head were prepared by the caller.
[[nodiscard]] Task<Result<Done>> send_multipart(Scope& scope, Fills& fills, Exchange& exchange,
                                                const http::MultipartLayout& layout);
/// Streams `range` of the pass's body (bytes before it are read and dropped; an end of UINT64_MAX:
/// to its end).
[[nodiscard]] Task<Result<Done>> send_pass(Scope& scope, Exchange& exchange, ByteRange range);
/// Sends a text of ours (error bodies, part heads). `text` outlives the task.
[[nodiscard]] Task<Result<Done>> send_text(Exchange& exchange, std::string_view text);
/// Waits until the stream has taken all it was given.
[[nodiscard]] Task<Result<Done>> flush(Exchange& exchange);

}  // namespace segue::edge
