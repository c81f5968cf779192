// edge/delivery/trace_context.h - the request id: taken from or added as `traceparent` (W3C Trace
// Context, level 1), passed to the origin, written to the access log.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace segue::edge {

inline constexpr size_t kTraceparentBytes = 55;  // "00-" 32 hex "-" 16 hex "-" 2 hex

/// Random numbers for ids that must not repeat but need not be secret. Loop-owned, seeded once from
/// Entropy (xoshiro256++, Blackman and Vigna 2019).
class IdSource {
 public:
  explicit IdSource(uint64_t seed) noexcept;
  [[nodiscard]] uint64_t next() noexcept;

 private:
  uint64_t state_[4];
};

/// The trace id of a valid version-00 header, else an empty view (malformed, all zeros: start a new
/// trace, §3.2.2).
[[nodiscard]] std::string_view trace_id_of(std::string_view traceparent) noexcept;

/// Writes the header this node sends on: the client's trace id if `received` is valid, else a new
/// one; a new parent id in any case. `out` gets kTraceparentBytes characters and a NUL.
void write_traceparent(std::string_view received, IdSource& ids,
                       std::span<char, kTraceparentBytes + 1> out) noexcept;

}  // namespace segue::edge
