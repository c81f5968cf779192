// edge/metrics/json.h - JSON strings out of bytes that may be hostile. The only JSON we write is
// flat, so a string escaper is all the writer it needs; what we read is parsed by simdjson.
#pragma once
#include <string>
#include <string_view>

namespace segue::edge {

/// Appends `text` as a JSON string with its quotes (RFC 8259 §7). Controls, quotes and backslashes
/// are escaped; each byte that is part of no valid UTF-8 sequence becomes U+FFFD, so that the
/// result is valid JSON whatever the client sent.
void append_json_string(std::string_view text, std::string& out);

}  // namespace segue::edge
