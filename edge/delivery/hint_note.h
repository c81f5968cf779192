// edge/delivery/hint_note.h - what a player says it will ask for next (CMCD nor and nrr, CTA-5004),
// checked as if it had asked.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "edge/access/uri_container.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/site_table.h"
#include "edge/fill/key_text.h"
#include "edge/prefetch/asked_queue.h"
#include "edge/prefetch/cmcd.h"

namespace segue::edge {

/// Tells `inbox` what `cmcd` of a request that was let in says comes next, `note` being what it
/// asks for now. What is not one of this site's paths that the request's own token lets in to is
/// refused and counted: what a client cannot have it cannot make us fetch either. Cannot wait;
/// allocates only as readable_elsewhere().
void hint_at_next_objects(const Exchange& exchange, const CmcdText& cmcd, const AskedNote& note,
                          const SiteTable& sites, WallTime wall, Inbox& inbox);

// --- what hints of all sources are checked by ---

// Longer references are not told to the planner, which keeps kNoteTextBytesMax.
inline constexpr size_t kReferenceBytesMax = 1024;
struct ReferenceRoom {
  std::array<char, kReferenceBytesMax> target, scratch, key;
};
/// The key of what `reference` names, seen from the request's target (RFC 3986 §5); in `room`.
/// Nothing (counted) if it is none, or of another host.
[[nodiscard]] std::optional<KeyText> key_of_reference(const Exchange& exchange,
                                                      std::string_view reference,
                                                      ReferenceRoom& room, HintRefusals& refused);
/// Cuts `range` (empty: all) of another `target` of the request's site, canonical, to what the
/// request's own token lets read there. False (counted): nothing of it.
[[nodiscard]] bool fit_to_token(const Exchange& exchange, const SiteTable& sites,
                                std::string_view target, WallTime wall, UriMatcher& matcher,
                                ByteRange& range, HintRefusals& refused);

}  // namespace segue::edge
