// edge/delivery/asked_note.h - what a request tells whoever plans ahead.
#pragma once
#include <optional>

#include "edge/delivery/exchange.h"
#include "edge/prefetch/asked_queue.h"

namespace segue::edge {

/// The note for a resolved GET request, before it is answered (a prefetch of the same may be
/// running); `known`: exchange.selection is set. Nothing for HEAD, and for a suffix of a
/// representation whose length is not known. Never waits, never allocates.
[[nodiscard]] std::optional<AskedNote> note_of(const Exchange& exchange, bool known,
                                               cache::LocalStore& local) noexcept;

}  // namespace segue::edge
