#include "http/validator.h"

#include <algorithm>

#include "http/date.h"

namespace segue::http {
namespace {

/// etagc (RFC 9110 §8.8.3): visible ASCII without the quote, and obs-text. A backslash is itself.
bool is_tag_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == 0x21 || (byte >= 0x23 && byte <= 0x7e) || byte >= 0x80;
}

/// Cuts one entity tag off the front of `text`.
std::optional<EntityTag> take_entity_tag(std::string_view& text) {
  EntityTag tag;
  std::string_view rest = text;
  if (rest.starts_with("W/")) {  // case-sensitive
    tag.weak = true;
    rest.remove_prefix(2);
  }
  if (!rest.starts_with('"')) return std::nullopt;
  rest.remove_prefix(1);
  size_t end = 0;
  while (end < rest.size() && is_tag_char(rest[end])) ++end;
  if (end == rest.size() || rest[end] != '"') return std::nullopt;
  tag.opaque = rest.substr(0, end);
  text = rest.substr(end + 1);
  return tag;
}

std::optional<std::chrono::sys_seconds> date_of(FieldsView fields, std::string_view name) {
  std::optional<std::string_view> value = fields.find_only(name);
  return value ? parse_date(*value) : std::nullopt;
}

}  // namespace

std::optional<EntityTag> parse_entity_tag(std::string_view text) noexcept {
  std::optional<EntityTag> tag = take_entity_tag(text);
  return text.empty() ? tag : std::nullopt;
}

bool strong_match(const EntityTag& a, const EntityTag& b) noexcept {
  return !a.weak && !b.weak && a.opaque == b.opaque;
}

bool weak_match(const EntityTag& a, const EntityTag& b) noexcept { return a.opaque == b.opaque; }

bool last_modified_is_strong(std::chrono::sys_seconds last_modified,
                             std::optional<std::chrono::sys_seconds> date) noexcept {
  return date && last_modified + std::chrono::seconds{60} <= *date;
}

Validator Validator::of_response(FieldsView response) noexcept {
  return {response.find_only("ETag").value_or(std::string_view()),
          date_of(response, "Last-Modified"), date_of(response, "Date")};
}

bool Validator::is_strong() const noexcept {
  return tag_ ? !tag_->weak : last_modified_is_strong();
}

bool Validator::last_modified_is_strong() const noexcept {
  return last_modified_ && http::last_modified_is_strong(*last_modified_, date_);
}

std::optional<EntityTag> EntityTagList::next() noexcept {
  const size_t start = rest_.find_first_not_of(" \t,");
  if (start == std::string_view::npos) {
    rest_ = {};
    return std::nullopt;
  }
  rest_.remove_prefix(start);
  std::optional<EntityTag> tag = take_entity_tag(rest_);
  const std::string_view after = trim_whitespace(rest_);
  if (!tag || (!after.empty() && after.front() != ',')) {
    malformed_ = true;
    rest_ = {};
    return std::nullopt;
  }
  return tag;
}

}  // namespace segue::http
