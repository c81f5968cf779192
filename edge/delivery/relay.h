// edge/delivery/relay.h - requests of methods that a site relays: what they invalidate, and which
// requests have been here before.
#pragma once
#include <string_view>

#include "edge/delivery/exchange.h"

namespace segue::edge {

/// After a successful answer to an unsafe method: forgets the target, and what Location and
/// Content-Location name on the same host (RFC 9111 §4.4), before the client hears of the success.
/// Waits for the purge to be durable; where it cannot be, it is in force in RAM all the same.
[[nodiscard]] Task<void> invalidate(Scope& scope, Exchange& exchange);

/// Whether CDN-Loop says that this node has had the request before, or names so many nodes that it
/// must be going round (RFC 8586 §2).
[[nodiscard]] bool is_looping(http::FieldsView fields, std::string_view node_name) noexcept;

/// The path and query that the URI reference `location` names for a request to `host` and
/// `target`; empty where it is another host's or none. View into `location` or `room`.
[[nodiscard]] std::string_view same_host_target(std::string_view location, std::string_view host,
                                                std::string_view target,
                                                std::span<char> room) noexcept;

}  // namespace segue::edge
