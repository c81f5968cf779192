// edge/delivery/respond.h - response heads, and the one place that maps errors to the wire.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/plan.h"
#include "edge/delivery/site_table.h"

namespace segue::edge {

/// The fields that every response of one site carries, rendered once.
struct SiteFields {
  http::OwnedFields fields;
  std::string http1_block;
  std::string allow;                // methods served and relayed
  std::vector<std::string> cors;    // listed origins, of which each is told its own; else empty
  std::string cors_request_fields;  // what scripts may send
  bool cors_credentials = false;    // tokens in cookies, for origins that are named
  std::vector<std::string> hidden;  // Site::hidden_fields()
  SiteFields(const Site& site, std::string_view node_name);
};

/// The status for a failure before the head was sent: Origin+Timeout -> 504, Origin+* -> 502,
/// Overloaded -> 503, the client's own -> 400. After the head there is no status any more: the
/// connection is cut, never padded.
[[nodiscard]] int status_of(const Error& error) noexcept;

/// What the head says of the slices of the range (Cache-Status, log).
struct SliceCounts {
  uint32_t hit = 0;
  uint32_t needed = 0;
};

/// Writes exchange.head for `plan` of the selected stored response: stored fields, Age,
/// Content-Range, Cache-Status, Content-Length. Texts go to the exchange's arena. For multipart the
/// caller sets type and length afterwards. Cannot wait, cannot allocate.
void write_stored_head(Exchange& exchange, const Plan& plan, const SiteFields& site,
                       std::string_view node_name, SliceCounts slices, WallTime now) noexcept;

/// Writes exchange.head for a response that is passed through as the origin gave it. `status`,
/// `length` and `content_range` may differ from the origin's where a range is cut out of a 200.
void write_pass_head(Exchange& exchange, const SiteFields& site, std::string_view node_name,
                     int status, std::optional<uint64_t> length, std::optional<ByteRange> range_of,
                     std::optional<uint64_t> complete_length) noexcept;

/// Writes exchange.head for an answer of our own and returns its short text body (in the arena;
/// empty for HEAD). `site` may be null.
[[nodiscard]] std::string_view write_own_head(Exchange& exchange, const SiteFields* site,
                                              std::string_view node_name, int status,
                                              std::string_view reason) noexcept;

/// Writes exchange.head for OPTIONS: the CORS preflight answer (Fetch standard), or 204 with Allow.
void write_options_head(Exchange& exchange, const SiteFields& site) noexcept;

}  // namespace segue::edge
