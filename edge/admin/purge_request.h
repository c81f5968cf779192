// edge/admin/purge_request.h - reads what POST /purge is sent. Strict: a purge that was not meant
// empties a cache, and one that was meant and misread serves what should be gone.
#pragma once
#include <expected>
#include <string>
#include <string_view>

#include "edge/admin/admin_actions.h"

namespace segue::edge {

/// Reads {"url": "..."} or {"prefix": "..."} or {"tag": "..."} or {"everything": true}, each with
/// optional booleans "soft" and "cut". Unknown, repeated or wrongly typed members are errors. The
/// error is a sentence for the operator.
[[nodiscard]] std::expected<PurgeRequest, std::string> parse_purge_body(std::string_view json);

/// The same from a message of a feed (conf/feed.md), with "op": "purge" and optional "v": 1.
[[nodiscard]] std::expected<PurgeRequest, std::string> parse_purge_message(std::string_view json);

/// The same from a query (`segue purge` sends it so): url=...&soft=1&cut=1, percent-encoded.
[[nodiscard]] std::expected<PurgeRequest, std::string> parse_purge_query(std::string_view query);

/// Undoes percent-encoding; nothing where it is malformed or decodes to a control character.
[[nodiscard]] std::expected<std::string, std::string> decode_query_value(std::string_view value);

}  // namespace segue::edge
