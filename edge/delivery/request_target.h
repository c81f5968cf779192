// edge/delivery/request_target.h - from what the client wrote to what is asked of the cache: site,
// canonical target, key, first range.
#pragma once
#include <optional>

#include "base/loop/clock.h"
#include "cache/store.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/site_table.h"
#include "http/range.h"

namespace segue::edge {

/// A request that is answered without asking the cache. `reason` is a stable word for the log and
/// for metrics.
struct Refusal {
  int status = 400;
  std::string_view reason;
};

/// Fills in exchange.asked (all but the pass of selection): canonical target in the exchange's
/// arena, key text and hash, use id, range form. One canonical form serves key, checks and origin
/// alike (ARCHITECTURE.md, the life of a request). Cannot wait, cannot allocate. Refusals: 400
/// bad_target, 414 target_too_long, 421 unknown_host.
[[nodiscard]] std::optional<Refusal> resolve_target(Exchange& exchange, const SiteTable& sites,
                                                    const cache::Store& store,
                                                    WallTime now) noexcept;

/// The canonical target of `origin_form` for `site`, and the key text in front of it, written into
/// `out`: "<site><path>[?query]". For purge and explain as well, so that an operator's URL finds
/// the same key. Errors as http::canonicalize.
struct KeyText {
  std::string_view key_text;
  std::string_view target;  // its tail: what goes to the origin
};
[[nodiscard]] Result<KeyText> write_key_text(const Site& site, std::string_view origin_form,
                                             std::span<char> scratch, std::span<char> out) noexcept;

}  // namespace segue::edge
