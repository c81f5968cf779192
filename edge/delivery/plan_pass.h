// edge/delivery/plan_pass.h - which part of an answer that is passed through goes to the client.
#pragma once
#include <cstdint>
#include <optional>

#include "edge/delivery/exchange.h"

namespace segue::edge {

/// What of a passed-through answer goes to the client: the origin's own range, or one cut out of
/// its 200, because native players break on a 200 to a Range request.
struct PassPlan {
  int status = 0;
  std::optional<uint64_t> length;
  std::optional<ByteRange> content_range;
  std::optional<uint64_t> complete_length;
  ByteRange body{0, UINT64_MAX};
};

/// Pure; reads exchange.selection.pass_head (set), the ranges asked for and If-Range (RFC 9110
/// §13.1.5, §14.2).
[[nodiscard]] PassPlan plan_pass(const Exchange& exchange) noexcept;

}  // namespace segue::edge
