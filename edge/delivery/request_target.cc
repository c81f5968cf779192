#include "edge/delivery/request_target.h"

#include <array>
#include <chrono>
#include <cstring>

#include "base/hash.h"
#include "http/target.h"

namespace segue::edge {
namespace {

using std::chrono::minutes;

/// One play's many ranges are one use: the same listener asking for the same representation within
/// ten minutes (clients repeat one track's ranges 8 to 30 times, facts of real players).
cache::UseId use_id(uint64_t address_hash, const KeyHash& key, WallTime now) noexcept {
  const auto window =
      static_cast<uint64_t>(std::chrono::floor<minutes>(now).time_since_epoch() / minutes{10});
  return cache::UseId{mix(address_hash ^ key.low ^ mix(window))};
}

void set_first_range(Asked& asked, const http::ParsedRange& range) noexcept {
  asked.range_form = Asked::RangeForm::None;
  if (range.kind != http::ParsedRange::Kind::Ranges) return;
  const http::RangeSpec& spec = range.specs[0];
  if (spec.is_suffix()) {
    asked.range_form = Asked::RangeForm::Suffix;
    asked.range = {0, *spec.last};
  } else if (!spec.last) {
    asked.range_form = Asked::RangeForm::OpenEnded;
    asked.range = {*spec.first, UINT64_MAX};
  } else {
    asked.range_form = Asked::RangeForm::Bounded;
    asked.range = {*spec.first, *spec.last == UINT64_MAX ? UINT64_MAX : *spec.last + 1};
  }
}

}  // namespace

std::optional<Refusal> resolve_target(Exchange& exchange, const SiteTable& sites,
                                      const cache::Store& store, WallTime now) noexcept {
  const http::Request& request = exchange.request;
  Asked& asked = exchange.asked;
  asked.site = sites.find(request.host);
  if (asked.site == nullptr) return Refusal{421, "unknown_host"};
  // Absolute-form and origin-form have a path; "*" (OPTIONS) and CONNECT's authority have none, and
  // are answered by method alone.
  if (request.origin_form.empty()) return std::nullopt;

  std::span<char> key_room = exchange.arena.take(kKeyBytesMax);
  std::span<char> scratch = exchange.arena.take(kKeyBytesMax);
  SEGUE_ASSERT(!scratch.empty());  // the arena is sized for both
  auto text = write_key_text(*asked.site, request.origin_form, scratch, key_room);
  exchange.arena.shrink(scratch, 0);
  if (!text)
    return text.error().kind == Kind::Full ? Refusal{414, "target_too_long"}
                                           : Refusal{400, "bad_target"};
  exchange.arena.shrink(key_room, text->key_text.size());

  asked.key_text = text->key_text;
  asked.target = text->target;
  asked.key = store.hash(asked.key_text);
  asked.fields = request.fields;
  asked.head_only = request.method == http::Method::Head;
  asked.only_if_cached = request.fields.list_contains("Cache-Control", "only-if-cached");
  asked.authorized = request.fields.contains("Authorization");
  asked.use = use_id(exchange.client.address_hash, asked.key, now);
  exchange.ranges = http::requested_range(request.method, request.fields);
  set_first_range(asked, exchange.ranges);
  return std::nullopt;
}

}  // namespace segue::edge
