// http/cache_status.h - writes Cache-Status (RFC 9211): what this node did with the request. No
// allocation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"

namespace segue::http {

/// Why a request went forward (RFC 9211 §2.2).
enum class ForwardReason : uint8_t {
  Bypass,    // told not to handle it
  Method,    // the method forces it
  UriMiss,   // nothing stored under this target
  VaryMiss,  // stored, but no variant for this request
  Miss,      // nothing usable, reason not told further
  Request,   // fresh, but the request did not allow it
  Stale,     // stored and stale
  Partial,   // part of the range is stored
};
inline constexpr size_t kForwardReasons = static_cast<size_t>(ForwardReason::Partial) + 1;
[[nodiscard]] std::string_view name_of(ForwardReason reason) noexcept;

struct CacheStatus {
  std::string_view node = {};                   // our name: a token or a string of visible ASCII
  bool hit = false;                             // served without asking the origin
  std::optional<ForwardReason> forward = {};    // never together with `hit`
  std::optional<uint16_t> forward_status = {};  // what the origin answered; known at head time only
  std::optional<int64_t> ttl = {};              // seconds of freshness left; negative when stale
  bool stored = false;
  bool collapsed = false;
  std::string_view detail = {};                // a word of ours, e.g. "ram"; empty: none
  std::optional<uint32_t> slices_hit = {};     // ours: slices of the range that were here
  std::optional<uint32_t> slices_needed = {};  // ours: slices of the range
};

inline constexpr size_t kCacheStatusBytesMax = 640;
/// The field value. The key is never told. Errors: {Self, Full} if `out` is too small (never with
/// kCacheStatusBytesMax and a node and detail of at most 120 bytes each), {Self, Malformed} if node
/// or detail hold other than visible ASCII.
[[nodiscard]] Result<std::string_view> write_cache_status(const CacheStatus& status,
                                                          std::span<char> out) noexcept;

}  // namespace segue::http
