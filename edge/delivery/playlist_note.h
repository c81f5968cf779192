// edge/delivery/playlist_note.h - what an HLS playlist says its players will ask for next: hints of
// the same kind as a player's own, checked in the same way.
//
// A playlist is looked at where a response with it is over, until that version is read; segments
// are looked up among those of the playlists that are known.
#pragma once
#include "edge/delivery/exchange.h"
#include "edge/delivery/site_table.h"
#include "edge/prefetch/asked_queue.h"

namespace segue::edge {

struct PlaylistScope {
  const SiteTable& sites;
  cache::Store& store;
  WallTime wall;
  Inbox& inbox;
};

/// `exchange` was let in and asks for `demand`: where that is a segment of a known playlist, hints
/// at those that follow it. Cannot wait; allocates only as readable_elsewhere().
void hint_at_next_segments(const Exchange& exchange, const DemandNote& demand,
                           const PlaylistScope& scope);

/// `exchange` has been answered: where that was a stored playlist, remembers what it names and
/// hints at what a player begins with, or at a live one's end. Cannot wait; allocates only for a
/// playlist.
void hint_at_first_segments(const Exchange& exchange, const PlaylistScope& scope);

}  // namespace segue::edge
