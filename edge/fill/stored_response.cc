#include "edge/fill/stored_response.h"

#include "http/freshness.h"

namespace segue::edge {
namespace {

std::chrono::sys_seconds seconds_of(WallTime time) noexcept {
  return std::chrono::floor<std::chrono::seconds>(time);
}

}  // namespace

std::chrono::seconds StoredResponse::age(WallTime now) const noexcept {
  return http::current_age(parts_.initial_age, seconds_of(parts_.response_time), seconds_of(now));
}

bool StoredResponse::is_fresh(WallTime now) const noexcept {
  return ttl(now) > std::chrono::seconds{0};
}

std::chrono::seconds StoredResponse::ttl(WallTime now) const noexcept {
  return parts_.lifetime - age(now);
}

bool StoredResponse::may_serve_while_revalidating(WallTime now, bool purged) const noexcept {
  if (parts_.form != Form::Normal || parts_.must_revalidate || parts_.no_cache) return false;
  if (parts_.stale_while_revalidate == std::chrono::seconds{0}) return false;
  // A soft purge is as if the lifetime had just ended; the time since then is not known here.
  return (purged && is_fresh(now)) || -ttl(now) < parts_.stale_while_revalidate;
}

bool StoredResponse::may_serve_on_error(WallTime now, bool purged) const noexcept {
  if (parts_.form != Form::Normal || parts_.must_revalidate || parts_.no_cache) return false;
  if (parts_.stale_if_error == std::chrono::seconds{0}) return false;
  return (purged && is_fresh(now)) || -ttl(now) < parts_.stale_if_error;
}

}  // namespace segue::edge
