// edge/metrics/access_record.h - what the access log says of one request, in memory of fixed size.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/loop/clock.h"

namespace segue::edge {

/// A text of at most kBytesMax bytes, kept by value. What is longer is cut and ends in "...".
/// The bytes behind size() are not initialised: a record is filled on the hot path.
template <uint16_t kBytesMax>
class BoundedText {
  static_assert(kBytesMax >= 4);

 public:
  void assign(std::string_view text) noexcept {
    size_ = static_cast<uint16_t>(std::min<size_t>(text.size(), kBytesMax));
    text.copy(bytes_, size_);
    if (text.size() > kBytesMax) std::memcpy(bytes_ + kBytesMax - 3, "...", 3);
  }
  /// Valid until the next assign().
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_, size_}; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

 private:
  uint16_t size_ = 0;
  char bytes_[kBytesMax];
};

/// What the cache did for a request; RFC 9211's words where there is one.
enum class CacheResult : uint8_t {
  None,         // the cache was not asked: refused, preflight, unknown host
  HitRam,       // every byte was in RAM when the head was sent
  HitDrive,     // some came from a drive, none from the origin
  Miss,         // some came from the origin
  Pass,         // not storable: this request's own answer of the origin
  Stale,        // served stale (stale-while-revalidate, stale-if-error)
  Revalidated,  // freshened by a 304 for this request
  Negative,     // a stored 404 or 410
};

/// How a response ended.
enum class AccessEnd : uint8_t {
  Complete,  // every byte was handed to the client's socket
  Cut,       // we could not complete it and closed the connection
  Gone,      // the client went away, or took no byte for too long
  Refused,   // the request was malformed or over a limit
};

/// The words in the log and in metrics labels: lower case, no spaces.
[[nodiscard]] std::string_view name_of(CacheResult result) noexcept;
[[nodiscard]] std::string_view name_of(AccessEnd end) noexcept;

/// What the request came over.
enum class Protocol : uint8_t { Http1, Http2 };
[[nodiscard]] std::string_view name_of(Protocol protocol) noexcept;

/// Trivially copyable; submit() copies it. Never holds a token: `path` is the canonical path
/// without the query.
struct AccessRecord {
  WallTime time{};                          // when its head had been read
  std::chrono::nanoseconds first_byte{-1};  // from then to the first byte sent; negative: none was
  std::chrono::nanoseconds duration{0};
  std::chrono::nanoseconds origin{
      -1};                   // waited for the origin's header; negative: it was not asked
  uint64_t bytes_sent = 0;   // of the body
  uint64_t bytes_total = 0;  // of the body, as announced; 0 where unknown or none
  // Of a single range of a stored representation; both 0 where there is none.
  uint64_t first_position = 0;
  uint64_t complete_length = 0;
  uint32_t slices_hit = 0;
  uint32_t slices_needed = 0;
  int status = 0;
  bool is_preload = false;  // the client says that nobody plays it yet (Sec-Purpose)
  CacheResult cache = CacheResult::None;
  AccessEnd end = AccessEnd::Complete;
  Protocol protocol = Protocol::Http1;
  /// Why it was no hit ("uri-miss", "stale", ...) or was refused ("bare_lf", ...); points to static
  /// storage.
  std::string_view reason;
  BoundedText<64> site;
  BoundedText<46> client;  // INET6_ADDRSTRLEN: an address without port, or "unix"
  BoundedText<16> method;
  BoundedText<512> path;
  BoundedText<64> range;
  BoundedText<128> user_agent;
  BoundedText<32> request_id;  // the trace id: 32 hex digits
};
static_assert(std::is_trivially_copyable_v<AccessRecord>);
static_assert(sizeof(AccessRecord) <= 1024);

}  // namespace segue::edge
