// edge/delivery/plan.h - what a stored response is to be answered with: preconditions and ranges
// (RFC 9110 §13, §14), computed, not sent.
#pragma once
#include <cstdint>

#include "base/byte_range.h"
#include "edge/fill/stored_response.h"
#include "http/range.h"
#include "http/request_parser.h"

namespace segue::edge {

struct Plan {
  enum class Body : uint8_t {
    None,       // 304, 412, 416, HEAD, an empty representation
    Single,     // `range`, for 200 and 206 alike
    Multipart,  // `parts` as multipart/byteranges
  };
  int status = 200;
  Body body = Body::None;
  ByteRange range;
  bool open_ended = false;  // nobody said where to stop: fills start small and grow
  http::Resolved parts;     // Multipart, and what `range` was resolved from
};

/// Pure; cannot wait, cannot allocate.
[[nodiscard]] Plan plan_response(const http::Request& request, const http::ParsedRange& ranges,
                                 const StoredResponse& response, uint64_t complete_length) noexcept;

}  // namespace segue::edge
