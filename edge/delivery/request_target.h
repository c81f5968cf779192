// edge/delivery/request_target.h - from what the client wrote to what is asked of the cache: site,
// canonical target, key, first range.
#pragma once
#include <optional>

#include "base/loop/clock.h"
#include "cache/store.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/site_table.h"
#include "edge/fill/key_text.h"
#include "http/range.h"

namespace segue::edge {

/// Fills in exchange.asked (all but the pass of selection): canonical target in the exchange's
/// arena, key text and hash, use id, range form. One canonical form serves key, checks and origin
/// alike (ARCHITECTURE.md, the life of a request). Cannot wait, cannot allocate. Refusals: 400
/// bad_target, 414 target_too_long, 421 unknown_host.
[[nodiscard]] std::optional<Refusal> resolve_target(Exchange& exchange, const SiteTable& sites,
                                                    const cache::Store& store,
                                                    WallTime now) noexcept;

}  // namespace segue::edge
