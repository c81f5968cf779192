#include "edge/fill/owned_ask.h"

#include <algorithm>
#include <array>

#include "http/hop_by_hop.h"

namespace segue::edge {
namespace {

// These we write ourselves for each fetch; a site that lists one would have two of it.
constexpr std::array<std::string_view, 14> kOurs{"host",
                                                 "range",
                                                 "if-range",
                                                 "if-none-match",
                                                 "if-match",
                                                 "user-agent",
                                                 "cdn-loop",
                                                 "accept-encoding",
                                                 "if-modified-since",
                                                 "if-unmodified-since",
                                                 "content-length",
                                                 "via",
                                                 "traceparent",
                                                 "expect"};

}  // namespace

OwnedAsk own(const Asked& asked, const KeyHash& key, std::string_view key_text,
             const char* traceparent) {
  return {.site = Ref<const Site>(asked.site),
          .key = key,
          .key_text = std::string(key_text),
          .target = std::string(asked.target),
          .fields = http::OwnedFields(asked.fields),
          .traceparent = traceparent,
          .range_form = asked.range_form,
          .range = asked.range,
          .head_only = asked.head_only,
          .authorized = asked.authorized,
          .urgent = asked.urgent,
          .use = asked.use,
          .priority = asked.priority,
          .payer = asked.payer};
}

bool is_forwarded(const Site& site, std::string_view name) noexcept {
  const auto same = [name](std::string_view other) {
    return http::equals_ignore_case(name, other);
  };
  if (!site.token_names.empty() && (same("cookie") || std::ranges::any_of(site.token_names, same)))
    return false;
  const auto listed = [&](std::string_view other) { return other == "*" || same(other); };
  return std::ranges::any_of(site.forward_fields, listed) && std::ranges::none_of(kOurs, same) &&
         !http::is_hop_by_hop(name);
}

origin::FetchRequest plain_request(const Site& site, std::string_view target,
                                   http::FieldsView fields, std::string_view traceparent) {
  origin::FetchRequest request;
  request.target = target;
  for (const http::Field& field : fields) {
    // These two say which way a request came; our own name is added to them.
    const bool way = http::equals_ignore_case(field.name, "via") ||
                     http::equals_ignore_case(field.name, "cdn-loop");
    if (!way && !is_forwarded(site, field.name)) continue;
    if (http::is_hop_by_hop(field.name, fields)) continue;  // also what Connection lists
    // False only for what is no field, and then it must not go out.
    (void)request.fields.add(field.name, field.value);
  }
  if (!traceparent.empty()) (void)request.fields.add("traceparent", traceparent);
  return request;
}

void set_own_range(origin::FetchRequest& request, Asked::RangeForm form, ByteRange range) noexcept {
  using Form = origin::FetchRequest::RangeForm;
  switch (form) {
    case Asked::RangeForm::None:
      request.range_form = Form::None;
      return;
    case Asked::RangeForm::Bounded:
      request.range_form = Form::Bounded;
      request.range = range;
      break;
    case Asked::RangeForm::OpenEnded:
      request.range_form = Form::Bounded;
      request.range = {range.first, kOpenEnd};
      break;
    case Asked::RangeForm::Suffix:
      request.range_form = Form::Suffix;
      request.suffix_length = range.end;
      break;
  }
  // No origin is asked for nothing, or past what a number holds: its whole answer shows the length,
  // and with it the 416.
  const bool empty =
      request.range_form == Form::Suffix ? request.suffix_length == 0 : request.range.empty();
  if (empty) request.range_form = Form::None;
}

}  // namespace segue::edge
