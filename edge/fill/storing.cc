#include "edge/fill/storing.h"

#include <string>

#include "http/freshness.h"
#include "http/hop_by_hop.h"
#include "http/validator.h"

namespace segue::edge {
namespace {

http::FreshnessRules rules_of(const TtlRules& ttl) noexcept {
  http::FreshnessRules rules;
  rules.override_lifetime = ttl.override_lifetime;
  rules.default_lifetime = ttl.default_lifetime;
  rules.negative_lifetime = ttl.negative;
  rules.stale_while_revalidate = ttl.stale_while_revalidate;
  rules.stale_if_error = ttl.stale_if_error;
  return rules;
}

std::chrono::sys_seconds seconds_of(WallTime time) noexcept {
  return std::chrono::floor<std::chrono::seconds>(time);
}

std::chrono::seconds delay_of(const origin::FetchHead& head) noexcept {
  // In whole seconds, as Age counts: an answer that took 3 ms is not a second older than it says.
  const auto delay = head.response_time - head.request_time;
  return std::max(std::chrono::floor<std::chrono::seconds>(delay), std::chrono::seconds{0});
}

void set_freshness(StoredResponse::Parts& parts, const http::ResponseFacts& facts,
                   const origin::FetchHead& head, const Site& site) {
  const http::Freshness freshness =
      http::assess(facts, rules_of(site.ttl), seconds_of(head.response_time), delay_of(head));
  parts.response_time = head.response_time;
  parts.date = facts.date.value_or(seconds_of(head.response_time));
  parts.initial_age = freshness.initial_age;
  parts.lifetime = freshness.lifetime;
  parts.stale_while_revalidate = freshness.stale_while_revalidate;
  parts.stale_if_error = freshness.stale_if_error;
  parts.must_revalidate = freshness.must_revalidate;
  parts.no_cache = freshness.no_cache;
}

bool can_join_ranges(ValidatorRule rule, const http::Validator& validator) noexcept {
  switch (rule) {
    case ValidatorRule::Etag:
      return validator.is_strong();
    case ValidatorRule::LastModified:
      return validator.last_modified().has_value();
    case ValidatorRule::Length:
      return true;
  }
  return false;
}

/// What varies by a field that never reaches the origin does not vary by it.
http::VaryNames effective_names(const http::VaryNames& names, const Site& site) {
  if (names.is_any() || names.empty()) return names;
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!is_forwarded(site, names[i])) continue;
    if (!text.empty()) text.push_back(',');
    text.append(names[i]);
  }
  return http::parse_vary_text(text);
}

/// The body did not change with a 304, so its digest and its coding stay (RFC 9111 §3.2).
bool updates_stored(std::string_view name, http::FieldsView news) noexcept {
  const bool stays = http::equals_ignore_case(name, "content-md5") ||
                     http::equals_ignore_case(name, "content-encoding") ||
                     http::equals_ignore_case(name, "date");
  return http::is_stored_field(name, news) && !stays;
}

}  // namespace

Verdict judge(const origin::FetchHead& head, int status, const OwnedAsk& ask, ValidatorRule rule,
              const cache::Store& store) {
  const http::FieldsView fields = head.fields.view();
  const http::ResponseFacts facts =
      http::read_response_facts(static_cast<uint16_t>(status), fields);
  Verdict verdict;
  verdict.vary = effective_names(http::parse_vary(fields), *ask.site);
  http::ResponseFacts judged = facts;
  judged.vary_any = verdict.vary.is_any();
  // RFC 9111 §3.5 is about answers that may depend on Authorization; one that was never sent to the
  // origin cannot have changed the answer (the edge's own tokens).
  http::FieldsView request;
  const http::Field authorization{"Authorization", ""};
  if (ask.authorized && is_forwarded(*ask.site, "authorization")) request = {{&authorization, 1}};
  const auto reason =
      http::why_not_storable(http::Method::Get, request, judged, rules_of(ask.site->ttl));
  verdict.storable = !head.close_delimited && reason == http::NotStorable::None;
  verdict.repeatable = !head.close_delimited && (reason == http::NotStorable::None ||
                                                 reason == http::NotStorable::NoLifetime);

  if (auto tags = tags_of(fields, *ask.site, store)) {
    verdict.tags = std::move(*tags);
  } else {
    verdict.storable = verdict.repeatable = false;
    verdict.too_many_tags = true;
  }

  StoredResponse::Parts& parts = verdict.parts;
  parts.form = status == 200 ? StoredResponse::Form::Normal : StoredResponse::Form::Negative;
  parts.status = status;
  http::copy_stored_fields(fields, parts.fields);
  parts.fields.remove("date");
  for (const std::string& name : ask.site->hidden_fields()) parts.fields.remove(name);
  const http::Validator validator = http::Validator::of_response(fields);
  parts.etag = fields.find_only("etag").value_or(std::string_view());
  parts.last_modified = validator.last_modified();
  parts.strong_validator = can_join_ranges(rule, validator);
  parts.server = head.server;
  set_freshness(parts, facts, head, *ask.site);
  return verdict;
}

bool same_version(ValidatorRule rule, const StoredResponse& stored,
                  const origin::FetchHead& head) noexcept {
#ifdef SEGUE_PLANTED_BUG_validator_not_compared
  return true;
#endif
  const StoredResponse::Parts& parts = stored.parts();
  if (!parts.strong_validator) return false;
  const http::Validator shown = http::Validator::of_response(head.fields.view());
  switch (rule) {
    case ValidatorRule::Etag: {
      const auto tag = http::parse_entity_tag(parts.etag);
      if (tag || shown.entity_tag())
        return tag && shown.entity_tag() && http::strong_match(*tag, *shown.entity_tag());
      return parts.last_modified.has_value() && parts.last_modified == shown.last_modified();
    }
    case ValidatorRule::LastModified:
      return parts.last_modified.has_value() && parts.last_modified == shown.last_modified();
    case ValidatorRule::Length:
      return true;
  }
  return false;
}

bool is_about(const StoredResponse& stored, const origin::FetchHead& head) noexcept {
  const auto shown = http::Validator::of_response(head.fields.view());
  if (!shown.entity_tag()) return true;
  const auto tag = http::parse_entity_tag(stored.parts().etag);
  return tag && http::weak_match(*tag, *shown.entity_tag());
}

Ref<const StoredResponse> freshened(const StoredResponse& stored, const origin::FetchHead& head,
                                    const Site& site) {
  StoredResponse::Parts parts = stored.parts();
  const http::FieldsView news = head.fields.view();
  for (const http::Field& field : news) {
    if (updates_stored(field.name, news)) parts.fields.remove(field.name);
  }
  for (const http::Field& field : news) {
    if (!updates_stored(field.name, news)) continue;
    (void)parts.fields.add(field.name, field.value);  // parsed before, so it is a field
  }
  http::OwnedFields judged = parts.fields;
  for (const std::string_view name : {std::string_view("Date"), std::string_view("Age")}) {
    if (const auto value = news.find(name)) (void)judged.add(name, *value);
  }
  set_freshness(parts,
                http::read_response_facts(static_cast<uint16_t>(parts.status), judged.view()), head,
                site);
  for (const std::string& name : site.hidden_fields()) parts.fields.remove(name);
  parts.etag = parts.fields.view().find_only("etag").value_or(std::string_view());
  parts.last_modified = http::Validator::of_response(parts.fields.view()).last_modified();
  parts.server = head.server;
  return make_ref<const StoredResponse>(std::move(parts));
}

Ref<const StoredResponse> pass_marker(WallTime until) {
  StoredResponse::Parts parts;
  parts.form = StoredResponse::Form::Pass;
  parts.pass_until = until;
  return make_ref<const StoredResponse>(std::move(parts));
}

Ref<const StoredResponse> vary_list(const http::VaryNames& names, WallTime now) {
  StoredResponse::Parts parts;
  parts.form = StoredResponse::Form::VaryList;
  parts.response_time = now;
  for (size_t i = 0; i < names.size(); ++i) parts.vary_names.emplace_back(names[i]);
  return make_ref<const StoredResponse>(std::move(parts));
}

http::VaryNames names_of(const StoredResponse& list) noexcept {
  http::VaryNames none;
  std::array<char, http::kVaryTextBytesMax> text;
  size_t used = 0;
  for (const std::string& name : list.parts().vary_names) {
    if (used + name.size() + 1 > text.size()) return none;
    if (used > 0) text[used++] = ',';
    used += name.copy(text.data() + used, name.size());
  }
  return http::parse_vary_text({text.data(), used});
}

}  // namespace segue::edge
