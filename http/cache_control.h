// http/cache_control.h - Cache-Control (RFC 9111 §5.2), CDN-Cache-Control (RFC 9213) and Age. Pure,
// no allocation. Pragma is not looked at: it means nothing in a response (RFC 9111 §5.4).
#pragma once
#include <chrono>
#include <optional>
#include <string_view>

#include "http/header_fields.h"

namespace segue::http {

/// Larger delta-seconds count as this (RFC 9111 §1.2.2).
inline constexpr std::chrono::seconds kDeltaSecondsMax{2147483648};

/// What the directives of all field lines together say. Where a directive occurs more than once the
/// most restrictive value counts (§4.2.1); max-age and s-maxage with an argument that is no
/// number count as 0; other directives with such an argument are as if absent.
struct CacheControl {
  bool present = false;  // at least one directive, known or not
  bool no_store = false;
  bool no_cache = false;    // also in the qualified form, which is treated as the unqualified
  bool is_private = false;  // likewise
  bool is_public = false;
  bool must_revalidate = false;
  bool proxy_revalidate = false;
  bool must_understand = false;
  bool no_transform = false;
  bool immutable = false;
  bool only_if_cached = false;  // requests
  std::optional<std::chrono::seconds> max_age = {};
  std::optional<std::chrono::seconds> s_maxage = {};
  std::optional<std::chrono::seconds> stale_while_revalidate = {};  // RFC 5861
  std::optional<std::chrono::seconds> stale_if_error = {};          // RFC 5861
  std::optional<std::chrono::seconds> min_fresh = {};               // requests
  std::optional<std::chrono::seconds> max_stale =
      {};  // requests; kDeltaSecondsMax without argument
};

/// Reads every Cache-Control line of `fields`. Arguments may be tokens or quoted strings (§5.2).
[[nodiscard]] CacheControl parse_cache_control(FieldsView fields) noexcept;

/// Reads CDN-Cache-Control as the structured dictionary it is. Nothing where it is absent, empty or
/// malformed: then Cache-Control and Expires count (RFC 9213 §2.1). If present, they do not.
[[nodiscard]] std::optional<CacheControl> parse_cdn_cache_control(FieldsView fields) noexcept;

/// Age (§5.1). What is not one whole number (a list, two lines, a sign, a parameter) counts as
/// older than everything: the RFC would have us take the first member and ignore nonsense, but then
/// a response of unknown age is served as fresh, where all that is saved is one conditional
/// request.
[[nodiscard]] std::optional<std::chrono::seconds> parse_age(FieldsView fields) noexcept;

}  // namespace segue::http
