// edge/delivery/admission.h - where a request meets the site's access rules (edge/access).
#pragma once
#include <optional>

#include "edge/delivery/exchange.h"
#include "edge/delivery/plan_pass.h"
#include "edge/delivery/site_table.h"

namespace segue::edge {

/// Checks the token of a request whose target is resolved, at its start and never again, and how
/// many its client has made. Refusals: 403 or, expired, what the site says; 429. `limits` may be
/// null. Cannot wait; allocates only for a token that is new to the connection.
[[nodiscard]] std::optional<Refusal> admit(Exchange& exchange, const SiteTable& sites,
                                           ClientLimits* limits, MonoTime now, WallTime wall);

/// How far the token of a request that was let in would let read `path` (canonical) of the same
/// site: 0: not at all. Cannot wait; allocates for a token that is signed for one path.
[[nodiscard]] uint64_t readable_elsewhere(const Exchange& exchange, const SiteTable& sites,
                                          std::string_view path, WallTime wall);

/// Before a request is given to a task, which may ask the origin for it: charges its client what it
/// may cost. A client over its limit is answered from the cache alone, and 429 where that has not
/// all of it. False: 429 at once (a relayed method).
[[nodiscard]] bool admit_miss(Exchange& exchange, ClientLimits* limits, bool relayed,
                              MonoTime now) noexcept;
/// What was charged is set right. At the end of every request, before its reader goes.
void settle(const Exchange& exchange, ClientLimits* limits, MonoTime now) noexcept;

/// `bytes` went to a client of a site with a pace: the connection is slowed down once its burst is
/// over, and let go when it has recovered half of it.
void pace(Exchange& exchange, uint64_t bytes, MonoTime now) noexcept;

/// Whether what is planned lies within the token's preview; a single range is cut to it (RFC 9110
/// §15.3.7: a part of what was asked). A request without Range for more than the preview does not:
/// nothing but the whole would be an answer.
[[nodiscard]] bool fit_to_preview(Plan& plan, uint64_t preview_bytes) noexcept;
[[nodiscard]] bool fits_preview(const PassPlan& plan, bool bodyless,
                                uint64_t preview_bytes) noexcept;

}  // namespace segue::edge
