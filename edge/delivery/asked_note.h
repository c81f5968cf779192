// edge/delivery/asked_note.h - what a request tells whoever plans ahead.
#pragma once
#include <optional>

#include "edge/delivery/exchange.h"
#include "edge/prefetch/asked_queue.h"
#include "edge/prefetch/cmcd.h"

namespace segue::edge {

/// What the request's player says of itself.
[[nodiscard]] CmcdText cmcd_of(const http::Request& request) noexcept;

/// The note for a resolved GET request, before it is answered (a prefetch of the same may be
/// running); `known`: exchange.selection is set. Nothing for HEAD, and for a suffix of a
/// representation whose length is not known. Never waits, never allocates.
[[nodiscard]] std::optional<AskedNote> note_of(const Exchange& exchange, const CmcdText& cmcd,
                                               bool known, cache::LocalStore& local) noexcept;

}  // namespace segue::edge
