#include "edge/delivery/admission.h"

#include <algorithm>
#include <chrono>

namespace segue::edge {

std::optional<Refusal> admit(Exchange& exchange, const SiteTable& sites, WallTime now) {
  const Asked& asked = exchange.asked;
  const Ref<const TokenRules>& rules = sites.tokens_of(*asked.site);
  if (!rules) return std::nullopt;
  const http::Request& request = exchange.request;
  const TokenAsk ask{
      .path = asked.target.substr(0, asked.target.find('?')),
      .origin_form = request.origin_form,
      .fields = request.fields,
      .client = exchange.client.address,
      .host = request.host,
      .port = request.port,
      .tls = exchange.client.tls,
      .now = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count()};
  Guest* guest = exchange.client.guest;
  const TokenGrant grant = check_token(rules, ask, guest != nullptr ? &guest->token : nullptr);
  exchange.preview_bytes = grant.preview_bytes;
  if (grant.verdict == TokenVerdict::Allowed) return std::nullopt;
  const bool expired = grant.verdict == TokenVerdict::Expired;
  return Refusal{expired ? rules->expired_status : 403, name_of(grant.verdict)};
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
