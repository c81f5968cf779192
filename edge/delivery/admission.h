// edge/delivery/admission.h - where a request meets the site's access rules (edge/access).
#pragma once
#include <optional>

#include "edge/access/uri_container.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/plan_pass.h"
#include "edge/delivery/site_table.h"

namespace segue::edge {

/// At a request's start: counts it against its client, also if it is refused later. Where tokens
/// say who counts, only what `is_refused` already; of the others admit() counts all that come to
/// it, so preflights, which carry no token and are many behind one address, count for nobody.
/// Refusal: 429. `limits` may be null.
[[nodiscard]] std::optional<Refusal> admit_client(Exchange& exchange, ClientLimits* limits,
                                                  bool is_refused, MonoTime now) noexcept;
/// Checks the token of a request whose target is resolved, at its start and never again. Refusals:
/// 403 or, expired, what the site says; 429. Cannot wait; allocates only for a token that is new to
/// the connection.
[[nodiscard]] std::optional<Refusal> admit(Exchange& exchange, const SiteTable& sites,
                                           ClientLimits* limits, MonoTime now, WallTime wall);

/// How far the token of a request that was let in would let read `path` (canonical) of the same
/// site: 0: not at all. `matcher` is of this request alone. Cannot wait; costs no signature, and
/// allocates for a JWT and a path that it was not told last.
[[nodiscard]] uint64_t readable_elsewhere(const Exchange& exchange, const SiteTable& sites,
                                          std::string_view path, WallTime wall,
                                          UriMatcher& matcher);

/// Before a request does what may cost the origin something. False: its client is over its limit,
/// and it is answered from the cache alone, with 429 where that has not all of it.
[[nodiscard]] bool may_miss(Exchange& exchange, const ClientLimits* limits, MonoTime now) noexcept;

/// At a request's start: lets go a connection that was slowed down and has recovered, or whose
/// request is for a site without a pace.
void review_pace(const Exchange& exchange, MonoTime now) noexcept;
/// `bytes` went to a client of a site with a pace: the connection is slowed down once its burst is
/// over, and let go when it has recovered half of it.
void pace(Exchange& exchange, uint64_t bytes, MonoTime now) noexcept;

/// Whether what is planned lies within the token's preview; a single range is cut to it (RFC 9110
/// §15.3.7: a part of what was asked). A request without Range for more than the preview does not:
/// nothing but the whole would be an answer.
[[nodiscard]] bool fit_to_preview(Plan& plan, uint64_t preview_bytes) noexcept;
[[nodiscard]] bool fit_to_preview(PassPlan& plan, bool bodyless, uint64_t preview_bytes) noexcept;

}  // namespace segue::edge
