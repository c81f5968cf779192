// http/hop_by_hop.h - which fields belong to one connection only (RFC 9110 §7.6.1), and which
// fields of an origin's response are stored and sent on.
#pragma once
#include <string_view>

#include "http/header_fields.h"

namespace segue::http {

/// Connection, Keep-Alive, Proxy-*, TE, Trailer, Transfer-Encoding, Upgrade and kin, by name alone.
[[nodiscard]] bool is_hop_by_hop(std::string_view name) noexcept;

/// By name, or because a Connection field of `message` lists it.
[[nodiscard]] bool is_hop_by_hop(std::string_view name, FieldsView message) noexcept;

/// Whether a field of an origin's response is kept with the representation: not hop-by-hop, not
/// Set-Cookie (never replayed to others), and none of those we write ourselves for each response:
/// Content-Length, Content-Range, Accept-Ranges, Age, Cache-Status, Via, Alt-Svc,
/// Server-Timing. Date, ETag, Last-Modified, Expires, Cache-Control and Vary are kept.
[[nodiscard]] bool is_stored_field(std::string_view name, FieldsView response) noexcept;

/// Whether a field of an answer that is passed through goes to the one client it is for: what would
/// be stored, and Set-Cookie.
[[nodiscard]] bool is_passed_field(std::string_view name, FieldsView response) noexcept;

/// Appends the stored fields of `response` to `out`.
void copy_stored_fields(FieldsView response, OwnedFields& out);

}  // namespace segue::http
