#include "edge/delivery/plan.h"

#include "http/conditions.h"

namespace segue::edge {
namespace {

/// More than one range costs a part head each; a request of many tiny ranges must not make us send
/// more than the representation (RFC 9110 §14.2 lets a server ignore such a Range). resolve() has
/// capped and coalesced them already.
bool is_multipart(const http::Resolved& resolved) noexcept {
  return resolved.kind == http::Resolved::Kind::Ranges && resolved.count > 1;
}

bool is_open_ended(const http::ParsedRange& ranges) noexcept {
  return ranges.kind != http::ParsedRange::Kind::Ranges ||
         (ranges.specs[0].first && !ranges.specs[0].last);
}

Plan without_body(int status) noexcept {
  Plan plan;
  plan.status = status;
  return plan;
}

}  // namespace

Plan plan_response(const http::Request& request, const http::ParsedRange& ranges,
                   const StoredResponse& response, uint64_t complete_length) noexcept {
  const StoredResponse::Parts& parts = response.parts();
  const bool head_only = request.method == http::Method::Head;
  Plan plan;
  plan.status = parts.status;
  plan.range = {0, complete_length};
  plan.open_ended = true;
  if (parts.status == 200) {
    // Preconditions apply only to what would be a 2xx without them (RFC 9110 §13.2.1).
    const http::Validator& validator = response.validator();
    switch (http::evaluate_preconditions(request.method, request.fields, validator)) {
      case http::Condition::NotModified:
        return without_body(304);
      case http::Condition::PreconditionFailed:
        return without_body(412);
      case http::Condition::Proceed:
        break;
    }
    if (ranges.kind == http::ParsedRange::Kind::Ranges &&
        http::if_range_matches(request.fields, validator)) {
      plan.parts = http::resolve(ranges, complete_length);
      if (plan.parts.kind == http::Resolved::Kind::NotSatisfiable) return without_body(416);
      if (plan.parts.kind == http::Resolved::Kind::Ranges) {
        plan.status = 206;
        plan.range = plan.parts.parts[0];
        plan.open_ended = is_open_ended(ranges);
      }
    }
  }
  if (head_only || plan.range.empty()) return plan;
  plan.body = is_multipart(plan.parts) ? Plan::Body::Multipart : Plan::Body::Single;
  return plan;
}

}  // namespace segue::edge
