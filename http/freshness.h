// http/freshness.h - what a shared cache may store, for how long it is fresh, and when it may be
// served stale (RFC 9111 §3, §4.2; RFC 5861; RFC 9213). Pure functions of facts and times passed
// in. All times are wall-clock seconds; the caller guards against a clock that steps.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "http/cache_control.h"
#include "http/header_fields.h"
#include "http/method.h"

namespace segue::http {

/// What of a response bears on caching, read once from its fields.
struct ResponseFacts {
  uint16_t status = 0;
  CacheControl control;      // Cache-Control, or CDN-Cache-Control where that is valid
  bool is_targeted = false;  // `control` came from CDN-Cache-Control
  std::optional<std::chrono::sys_seconds> date = {};
  std::optional<std::chrono::sys_seconds> last_modified = {};
  /// Expires; a malformed or repeated one is the beginning of time, i.e. stale (§5.3).
  std::optional<std::chrono::sys_seconds> expires = {};
  std::optional<std::chrono::seconds> age = {};
  bool vary_any = false;  // a Vary with "*"
  bool has_set_cookie = false;
};
[[nodiscard]] ResponseFacts read_response_facts(uint16_t status, FieldsView response) noexcept;

/// The site's ttl settings. Unset means: not given.
struct FreshnessRules {
  std::optional<std::chrono::seconds> override_lifetime =
      {};  // beats all the origin says on lifetime
  std::optional<std::chrono::seconds> default_lifetime = {};  // where the origin gives no lifetime
  std::optional<std::chrono::seconds> negative_lifetime =
      {};  // same, for 4xx and 5xx that may be stored
  std::chrono::seconds heuristic_max{std::chrono::hours{24}};
  std::chrono::seconds stale_while_revalidate{0};  // where the response names none
  std::chrono::seconds stale_if_error{0};          // likewise
};

enum class NotStorable : uint8_t {
  None,  // it may be stored
  Method,
  Status,  // not final, or not understood
  NoStore,
  Private,
  Authorization,  // asked with Authorization and not marked for sharing (§3.5)
  VaryAny,
  NoLifetime,  // nothing says or implies how long
};
[[nodiscard]] std::string_view name_of(NotStorable reason) noexcept;

/// §3 for a shared cache. Set-Cookie does not forbid storing; the field itself is never stored or
/// replayed (http/hop_by_hop.h). The rules do not override no-store and private.
[[nodiscard]] NotStorable why_not_storable(Method method, FieldsView request,
                                           const ResponseFacts& response,
                                           const FreshnessRules& rules) noexcept;

enum class LifetimeSource : uint8_t {
  SiteOverride,
  CdnCacheControl,
  SMaxage,
  MaxAge,
  Expires,
  SiteDefault,
  Heuristic,
  None
};
[[nodiscard]] std::string_view name_of(LifetimeSource source) noexcept;

struct Lifetime {
  std::chrono::seconds lifetime{0};
  LifetimeSource source = LifetimeSource::None;
};
/// §4.2.1 in the order of LifetimeSource. Expires counts from Date (without one, from
/// `response_time`). The heuristic, where the site names no default, is a tenth of the time since
/// Last-Modified, at most `heuristic_max`, and only for statuses that allow it (§4.2.2).
[[nodiscard]] Lifetime freshness_lifetime(const ResponseFacts& response,
                                          const FreshnessRules& rules,
                                          std::chrono::sys_seconds response_time) noexcept;

/// corrected_initial_age of §4.2.3. `response_delay` is the time from request to response.
[[nodiscard]] std::chrono::seconds initial_age(std::chrono::sys_seconds response_time,
                                               std::optional<std::chrono::sys_seconds> date,
                                               std::optional<std::chrono::seconds> age,
                                               std::chrono::seconds response_delay) noexcept;
/// current_age of §4.2.3; a clock that stepped back adds nothing.
[[nodiscard]] std::chrono::seconds current_age(std::chrono::seconds initial_age,
                                               std::chrono::sys_seconds response_time,
                                               std::chrono::sys_seconds now) noexcept;

/// What is kept of all this with a stored response; small, trivially copyable.
struct Freshness {
  std::chrono::sys_seconds response_time{};
  std::chrono::seconds initial_age{0};
  std::chrono::seconds lifetime{0};
  std::chrono::seconds stale_while_revalidate{0};
  std::chrono::seconds stale_if_error{0};
  LifetimeSource source = LifetimeSource::None;
  bool must_revalidate = false;  // never served stale (must-revalidate, proxy-revalidate)
  bool no_cache = false;         // never served without validation

  [[nodiscard]] std::chrono::seconds age_at(std::chrono::sys_seconds now) const noexcept {
    return current_age(initial_age, response_time, now);
  }
  /// lifetime - age; negative once stale. The `ttl` of Cache-Status.
  [[nodiscard]] std::chrono::seconds time_left(std::chrono::sys_seconds now) const noexcept {
    return lifetime - age_at(now);
  }
  [[nodiscard]] bool is_fresh(std::chrono::sys_seconds now) const noexcept {
    return !no_cache && time_left(now) > std::chrono::seconds{0};
  }
  /// Stale, and may be served at once while it is revalidated (RFC 5861 §3).
  [[nodiscard]] bool may_serve_while_revalidating(std::chrono::sys_seconds now) const noexcept;
  /// Stale, and may be served because the origin fails (RFC 5861 §4).
  [[nodiscard]] bool may_serve_on_error(std::chrono::sys_seconds now) const noexcept;
};

/// All of the above for one response. stale-while-revalidate and stale-if-error of the response
/// count also beside s-maxage, which the site's defaults do not override: s-maxage alone
/// forbids serving stale (§5.2.2.10), a response that names both asks for both.
[[nodiscard]] Freshness assess(const ResponseFacts& response, const FreshnessRules& rules,
                               std::chrono::sys_seconds response_time,
                               std::chrono::seconds response_delay) noexcept;

}  // namespace segue::http
