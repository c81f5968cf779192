#include "edge/delivery/plan_pass.h"

#include "http/conditions.h"

namespace segue::edge {

PassPlan plan_pass(const Exchange& exchange) noexcept {
  const origin::FetchHead& head = *exchange.selection.pass_head;
  PassPlan plan;
  plan.status = head.status;
  plan.length = head.content_length;
  if (exchange.asked.head_only && (head.status == 206 || head.status == 416)) {
    plan.status = 200;  // one byte was asked for, to learn the length; not every origin tells it
    plan.length = head.complete_length;
    return plan;
  }
  if (head.status == 206 && head.content_range) {
    plan.content_range = head.content_range;
    plan.complete_length = head.complete_length;
    return plan;
  }
  if (head.status == 416) plan.complete_length = head.complete_length;
  if (head.status != 200 || !head.content_length ||
      exchange.ranges.kind != http::ParsedRange::Kind::Ranges)
    return plan;
  if (!http::if_range_matches(exchange.request.fields,
                              http::Validator::of_response(head.fields.view())))
    return plan;
  const uint64_t complete_length = *head.content_length;
  const http::Resolved resolved = http::resolve(exchange.ranges, complete_length);
  if (resolved.kind == http::Resolved::Kind::NotSatisfiable) {
    plan.status = 416;
    plan.length = 0;
    plan.complete_length = complete_length;
    plan.body = {};
    return plan;
  }
  if (resolved.kind != http::Resolved::Kind::Ranges || resolved.count != 1) return plan;
  plan.status = 206;
  plan.body = resolved.parts[0];
  plan.length = plan.body.length();
  plan.content_range = plan.body;
  plan.complete_length = complete_length;
  return plan;
}

}  // namespace segue::edge
