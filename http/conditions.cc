#include "http/conditions.h"

#include "http/date.h"

namespace segue::http {
namespace {

using TagMatch = bool (*)(const EntityTag&, const EntityTag&) noexcept;

/// Whether any of the lines of `name` holds "*" or a tag that matches.
bool any_tag_matches(FieldsView request, std::string_view name, const Validator& selected,
                     TagMatch matches) {
  FieldValues values(request, name);
  while (auto value = values.next()) {
    if (*value == "*") return true;  // the representation exists
    if (!selected.entity_tag()) continue;
    EntityTagList tags(*value);
    while (auto tag = tags.next()) {
      if (matches(*tag, *selected.entity_tag())) return true;
    }
  }
  return false;
}

std::optional<std::chrono::sys_seconds> date_of(FieldsView request, std::string_view name) {
  std::optional<std::string_view> value = request.find_only(name);
  return value ? parse_date(*value) : std::nullopt;
}

}  // namespace

Condition evaluate_preconditions(Method method, FieldsView request,
                                 const Validator& selected) noexcept {
  const bool is_read = method == Method::Get || method == Method::Head;
  // The steps of RFC 9110 §13.2.2.
  if (request.contains("If-Match")) {
    if (!any_tag_matches(request, "If-Match", selected, strong_match)) {
      return Condition::PreconditionFailed;
    }
  } else if (auto date = date_of(request, "If-Unmodified-Since");
             date && selected.last_modified() && *selected.last_modified() > *date) {
    return Condition::PreconditionFailed;
  }
  if (request.contains("If-None-Match")) {
    if (any_tag_matches(request, "If-None-Match", selected, weak_match)) {
      return is_read ? Condition::NotModified : Condition::PreconditionFailed;
    }
  } else if (is_read) {
    auto date = date_of(request, "If-Modified-Since");
    // Without Last-Modified the time the response was made counts (RFC 9111 §4.3.2).
    const auto modified = selected.last_modified() ? selected.last_modified() : selected.date();
    if (date && modified && *modified <= *date) return Condition::NotModified;
  }
  return Condition::Proceed;
}

bool if_range_matches(FieldsView request, const Validator& selected) noexcept {
  if (!request.contains("If-Range")) return true;
  std::optional<std::string_view> value = request.find_only("If-Range");
  if (!value) return false;
  if (std::optional<EntityTag> tag = parse_entity_tag(*value)) {
    return selected.entity_tag() && strong_match(*tag, *selected.entity_tag());
  }
  // A date must be equal, not merely later, and be a strong validator here (§13.1.5).
  std::optional<std::chrono::sys_seconds> date = parse_date(*value);
  return date && selected.last_modified_is_strong() && *date == *selected.last_modified();
}

}  // namespace segue::http
