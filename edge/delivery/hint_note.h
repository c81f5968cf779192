// edge/delivery/hint_note.h - what a player says it will ask for next (CMCD nor and nrr, CTA-5004),
// checked as if it had asked.
#pragma once
#include <optional>

#include "edge/delivery/exchange.h"
#include "edge/delivery/site_table.h"
#include "edge/prefetch/asked_queue.h"
#include "edge/prefetch/cmcd.h"

namespace segue::edge {

/// The hint in `cmcd` of a request that was let in, `note` being what it asks for now. Nothing if
/// there is none, or it is not one of this site's paths that the request's own token lets in to
/// (counted in `refused`): what a client cannot have it cannot make us fetch either. Cannot wait;
/// allocates only as readable_elsewhere().
[[nodiscard]] std::optional<HintNote> hint_of(const Exchange& exchange, const CmcdText& cmcd,
                                              const AskedNote& note, const SiteTable& sites,
                                              WallTime wall, HintRefusals& refused);

}  // namespace segue::edge
