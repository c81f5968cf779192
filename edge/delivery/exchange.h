// edge/delivery/exchange.h - one request and its response: all the memory it needs, in one piece
// from a per-loop slab.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/limits.h"
#include "base/loop/task.h"
#include "edge/access/guest.h"
#include "edge/delivery/plan.h"
#include "edge/delivery/stream.h"
#include "edge/delivery/trace_context.h"
#include "edge/fill/fills.h"
#include "edge/metrics/access_log.h"
#include "http/range.h"
#include "http/request_parser.h"

namespace segue::edge {

/// Room for the few texts a response needs: canonical target, key, Content-Range, Cache-Status,
/// dates. Bump allocation, no free.
class Arena {
 public:
  /// Room for `bytes` or an empty span when the arena is full (the caller answers 431/414 or leaves
  /// the field out).
  [[nodiscard]] std::span<char> take(size_t bytes) noexcept {
    if (bytes > memory_.size() - used_) return {};
    std::span<char> room = std::span(memory_).subspan(used_, bytes);
    used_ += bytes;
    return room;
  }
  /// Gives back the unused end of the latest take().
  void shrink(std::span<char> taken, size_t kept) noexcept { used_ -= taken.size() - kept; }
  void clear() noexcept { used_ = 0; }

 private:
  std::array<char, 3 * kKeyBytesMax + 2048> memory_;
  size_t used_ = 0;
};

/// Who asks, as the listener knows it. Constant per connection.
struct Client {
  std::string_view
      address;  // "203.0.113.7", "2001:db8::1" or "unix"; valid while the connection lives
  uint64_t address_hash = 0;  // for use ids: never leaves the process
  bool tls = false;
  uint64_t network = 0;    // whom limits are for: the address, IPv6 its /64; 0: nobody
  Guest* guest = nullptr;  // of the connection; null: nothing is remembered of it
  bool http2 = false;
};

/// A request that is answered without asking the cache. `reason` is a stable word for the log and
/// for metrics.
struct Refusal {
  int status = 400;
  std::string_view reason;
};

struct SiteSnapshot;  // delivery.cc

/// Where the bytes of a response came from.
enum class Tier : uint8_t { Ram, Drive, Origin, Pass };
inline constexpr uint32_t kTiers = 4;

/// Taken from the connection's loop's slab for the time of one request; an idle connection holds
/// none. Loop-owned.
struct Exchange {
  Exchange(Stream& client_stream, const Client& who, const http::Request& parsed) noexcept
      : stream(client_stream), client(who), request(parsed) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  Stream& stream;
  const Client& client;
  const http::Request&
      request;  // views into the connection's read buffer, which stays put until finished()
  std::string_view body;  // of the request, where the site relays its method; likewise
  Signal signal;          // raised by the stream (writable, gone) and by whatever was waited for
  MonoTime started{};
  MonoTime first_byte_deadline = kNever;
  std::chrono::nanoseconds first_64k{-1};  // negative: not reached
  Arena arena;
  SiteSnapshot* sites = nullptr;  // the site rules this request began with
  Asked asked;
  Selection selection;
  ResponseHead head;
  bool head_offered = false;  // to the stream: from here on the client is waited for
  bool head_sent = false;     // and taken by it: from here on a failure cuts
  http::ParsedRange ranges;   // as asked; Absent when there is none
  Plan plan;
  std::optional<RangeReader> reader;
  uint64_t preview_bytes = UINT64_MAX;  // as far as the token lets read
  uint32_t retry_after = 1;             // seconds, of a 429
  uint32_t token_changes = 0;           // of the guest, when it was let in
  std::string_view token_id;  // whom its token names; valid until the connection's next check
  uint64_t listener = 0, session = 0;  // as the planner was told (AskedNote); 0: it was not
  Refusal refusal{0, {}};  // with a status: what a failure before the head is answered as
  uint64_t bytes_by_tier[kTiers] = {};
  AccessRecord record;
  std::array<char, kTraceparentBytes + 1> traceparent{};
};

}  // namespace segue::edge
