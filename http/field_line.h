// http/field_line.h - splits one field line into name and value, as strictly as RFC 9112 §5 allows.
// The one place that does it, for requests, responses and stored blocks. No allocation.
#pragma once
#include <cstdint>
#include <string_view>

#include "http/header_fields.h"

namespace segue::http {

/// What can be wrong with one field line.
enum class FieldLineError : uint8_t {
  None,
  ObsFold,           // begins with whitespace (RFC 9112 §5.2)
  SpaceBeforeColon,  // RFC 9112 §5.1
  MalformedField,    // no colon, an empty name, or a character in the name that no token has
  BadValue,          // a control character in the value
};

/// `line` comes without its CRLF. On None `field` holds views of it, the value trimmed; otherwise
/// `field` is unchanged.
[[nodiscard]] FieldLineError split_field_line(std::string_view line, Field& field) noexcept;

}  // namespace segue::http
