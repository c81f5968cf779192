// edge/delivery/admission.h - where a request meets the site's access rules (edge/access).
#pragma once
#include <optional>

#include "edge/delivery/exchange.h"
#include "edge/delivery/plan_pass.h"
#include "edge/delivery/site_table.h"

namespace segue::edge {

/// Checks the token of a request whose target is resolved, at its start and never again. Refusals:
/// 403 or, expired, what the site says. Cannot wait; allocates only for a token that is new to the
/// connection.
[[nodiscard]] std::optional<Refusal> admit(Exchange& exchange, const SiteTable& sites,
                                           WallTime now);

/// Whether what is planned lies within the token's preview; a single range is cut to it (RFC 9110
/// §15.3.7: a part of what was asked). A request without Range for more than the preview does not:
/// nothing but the whole would be an answer.
[[nodiscard]] bool fit_to_preview(Plan& plan, uint64_t preview_bytes) noexcept;
[[nodiscard]] bool fits_preview(const PassPlan& plan, bool bodyless,
                                uint64_t preview_bytes) noexcept;

}  // namespace segue::edge
