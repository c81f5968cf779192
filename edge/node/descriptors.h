// edge/node/descriptors.h - how the process's file descriptors are divided, so that clients that
// connect and say nothing leave enough for origins, drives and logs.
#pragma once
#include <cstdint>

namespace segue::edge {

/// Raises the soft limit of open files to the hard one (getrlimit(2)). Start-up. Returns what is in
/// force then.
[[nodiscard]] uint64_t raise_descriptor_limit() noexcept;

/// Client connections that one loop may hold of `wanted`: what `limit` leaves, up to where the
/// overload judge begins to shed, when each loop keeps its fetches of each origin, each drive and
/// who is turned away, and the process a few of its own; at least half of that is for clients.
[[nodiscard]] uint32_t connections_within(uint64_t limit, uint32_t loops, uint64_t origins,
                                          uint64_t drives, uint32_t wanted) noexcept;

}  // namespace segue::edge
