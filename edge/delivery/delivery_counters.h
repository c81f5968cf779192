// edge/delivery/delivery_counters.h - what became of the requests of one loop, and how one finished
// request is told: its cache result, why the origin was asked.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "base/counter.h"
#include "edge/metrics/access_record.h"
#include "edge/metrics/latency_histogram.h"
#include "http/cache_status.h"

namespace segue::edge {

struct Exchange;

/// Why a request got a short answer of ours: words of Delivery and names of error kinds. The last
/// one takes what has no word here (heads that the parser refused are counted by status besides).
inline constexpr std::array<std::string_view, 29> kRefusals{
    "unknown_host",  "bad_target",     "target_too_long", "method",        "loop",
    "overloaded",    "timeout",        "closed",          "refused",       "unreachable",
    "malformed",     "mismatch",       "unsupported",     "io_error",      "token_missing",
    "token_doubled", "token_too_long", "token_malformed", "token_key",     "token_signature",
    "token_path",    "token_address",  "token_early",     "token_expired", "token_unsupported",
    "preview_over",  "limit_requests", "limit_misses",    "other"};

/// What became of the requests of one loop; exported as segue_requests_total{outcome} and the like.
struct DeliveryCounters {
  Counter hit_ram, hit_drive, miss, pass, stale, revalidated, negative;
  std::array<Counter, http::kForwardReasons> forwarded;  // to the origin, by why (RFC 9211 §2.2)
  std::array<Counter, kRefusals.size()> refused;
  Counter bytes_ram, bytes_drive, bytes_origin, bytes_pass;
  Counter status_2xx, status_3xx, status_4xx, status_5xx;
  Counter cut, client_gone, in_flight;
  LatencyHistogram first_byte, first_64k;

  /// A short answer of ours for `reason` (a word of kRefusals or of another list).
  void count_refused(std::string_view reason) noexcept;
  /// A request that has ended: its record is complete.
  void count(const Exchange& exchange) noexcept;
};

/// Where the answer came from, as the log and the metrics name it.
[[nodiscard]] CacheResult cache_result_of(const Exchange& exchange) noexcept;
/// Why the origin was asked for this answer, or a part of it; nothing if it was not.
[[nodiscard]] std::optional<http::ForwardReason> forwarded_because(
    const Exchange& exchange) noexcept;

}  // namespace segue::edge
