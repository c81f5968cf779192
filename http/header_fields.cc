#include "http/header_fields.h"

#include <algorithm>
#include <utility>

#include "http/byte_scan.h"

namespace segue::http {
namespace {

bool is_value_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

bool is_whitespace(char c) { return c == ' ' || c == '\t'; }

}  // namespace

bool equals_ignore_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

bool is_field_value(std::string_view text) noexcept {
  auto word_is_good = [](uint64_t word) {
    return (any_below(word, 0x20) | any_equal(word, 0x7f)) == 0;
  };
  return all_bytes(text, word_is_good, is_value_char);
}

std::string_view trim_whitespace(std::string_view text) noexcept {
  while (!text.empty() && is_whitespace(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_whitespace(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<uint64_t> parse_decimal(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (UINT64_MAX - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

std::optional<std::string_view> ListMembers::next() noexcept {
  while (!rest_.empty()) {
    bool quoted = false;
    size_t end = 0;
    for (; end < rest_.size(); ++end) {
      const char c = rest_[end];
      if (quoted && c == '\\') {
        ++end;  // quoted-pair: the next character is no delimiter (RFC 9110 §5.6.4)
      } else if (c == '"') {
        quoted = !quoted;
      } else if (c == ',' && !quoted) {
        break;
      }
    }
    end = std::min(end, rest_.size());
    std::string_view member = trim_whitespace(rest_.substr(0, end));
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (!member.empty()) return member;
  }
  return std::nullopt;
}

std::optional<std::string_view> FieldsView::find_present(std::string_view name) const noexcept {
  for (const Field& field : fields_) {
    if (equals_ignore_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::optional<std::string_view> FieldsView::find_only_present(
    std::string_view name) const noexcept {
  std::optional<std::string_view> found;
  for (const Field& field : fields_) {
    if (!equals_ignore_case(field.name, name)) continue;
    if (found) return std::nullopt;
    found = field.value;
  }
  return found;
}

size_t FieldsView::count(std::string_view name) const noexcept {
  return static_cast<size_t>(std::ranges::count_if(
      fields_, [name](const Field& field) { return equals_ignore_case(field.name, name); }));
}

bool FieldsView::list_contains_present(std::string_view name,
                                       std::string_view member) const noexcept {
  CombinedList list(*this, name);
  while (auto found = list.next()) {
    if (equals_ignore_case(*found, member)) return true;
  }
  return false;
}

std::optional<std::string_view> FieldValues::next() noexcept {
  while (at_ < fields_.size()) {
    const Field& field = fields_[at_++];
    if (equals_ignore_case(field.name, name_)) return field.value;
  }
  return std::nullopt;
}

std::optional<std::string_view> CombinedList::next() noexcept {
  while (true) {
    if (auto member = members_.next()) return member;
    auto value = values_.next();
    if (!value) return std::nullopt;
    members_ = ListMembers(*value);
  }
}

OwnedFields::OwnedFields(FieldsView fields) {
  size_t bytes = 0;
  for (const Field& field : fields) bytes += field.name.size() + field.value.size();
  arena_.reserve(bytes);
  fields_.reserve(fields.size());
  for (const Field& field : fields) append(field.name, field.value);
}

OwnedFields& OwnedFields::operator=(const OwnedFields& other) {
  if (this != &other) *this = OwnedFields(other.view());
  return *this;
}

bool OwnedFields::add(std::string_view name, std::string_view value) {
  if (!is_token(name) || !is_field_value(value)) return false;
  append(name, trim_whitespace(value));
  return true;
}

bool OwnedFields::set(std::string_view name, std::string_view value) {
  if (!is_token(name) || !is_field_value(value)) return false;
  remove(name);
  append(name, trim_whitespace(value));
  return true;
}

void OwnedFields::remove(std::string_view name) noexcept {
  std::erase_if(fields_,
                [name](const Field& field) { return equals_ignore_case(field.name, name); });
}

void OwnedFields::clear() noexcept {
  fields_.clear();
  arena_.clear();
}

void OwnedFields::append(std::string_view name, std::string_view value) {
  const size_t needed = arena_.size() + name.size() + value.size();
  if (needed > arena_.capacity()) {
    // Grown by hand, because the views must follow the bytes. `name` and `value` may be views of
    // this arena (a field copied within the list), so the old bytes live until after the copy.
    std::vector<char> grown;
    grown.reserve(std::max(needed, arena_.capacity() * 2));
    grown.assign(arena_.begin(), arena_.end());
    auto moved = [&](std::string_view text) {
      return std::string_view(grown.data() + (text.data() - arena_.data()), text.size());
    };
    for (Field& field : fields_) field = {.name = moved(field.name), .value = moved(field.value)};
    grown.insert(grown.end(), name.begin(), name.end());
    grown.insert(grown.end(), value.begin(), value.end());
    arena_ = std::move(grown);
  } else {
    arena_.insert(arena_.end(), name.begin(), name.end());
    arena_.insert(arena_.end(), value.begin(), value.end());
  }
  const char* start = arena_.data() + (needed - name.size() - value.size());
  fields_.push_back({.name = {start, name.size()}, .value = {start + name.size(), value.size()}});
}

}  // namespace segue::http
