#include "http/freshness.h"

#include <algorithm>
#include <array>

#include "http/date.h"

namespace segue::http {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

/// Statuses whose answers may be stored though the origin says no lifetime: those of RFC 9110 §15.1
/// without 405, 414 and 501. An odd request can provoke those of an origin that serves everybody
/// else, so they are stored on the origin's word only.
constexpr std::array<uint16_t, 9> kHeuristicStatuses{200, 203, 204, 206, 300, 301, 308, 404, 410};
/// Of these the site's `default` is about; its `negative` is about the others.
constexpr std::array<uint16_t, 3> kContentStatuses{200, 203, 206};
/// Statuses whose caching rules we know, for must-understand (RFC 9111 §5.2.2.3).
constexpr std::array<uint16_t, 22> kUnderstoodStatuses{200, 203, 204, 206, 300, 301, 302, 303,
                                                       307, 308, 400, 401, 403, 404, 405, 410,
                                                       414, 500, 501, 502, 503, 504};

template <size_t N>
bool contains(const std::array<uint16_t, N>& statuses, uint16_t status) {
  return std::ranges::find(statuses, status) != statuses.end();
}

std::optional<sys_seconds> date_of(FieldsView fields, std::string_view name) {
  std::optional<std::string_view> value = fields.find_only(name);
  return value ? parse_date(*value) : std::nullopt;
}

std::optional<sys_seconds> read_expires(FieldsView fields) {
  if (!fields.contains("Expires")) return std::nullopt;
  // "0", two of them, or any other nonsense means "already expired" (RFC 9111 §5.3).
  return date_of(fields, "Expires").value_or(sys_seconds{});
}

bool is_negative(uint16_t status) { return status >= 400; }

/// What the site says for a response whose origin says nothing.
std::optional<seconds> site_lifetime(const ResponseFacts& response, const FreshnessRules& rules) {
  if (!contains(kHeuristicStatuses, response.status)) return std::nullopt;
  return contains(kContentStatuses, response.status) ? rules.default_lifetime
                                                     : rules.negative_lifetime;
}

bool has_explicit_lifetime(const ResponseFacts& response) {
  return response.control.max_age || response.control.s_maxage || response.expires;
}

/// RFC 9111 §3: something must say or imply that storing is wanted.
bool has_ground_to_store(const ResponseFacts& response) {
  // An error is stored on a lifetime alone: "public" says nothing of how long it will last.
  const bool may_be_stored = response.control.is_public && !is_negative(response.status);
  return may_be_stored || has_explicit_lifetime(response) ||
         contains(kHeuristicStatuses, response.status);
}

}  // namespace

std::string_view name_of(NotStorable reason) noexcept {
  switch (reason) {
    case NotStorable::None:
      return "none";
    case NotStorable::Method:
      return "method";
    case NotStorable::Status:
      return "status";
    case NotStorable::NoStore:
      return "no_store";
    case NotStorable::Private:
      return "private";
    case NotStorable::Authorization:
      return "authorization";
    case NotStorable::VaryAny:
      return "vary_any";
    case NotStorable::NoLifetime:
      return "no_lifetime";
  }
  return "unknown";
}

std::string_view name_of(LifetimeSource source) noexcept {
  switch (source) {
    case LifetimeSource::SiteOverride:
      return "site_override";
    case LifetimeSource::CdnCacheControl:
      return "cdn_cache_control";
    case LifetimeSource::SMaxage:
      return "s_maxage";
    case LifetimeSource::MaxAge:
      return "max_age";
    case LifetimeSource::Expires:
      return "expires";
    case LifetimeSource::Heuristic:
      return "heuristic";
    case LifetimeSource::SiteDefault:
      return "site_default";
    case LifetimeSource::None:
      return "none";
  }
  return "unknown";
}

ResponseFacts read_response_facts(uint16_t status, FieldsView response) noexcept {
  ResponseFacts facts;
  facts.status = status;
  if (std::optional<CacheControl> targeted = parse_cdn_cache_control(response)) {
    facts.control = *targeted;
    facts.is_targeted = true;  // Cache-Control and Expires do not count then (RFC 9213 §2.1)
  } else {
    facts.control = parse_cache_control(response);
    facts.expires = read_expires(response);
  }
  facts.date = date_of(response, "Date");
  facts.last_modified = date_of(response, "Last-Modified");
  facts.age = parse_age(response);
  facts.vary_any = response.list_contains("Vary", "*");
  facts.has_set_cookie = response.contains("Set-Cookie");
  return facts;
}

NotStorable why_not_storable(Method method, FieldsView request, const ResponseFacts& response,
                             const FreshnessRules& /*rules*/) noexcept {
  if (method != Method::Get) return NotStorable::Method;
  const CacheControl& control = response.control;
  const bool is_understood = contains(kUnderstoodStatuses, response.status);
  if (response.status < 200 || response.status > 599) return NotStorable::Status;
  if (response.status == 304) return NotStorable::Status;  // it freshens what is stored
  if (control.must_understand && !is_understood) return NotStorable::Status;
  // no-store beside must-understand is meant for caches that do not understand (§5.2.2.3).
  if (control.no_store && !control.must_understand) return NotStorable::NoStore;
  if (control.is_private) return NotStorable::Private;
  if (request.contains("Authorization")) {
    const bool is_shared = control.is_public || control.must_revalidate || control.s_maxage;
    if (!is_shared) return NotStorable::Authorization;  // RFC 9111 §3.5
  }
  if (response.vary_any) return NotStorable::VaryAny;
  return has_ground_to_store(response) ? NotStorable::None : NotStorable::NoLifetime;
}

Lifetime freshness_lifetime(const ResponseFacts& response, const FreshnessRules& rules,
                            sys_seconds response_time) noexcept {
  const CacheControl& control = response.control;
  if (rules.override_lifetime && !is_negative(response.status)) {
    return {.lifetime = *rules.override_lifetime, .source = LifetimeSource::SiteOverride};
  }
  if (response.is_targeted && (control.s_maxage || control.max_age)) {
    return {.lifetime = control.s_maxage ? *control.s_maxage : *control.max_age,
            .source = LifetimeSource::CdnCacheControl};
  }
  if (control.s_maxage) {
    return {.lifetime = *control.s_maxage, .source = LifetimeSource::SMaxage};
  }
  if (control.max_age) return {.lifetime = *control.max_age, .source = LifetimeSource::MaxAge};
  if (response.expires) {
    const seconds until = *response.expires - response.date.value_or(response_time);
    return {.lifetime = std::clamp(until, seconds{0}, kDeltaSecondsMax),
            .source = LifetimeSource::Expires};
  }
  // An operator who names a lifetime knows more than a guess can (a track that was uploaded a
  // minute ago would be guessed stale in seconds).
  if (std::optional<seconds> lifetime = site_lifetime(response, rules)) {
    return {.lifetime = *lifetime, .source = LifetimeSource::SiteDefault};
  }
  // A heuristic needs a status that allows one, or "public" (§4.2.2). For errors there is none:
  // that a page was missing for years says nothing about tomorrow.
  const bool may_guess = (contains(kHeuristicStatuses, response.status) || control.is_public) &&
                         !is_negative(response.status);
  const sys_seconds now = response.date.value_or(response_time);
  if (may_guess && response.last_modified && *response.last_modified < now) {
    const seconds guess = (now - *response.last_modified) / 10;
    return {.lifetime = std::min(guess, rules.heuristic_max), .source = LifetimeSource::Heuristic};
  }
  return {};
}

seconds initial_age(sys_seconds response_time, std::optional<sys_seconds> date,
                    std::optional<seconds> age, seconds response_delay) noexcept {
  const seconds apparent_age = date ? std::max(seconds{0}, response_time - *date) : seconds{0};
  const seconds corrected_age = age.value_or(seconds{0}) + std::max(seconds{0}, response_delay);
  return std::max(apparent_age, corrected_age);
}

seconds current_age(seconds initial_age, sys_seconds response_time, sys_seconds now) noexcept {
  return initial_age + std::max(seconds{0}, now - response_time);
}

bool Freshness::may_serve_while_revalidating(sys_seconds now) const noexcept {
  if (must_revalidate || no_cache) return false;
  const seconds left = time_left(now);
  return left <= seconds{0} && -left < stale_while_revalidate;
}

bool Freshness::may_serve_on_error(sys_seconds now) const noexcept {
  if (must_revalidate || no_cache) return false;
  const seconds left = time_left(now);
  return left <= seconds{0} && -left < stale_if_error;
}

Freshness assess(const ResponseFacts& response, const FreshnessRules& rules,
                 sys_seconds response_time, seconds response_delay) noexcept {
  const Lifetime lifetime = freshness_lifetime(response, rules, response_time);
  const CacheControl& control = response.control;
  // s-maxage includes proxy-revalidate (§5.2.2.10), so no default of ours loosens it.
  const bool defaults_allowed = !control.s_maxage;
  auto stale_time = [&](std::optional<seconds> named, seconds by_site) {
    return named ? *named : defaults_allowed ? by_site : seconds{0};
  };
  return {
      .response_time = response_time,
      .initial_age = initial_age(response_time, response.date, response.age, response_delay),
      .lifetime = lifetime.lifetime,
      .stale_while_revalidate =
          stale_time(control.stale_while_revalidate, rules.stale_while_revalidate),
      .stale_if_error = stale_time(control.stale_if_error, rules.stale_if_error),
      .source = lifetime.source,
      .must_revalidate = control.must_revalidate || control.proxy_revalidate,
      .no_cache = control.no_cache,
  };
}

}  // namespace segue::http
