#include "edge/delivery/admission.h"

#include <algorithm>
#include <chrono>

namespace segue::edge {

namespace {

TokenAsk token_ask(const Exchange& exchange, std::string_view path, WallTime now) noexcept {
  const http::Request& request = exchange.request;
  return {.path = path,
          .origin_form = request.origin_form,
          .fields = request.fields,
          .client = exchange.client.address,
          .host = request.host,
          .port = request.port,
          .tls = exchange.client.tls,
          .now = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count()};
}

std::optional<Refusal> check_token_of(Exchange& exchange, const Ref<const TokenRules>& rules,
                                      WallTime now, std::string_view& id) {
  const std::string_view target = exchange.asked.target;
  const TokenAsk ask = token_ask(exchange, target.substr(0, target.find('?')), now);
  Guest* guest = exchange.client.guest;
  const TokenMemo* before = guest != nullptr ? guest->token.get() : nullptr;
  const TokenGrant grant = check_token(rules, ask, guest != nullptr ? &guest->token : nullptr);
  if (guest != nullptr && guest->token.get() != before) ++guest->token_changes;
  if (guest != nullptr) exchange.token_changes = guest->token_changes;
  exchange.preview_bytes = grant.preview_bytes;
  id = grant.id;
  if (grant.verdict == TokenVerdict::Allowed) return std::nullopt;
  const bool expired = grant.verdict == TokenVerdict::Expired;
  return Refusal{expired ? rules->expired_status : 403, name_of(grant.verdict)};
}

std::optional<Refusal> count_request(Exchange& exchange, ClientLimits* limits,
                                     ClientLimits::Key who, MonoTime now) noexcept {
  const uint32_t wait = limits->request(who, now);
  if (wait == 0) return std::nullopt;
  exchange.retry_after = wait;
  return Refusal{429, "limit_requests"};
}

int64_t nanoseconds_of(MonoTime time) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

void let_go(const Exchange& exchange) noexcept {
  if (exchange.client.guest->pace == 0) return;
  exchange.client.guest->pace = 0;
  exchange.stream.pace(UINT64_MAX);
}

}  // namespace

std::optional<Refusal> admit_client(Exchange& exchange, ClientLimits* limits, bool is_refused,
                                    MonoTime now) noexcept {
  if (limits == nullptr || !limits->counts_requests()) return std::nullopt;
  exchange.asked.payer = exchange.client.network;
  if (limits->options().by_token && !is_refused) return std::nullopt;
  return count_request(exchange, limits, exchange.asked.payer, now);
}

std::optional<Refusal> admit(Exchange& exchange, const SiteTable& sites, ClientLimits* limits,
                             MonoTime now, WallTime wall) {
  std::string_view id;
  std::optional<Refusal> refusal;
  if (const Ref<const TokenRules>& rules = sites.tokens_of(*exchange.asked.site))
    refusal = check_token_of(exchange, rules, wall, id);
  if (limits != nullptr && limits->counts_requests() && limits->options().by_token) {
    // Whose token is no good is nobody but an address, and its guesses are counted.
    if (!refusal && !id.empty()) exchange.asked.payer = limits->key_of_token(id);
    if (auto over = count_request(exchange, limits, exchange.asked.payer, now)) return over;
  }
  if (!refusal) exchange.token_id = id;
  return refusal;
}

uint64_t readable_elsewhere(const Exchange& exchange, const SiteTable& sites, std::string_view path,
                            WallTime wall, UriMatcher& matcher) {
  if (!sites.tokens_of(*exchange.asked.site)) return UINT64_MAX;
  const Guest* guest = exchange.client.guest;
  // Nothing is known of its token, or only of another request's.
  if (guest == nullptr || guest->token == nullptr || guest->token_changes != exchange.token_changes)
    return 0;
  const TokenGrant grant = check_hint(token_ask(exchange, path, wall), *guest->token, matcher);
  return grant.verdict == TokenVerdict::Allowed ? grant.preview_bytes : 0;
}

bool may_miss(Exchange& exchange, const ClientLimits* limits, MonoTime now) noexcept {
  if (exchange.asked.payer == 0) return true;
  const uint32_t wait = limits->miss(exchange.asked.payer, now);
  if (wait == 0) return true;
  exchange.retry_after = wait;
  exchange.refusal = {429, "limit_misses"};
  exchange.asked.only_if_cached = true;
  return false;
}

void review_pace(const Exchange& exchange, MonoTime now) noexcept {
  const Guest* guest = exchange.client.guest;
  if (guest == nullptr || guest->pace == 0) return;
  const bool has_pace = exchange.asked.site->pace.bytes_per_second != 0;
  if (!has_pace || guest->paced_until <= nanoseconds_of(now)) let_go(exchange);
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
  const int64_t at = nanoseconds_of(now);
  guest->paced_until = std::max(guest->paced_until, at) + cost_of(bytes);
  const int64_t ahead = guest->paced_until - at;
  const int64_t burst = cost_of(rules.burst_bytes);
  if (ahead > burst && guest->pace != rules.bytes_per_second) {
    guest->pace = rules.bytes_per_second;
    exchange.stream.pace(guest->pace);
  } else if (ahead < burst / 2) {
    let_go(exchange);
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

bool fit_to_preview(PassPlan& plan, bool bodyless, uint64_t preview_bytes) noexcept {
  if (bodyless || plan.status / 100 != 2) return true;
  if (!plan.content_range) return plan.length.value_or(UINT64_MAX) <= preview_bytes;
  ByteRange& range = *plan.content_range;
  if (range.end <= preview_bytes) return true;
  if (range.first >= preview_bytes) return false;
  plan.body.end = plan.body.first + (preview_bytes - range.first);
  range.end = preview_bytes;
  plan.length = range.length();
  return true;
}

}  // namespace segue::edge
