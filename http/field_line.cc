#include "http/field_line.h"

namespace segue::http {

FieldLineError split_field_line(std::string_view line, Field& field) noexcept {
  size_t colon = 0;
  while (colon < line.size() && is_token_char(line[colon])) ++colon;
  if (colon == line.size() || line[colon] != ':' || colon == 0) {
    if (line.starts_with(' ') || line.starts_with('\t')) return FieldLineError::ObsFold;
    const bool is_space = colon < line.size() && (line[colon] == ' ' || line[colon] == '\t');
    if (colon > 0 && is_space && trim_whitespace(line.substr(colon)).starts_with(':')) {
      return FieldLineError::SpaceBeforeColon;
    }
    return FieldLineError::MalformedField;
  }
  std::string_view value = trim_whitespace(line.substr(colon + 1));
  if (!is_field_value(value)) return FieldLineError::BadValue;
  field = {.name = line.substr(0, colon), .value = value};
  return FieldLineError::None;
}

}  // namespace segue::http
