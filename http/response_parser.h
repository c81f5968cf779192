// http/response_parser.h - parses response heads (RFC 9112 §4), single field lines and stored field
// blocks, strictly. For origins' header lines, stored blocks and tests. No allocation; views are
// valid until the text moves.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"
#include "http/field_line.h"
#include "http/header_fields.h"

namespace segue::http {

/// One field line as libcurl delivers it, with or without CRLF (a bare LF is refused). Nothing
/// where it is malformed or folded.
[[nodiscard]] std::optional<Field> parse_header_line(std::string_view line) noexcept;

struct StatusLine {
  uint8_t version_major = 1;
  uint8_t version_minor = 1;
  uint16_t status = 0;  // 100..599
  std::string_view reason = {};
};
/// "HTTP/1.1 206 Partial Content", "HTTP/1.1 206" or "HTTP/2 206", with or without CRLF.
[[nodiscard]] std::optional<StatusLine> parse_status_line(std::string_view line) noexcept;

struct ResponseHead {
  StatusLine line;
  FieldsView fields;    // in the storage given
  size_t consumed = 0;  // bytes of the head with its empty line
};
/// Parses a whole head. Errors: {Origin, Closed} if the empty line is not there yet, {Origin,
/// Malformed}, {Origin, Full} over kOriginHeaderBytesMax, kOriginHeaderFieldsMax or `storage`.
[[nodiscard]] Result<ResponseHead> parse_response_head(std::string_view text,
                                                       std::span<Field> storage) noexcept;

/// Parses "Name: value\r\n" lines without status line and empty line, as HeadWriter::finish_block()
/// writes them. Errors: {Disk, Malformed}, {Disk, Full}: stored bytes are not trusted.
[[nodiscard]] Result<FieldsView> parse_field_block(std::string_view block,
                                                   std::span<Field> storage) noexcept;

}  // namespace segue::http
