#include "edge/delivery/respond.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "http/cache_status.h"
#include "http/content_range.h"
#include "http/hop_by_hop.h"
#include "http/response_head.h"

namespace segue::edge {
namespace {

constexpr std::string_view kMethodsAllowed = "GET, HEAD, OPTIONS";
// What scripts may send and read: players' ranges and CMCD, and what tells them of hits (facts of
// real clients, CORS).
constexpr std::string_view kCorsRequestFields =
    "Range, If-Range, If-None-Match, If-Modified-Since, CMCD-Request, CMCD-Object, CMCD-Status, "
    "CMCD-Session";
constexpr std::string_view kCorsExposedFields =
    "Accept-Ranges, Age, Cache-Status, Content-Length, Content-Range, Date, ETag, CMSD-Static, "
    "CMSD-Dynamic";

/// Copies what `write` puts into a piece of the arena; empty when the arena is full (the field is
/// then left out, never cut).
template <class Write>
std::string_view in_arena(Arena& arena, size_t bytes_max, Write&& write) noexcept {
  std::span<char> room = arena.take(bytes_max);
  if (room.empty()) return {};
  const std::string_view text = write(room);
  arena.shrink(room, text.size());
  return text;
}

std::string_view number_text(Arena& arena, uint64_t number) noexcept {
  return in_arena(arena, 20, [&](std::span<char> room) {
    const char* end = std::to_chars(room.data(), room.data() + room.size(), number).ptr;
    return std::string_view(room.data(), static_cast<size_t>(end - room.data()));
  });
}

void add_cache_status(Exchange& exchange, std::string_view node_name,
                      const http::CacheStatus& facts) noexcept {
  http::CacheStatus status = facts;
  status.node = node_name;
  std::string_view text =
      in_arena(exchange.arena, http::kCacheStatusBytesMax, [&](std::span<char> room) {
        auto written = http::write_cache_status(status, room);
        return written ? *written : std::string_view();
      });
  if (!text.empty()) exchange.head.add_own("Cache-Status", http::OwnValue::made(text));
}

http::CacheStatus cache_status_of(const Selection& selection) noexcept {
  http::CacheStatus status;
  status.hit = selection.hit;
  if (!selection.hit) status.forward = selection.forward_reason;
  if (selection.forward_status != 0)
    status.forward_status = static_cast<uint16_t>(selection.forward_status);
  status.stored = selection.stored;
  status.collapsed = selection.collapsed;
  return status;
}

void add_content_range(Exchange& exchange, ByteRange range, uint64_t complete_length) noexcept {
  const std::string_view text =
      in_arena(exchange.arena, http::kContentRangeTextMax, [&](std::span<char> room) {
        return http::write_content_range(range, complete_length,
                                         room.first<http::kContentRangeTextMax>());
      });
  exchange.head.add_own("Content-Range", http::OwnValue::made(text));
}

/// Where several origins are listed, each is told its own name; an answer to one is none to another
/// (Fetch standard, "CORS protocol and HTTP caches").
void add_cors(Exchange& exchange, const SiteFields& site) noexcept {
  if (site.cors.empty()) return;
  exchange.head.add("Vary", "Origin");
  const auto asked = exchange.request.fields.find_only("Origin");
  if (!asked || std::ranges::find(site.cors, *asked) == site.cors.end()) return;
  exchange.head.add("Access-Control-Allow-Origin", *asked);
  if (site.cors_credentials) exchange.head.add("Access-Control-Allow-Credentials", "true");
}

}  // namespace

SiteFields::SiteFields(const Site& site, std::string_view node_name) {
  fields.add("Accept-Ranges", "bytes");
  fields.add("Via", fmt::format("1.1 {}", node_name));
  hidden = site.hidden_fields();
  cors_request_fields = kCorsRequestFields;
  if (!site.token_names.empty()) cors_request_fields += ", " + site.token_names.front();
  if (!site.cors.empty()) {
    const bool all = site.cors.front() == "*";
    cors_credentials = !all && !site.token_names.empty();
    if (site.cors.size() == 1) {
      fields.add("Access-Control-Allow-Origin", site.cors.front());
      if (cors_credentials) fields.add("Access-Control-Allow-Credentials", "true");
    } else {
      cors = site.cors;
    }
    fields.add("Access-Control-Expose-Headers", kCorsExposedFields);
    fields.add("Timing-Allow-Origin", fmt::format("{}", fmt::join(site.cors, ", ")));
  }
  allow = kMethodsAllowed;
  for (const std::string& method : site.relay_methods) {
    if (method != "*") allow.append(", ").append(method);
  }
  for (const http::Field& field : fields.view())
    http1_block += fmt::format("{}: {}\r\n", field.name, field.value);
}

int status_of(const Error& error) noexcept {
  if (error.kind == Kind::Overloaded) return 503;
  switch (error.side) {
    case Side::Client:
      return 400;
    case Side::Disk:  // the origin is asked instead, so this is the origin's failure by then
    case Side::Self:
    case Side::Origin:
      return error.kind == Kind::Timeout ? 504 : 502;
  }
  return 500;
}

void write_stored_head(Exchange& exchange, const Plan& plan, const SiteFields& site,
                       std::string_view node_name, SliceCounts slices, WallTime now) noexcept {
  const StoredResponse& response = *exchange.selection.response;
  const uint64_t complete_length = exchange.selection.selected.generation->complete_length();
  ResponseHead& head = exchange.head;
  head.status = plan.status;
  head.date = response.date_text();
  head.stored_http1_block = response.http1_block();
  head.stored_fields = response.parts().fields.view();
  head.site_http1_block = site.http1_block;
  head.site_fields = site.fields.view();
  add_cors(exchange, site);
  switch (plan.status) {
    case 304:
      head.bodyless = true;
      head.without_stored_content_type = true;
      break;
    case 412:
    case 416:
      head.content_length = 0;
      head.without_stored_content_type = true;
      break;
    default:
      // HEAD answers with the length GET would have had (RFC 9110 §9.3.2).
      head.content_length = plan.range.length();
      head.bodyless = exchange.request.method == http::Method::Head;
      break;
  }
  if (plan.status == 206 && plan.body != Plan::Body::Multipart)
    add_content_range(exchange, plan.range, complete_length);
  if (plan.status == 416) {
    head.add("Content-Range",
             in_arena(exchange.arena, http::kContentRangeTextMax, [&](std::span<char> room) {
               return http::write_unsatisfied_range(complete_length,
                                                    room.first<http::kContentRangeTextMax>());
             }));
  }
  const auto age = static_cast<uint64_t>(std::max<int64_t>(response.age(now).count(), 0));
  head.add_own("Age", http::OwnValue::made(number_text(exchange.arena, age)));

  http::CacheStatus status = cache_status_of(exchange.selection);
  status.ttl = response.ttl(now).count();
  if (slices.needed > 0) {
    status.slices_hit = slices.hit;
    status.slices_needed = slices.needed;
    if (status.hit && slices.hit < slices.needed) {
      // The header was here, bytes are not: forwarded for the rest (RFC 9211 §2.2).
      status.hit = false;
      status.forward = slices.hit > 0 ? http::ForwardReason::Partial : http::ForwardReason::Miss;
      status.stored = true;
    }
  }
  if (exchange.selection.stale) status.detail = "stale";
  for (const http::Field& cookie : exchange.selection.cookies.view())
    head.add(cookie.name, cookie.value);
  add_cache_status(exchange, node_name, status);
}

void write_pass_head(Exchange& exchange, const SiteFields& site, std::string_view node_name,
                     int status, std::optional<uint64_t> length, std::optional<ByteRange> range_of,
                     std::optional<uint64_t> complete_length) noexcept {
  const origin::FetchHead& origin_head = *exchange.selection.pass_head;
  ResponseHead& head = exchange.head;
  head.status = status;
  head.content_length = length;
  head.bodyless = exchange.request.method == http::Method::Head || status == 204 || status == 304;
  head.site_http1_block = site.http1_block;
  head.site_fields = site.fields.view();
  add_cors(exchange, site);
  head.passed_fields = origin_head.fields.view();
  head.passed_without = site.hidden;
  if (range_of && complete_length) {
    add_content_range(exchange, *range_of, *complete_length);
  } else if (status == 416 && complete_length) {
    head.add("Content-Range",
             in_arena(exchange.arena, http::kContentRangeTextMax, [&](std::span<char> room) {
               return http::write_unsatisfied_range(*complete_length,
                                                    room.first<http::kContentRangeTextMax>());
             }));
  } else if (range_of) {
    // Without Content-Range a 206 says nothing, so the origin's unknown total is passed on as such
    // (RFC 9110 §14.4).
    head.add("Content-Range",
             in_arena(exchange.arena, http::kContentRangeTextMax, [&](std::span<char> room) {
               auto end = fmt::format_to_n(room.data(), room.size(), "bytes {}-{}/*",
                                           range_of->first, range_of->end - 1);
               return std::string_view(room.data(), std::min(end.size, room.size()));
             }));
  }
  add_cache_status(exchange, node_name, cache_status_of(exchange.selection));
}

std::string_view write_own_head(Exchange& exchange, const SiteFields* site,
                                std::string_view node_name, int status,
                                std::string_view reason) noexcept {
  ResponseHead& head = exchange.head;
  head.status = status;
  if (site != nullptr) {
    head.site_http1_block = site->http1_block;
    head.site_fields = site->fields.view();
    add_cors(exchange, *site);
  }
  const std::string_view body = in_arena(exchange.arena, 128, [&](std::span<char> room) {
    auto end = fmt::format_to_n(room.data(), room.size(), "{} {}: {}\n", status,
                                http::reason_phrase(static_cast<uint16_t>(status)), reason);
    return std::string_view(room.data(), std::min(end.size, room.size()));
  });
  head.content_length = body.size();
  head.bodyless = exchange.request.method == http::Method::Head;
  head.add("Content-Type", "text/plain; charset=utf-8");
  head.add("Cache-Control", "no-store");
  if (status == 405)
    head.add("Allow", site != nullptr ? std::string_view(site->allow) : kMethodsAllowed);
  // Players back off for minutes on an error without a hint when to come again.
  if (status == 429) head.add("Retry-After", number_text(exchange.arena, exchange.retry_after));
  if (status == 502 || status == 503 || status == 504) head.add("Retry-After", "1");
  if (status >= 500) {
    http::CacheStatus cache_status = cache_status_of(exchange.selection);
    cache_status.hit = false;
    if (!cache_status.forward) cache_status.forward = http::ForwardReason::Miss;
    cache_status.detail = reason;
    add_cache_status(exchange, node_name, cache_status);
  }
  return head.bodyless ? std::string_view() : body;
}

void write_options_head(Exchange& exchange, const SiteFields& site) noexcept {
  ResponseHead& head = exchange.head;
  head.status = 204;
  head.bodyless = true;
  head.site_http1_block = site.http1_block;
  head.site_fields = site.fields.view();
  add_cors(exchange, site);
  const http::FieldsView request = exchange.request.fields;
  const Site& rules = *exchange.asked.site;
  const auto method = request.find_only("Access-Control-Request-Method");
  if (!rules.cors.empty() && request.contains("Origin") && method) {
    // Of "*" no list can be made; the one that is asked for is allowed or not.
    const bool relayed = http::is_token(*method) && rules.relays(*method);
    head.add("Access-Control-Allow-Methods", relayed ? *method : std::string_view(site.allow));
    head.add("Access-Control-Allow-Headers", site.cors_request_fields);
    head.add("Access-Control-Max-Age", "86400");
  } else {
    head.add("Allow", site.allow);
  }
}

}  // namespace segue::edge
