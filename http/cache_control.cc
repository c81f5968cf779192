#include "http/cache_control.h"

#include <algorithm>

#include "http/structured.h"

namespace segue::http {
namespace {

using std::chrono::seconds;

/// delta-seconds (RFC 9111 §1.2.2): digits only; what does not fit counts as the maximum.
std::optional<seconds> parse_delta(std::string_view text) {
  if (text.empty()) return std::nullopt;
  seconds value{0};
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = std::min(value * 10 + seconds{c - '0'}, kDeltaSecondsMax);
  }
  return value;
}

struct Flag {
  std::string_view name;
  bool CacheControl::* field;
};
// The argument of a flag (no-cache="field") is not looked at: the qualified form asks for less than
// the unqualified, so doing the latter is always right (§5.2.2.4, §5.2.2.7).
constexpr Flag kFlags[] = {
    {"no-store", &CacheControl::no_store},
    {"no-cache", &CacheControl::no_cache},
    {"private", &CacheControl::is_private},
    {"public", &CacheControl::is_public},
    {"must-revalidate", &CacheControl::must_revalidate},
    {"proxy-revalidate", &CacheControl::proxy_revalidate},
    {"must-understand", &CacheControl::must_understand},
    {"no-transform", &CacheControl::no_transform},
    {"immutable", &CacheControl::immutable},
    {"only-if-cached", &CacheControl::only_if_cached},
};

/// What a broken argument counts as, and which of two values wins.
enum class Rule : uint8_t { SmallestElseZero, Smallest, Largest };
struct Duration {
  std::string_view name;
  std::optional<seconds> CacheControl::* field;
  Rule rule;
};
constexpr Duration kDurations[] = {
    {"max-age", &CacheControl::max_age, Rule::SmallestElseZero},
    {"s-maxage", &CacheControl::s_maxage, Rule::SmallestElseZero},
    {"stale-while-revalidate", &CacheControl::stale_while_revalidate, Rule::Smallest},
    {"stale-if-error", &CacheControl::stale_if_error, Rule::Smallest},
    {"min-fresh", &CacheControl::min_fresh, Rule::Largest},
    {"max-stale", &CacheControl::max_stale, Rule::Smallest},
};

bool set_flag(CacheControl& control, std::string_view name) {
  for (const Flag& flag : kFlags) {
    if (!equals_ignore_case(name, flag.name)) continue;
    control.*flag.field = true;
    return true;
  }
  return false;
}

void set_duration(CacheControl& control, std::string_view name, std::optional<seconds> value) {
  for (const Duration& duration : kDurations) {
    if (!equals_ignore_case(name, duration.name)) continue;
    if (!value && duration.rule == Rule::SmallestElseZero) value = seconds{0};
    if (!value) return;
    std::optional<seconds>& field = control.*duration.field;
    if (!field) {
      field = value;
    } else {
      field = duration.rule == Rule::Largest ? std::max(*field, *value) : std::min(*field, *value);
    }
    return;
  }
}

/// One "name[=argument]" of Cache-Control. Spaces around '=' break the argument, not the name.
void take_directive(CacheControl& control, std::string_view directive) {
  const size_t equals = directive.find('=');
  const std::string_view raw_name = directive.substr(0, equals);
  const std::string_view name = trim_whitespace(raw_name);
  if (!is_token(name)) return;
  control.present = true;
  if (set_flag(control, name)) return;
  if (equals == std::string_view::npos) {
    const bool any_staleness = equals_ignore_case(name, "max-stale");
    set_duration(control, name, any_staleness ? std::optional(kDeltaSecondsMax) : std::nullopt);
    return;
  }
  std::string_view argument = directive.substr(equals + 1);
  if (argument.size() >= 2 && argument.starts_with('"') && argument.ends_with('"')) {
    argument = argument.substr(1, argument.size() - 2);
  }
  set_duration(control, name, name == raw_name ? parse_delta(argument) : std::nullopt);
}

void take_member(CacheControl& control, const DictionaryMember& member) {
  control.present = true;
  const BareItem& value = member.value;
  // "no-store=?0" is the one way to take a flag back.
  const bool is_false = value.type == BareItem::Type::Boolean && !value.boolean;
  if (is_false || set_flag(control, member.key)) return;
  std::optional<seconds> delta;
  if (value.type == BareItem::Type::Integer) {
    delta = std::clamp(seconds{value.integer}, seconds{0}, kDeltaSecondsMax);
  }
  set_duration(control, member.key, delta);
}

}  // namespace

CacheControl parse_cache_control(FieldsView fields) noexcept {
  CacheControl control;
  CombinedList directives(fields, "Cache-Control");
  while (auto directive = directives.next()) take_directive(control, *directive);
  return control;
}

std::optional<CacheControl> parse_cdn_cache_control(FieldsView fields) noexcept {
  Result<Dictionary> dictionary = parse_dictionary(fields, "CDN-Cache-Control");
  if (!dictionary || dictionary->empty()) return std::nullopt;
  CacheControl control;
  for (const DictionaryMember& member : dictionary->members()) take_member(control, member);
  return control;
}

std::optional<seconds> parse_age(FieldsView fields) noexcept {
  if (!fields.contains("Age")) return std::nullopt;
  const std::optional<std::string_view> only = fields.find_only("Age");
  const std::optional<seconds> age = only ? parse_delta(*only) : std::nullopt;
  return age.value_or(kDeltaSecondsMax);
}

}  // namespace segue::http
