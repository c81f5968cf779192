#include "edge/delivery/admission.h"

#include <algorithm>
#include <chrono>

namespace segue::edge {

namespace {

constexpr uint64_t kOpenEndedBytes = uint64_t{kFillOpenEndedFirstSlices} * kSliceBytes;

TokenGrant grant_for(const Exchange& exchange, const Ref<const TokenRules>& rules,
                     std::string_view path, WallTime now) {
  const http::Request& request = exchange.request;
  const TokenAsk ask{
      .path = path,
      .origin_form = request.origin_form,
      .fields = request.fields,
      .client = exchange.client.address,
      .host = request.host,
      .port = request.port,
      .tls = exchange.client.tls,
      .now = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count()};
  Guest* guest = exchange.client.guest;
  return check_token(rules, ask, guest != nullptr ? &guest->token : nullptr);
}

std::optional<Refusal> check_token_of(Exchange& exchange, const Ref<const TokenRules>& rules,
                                      WallTime now, std::string_view& id) {
  const std::string_view target = exchange.asked.target;
  const TokenGrant grant = grant_for(exchange, rules, target.substr(0, target.find('?')), now);
  exchange.preview_bytes = grant.preview_bytes;
  id = grant.id;
  if (grant.verdict == TokenVerdict::Allowed) return std::nullopt;
  const bool expired = grant.verdict == TokenVerdict::Expired;
  return Refusal{expired ? rules->expired_status : 403, name_of(grant.verdict)};
}

/// What a request may cost the origin, rounded out to slices; what it did cost is known at its end.
uint64_t estimated_bytes(const Asked& asked) noexcept {
  if (asked.head_only) return kSliceBytes;
  if (asked.range_form != Asked::RangeForm::Bounded) return kOpenEndedBytes;
  const uint64_t first = asked.range.first / kSliceBytes;
  const uint64_t end = (asked.range.end - 1) / kSliceBytes + 1;
  return std::min<uint64_t>((end - std::min(first, end)) * kSliceBytes, kFillRunBytesMax);
}

uint64_t bytes_of_origin(const Exchange& exchange) noexcept {
  const uint64_t sent = exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Origin)];
  uint64_t asked = 0;
  if (exchange.reader) {
    // A byte out of a slice costs the slice.
    asked = uint64_t{exchange.reader->slices_missed()} * kSliceBytes;
    if (exchange.selection.selected)
      asked = std::min(asked, exchange.selection.selected.generation->complete_length());
  }
  return std::max(sent, asked) + exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Pass)];
}

}  // namespace

std::optional<Refusal> admit(Exchange& exchange, const SiteTable& sites, ClientLimits* limits,
                             MonoTime now, WallTime wall) {
  std::string_view id;
  if (const Ref<const TokenRules>& rules = sites.tokens_of(*exchange.asked.site)) {
    if (auto refusal = check_token_of(exchange, rules, wall, id)) return refusal;
  }
  if (limits == nullptr || !limits->counts_requests()) return std::nullopt;
  const bool named = limits->options().by_token && !id.empty();
  exchange.limited = named ? limits->key_of_token(id) : exchange.client.network;
  const uint32_t wait = limits->request(exchange.limited, now);
  if (wait == 0) return std::nullopt;
  exchange.retry_after = wait;
  return Refusal{429, "limit_requests"};
}

uint64_t readable_elsewhere(const Exchange& exchange, const SiteTable& sites, std::string_view path,
                            WallTime wall) {
  const Ref<const TokenRules>& rules = sites.tokens_of(*exchange.asked.site);
  if (!rules) return UINT64_MAX;
  const TokenGrant grant = grant_for(exchange, rules, path, wall);
  return grant.verdict == TokenVerdict::Allowed ? grant.preview_bytes : 0;
}

bool admit_miss(Exchange& exchange, ClientLimits* limits, bool relayed, MonoTime now) noexcept {
  // One whose head is out was a hit; what it costs yet is charged at its end.
  if (exchange.limited == 0 || exchange.head_offered) return true;
  const uint32_t wait = limits->miss(exchange.limited, now);
  if (wait == 0) {
    exchange.charged_bytes = static_cast<int64_t>(estimated_bytes(exchange.asked));
    limits->charge(exchange.limited, exchange.charged_bytes, now);
    return true;
  }
  exchange.retry_after = wait;
  exchange.refusal = {429, "limit_misses"};
  exchange.asked.only_if_cached = true;
  return !relayed;
}

void settle(const Exchange& exchange, ClientLimits* limits, MonoTime now) noexcept {
  if (exchange.limited == 0) return;
  const auto cost = static_cast<int64_t>(bytes_of_origin(exchange));
  limits->charge(exchange.limited, cost - exchange.charged_bytes, now);
}

void pace(Exchange& exchange, uint64_t bytes, MonoTime now) noexcept {
  Guest* guest = exchange.client.guest;
  if (guest == nullptr) return;
  const PaceRules& rules = exchange.asked.site->pace;
  constexpr double kNanoseconds = 1e9;
  const auto cost_of = [&](uint64_t of) {
    return static_cast<int64_t>(static_cast<double>(of) * kNanoseconds /
                                static_cast<double>(rules.bytes_per_second));
  };
  const int64_t at =
      std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  guest->paced_until = std::max(guest->paced_until, at) + cost_of(bytes);
  const int64_t ahead = guest->paced_until - at;
  const int64_t burst = cost_of(rules.burst_bytes);
  if (!guest->paced && ahead > burst) {
    guest->paced = true;
    exchange.stream.pace(rules.bytes_per_second);
  } else if (guest->paced && ahead < burst / 2) {
    guest->paced = false;
    exchange.stream.pace(UINT64_MAX);
  }
}

bool fit_to_preview(Plan& plan, uint64_t preview_bytes) noexcept {
  switch (plan.body) {
    case Plan::Body::None:
      return true;
    case Plan::Body::Multipart:
      return std::ranges::all_of(plan.parts.ranges(),
                                 [&](const ByteRange& part) { return part.end <= preview_bytes; });
    case Plan::Body::Single:
      break;
  }
  if (plan.range.end <= preview_bytes) return true;
  if (plan.status != 206 || plan.range.first >= preview_bytes) return false;
  plan.range.end = preview_bytes;
  plan.open_ended = false;
  return true;
}

bool fits_preview(const PassPlan& plan, bool bodyless, uint64_t preview_bytes) noexcept {
  if (bodyless || plan.status / 100 != 2) return true;
  if (plan.content_range) return plan.content_range->end <= preview_bytes;
  return plan.length.value_or(UINT64_MAX) <= preview_bytes;
}

}  // namespace segue::edge
