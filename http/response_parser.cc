#include "http/response_parser.h"

namespace segue::http {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Parses lines that end in CRLF until `text` is used up or an empty line came (`saw_end`).
struct LinesParsed {
  size_t fields = 0;
  size_t consumed = 0;
  bool saw_end = false;
  Kind problem = Kind::Closed;  // with failed
  bool failed = false;
};
LinesParsed parse_lines(std::string_view text, std::span<Field> storage) {
  LinesParsed result;
  auto failed = [&](Kind problem) {
    result.failed = true;
    result.problem = problem;
    return result;
  };
  while (result.consumed < text.size()) {
    if (result.consumed > kOriginHeaderBytesMax) return failed(Kind::Full);
    const size_t end = text.find('\n', result.consumed);
    if (end == std::string_view::npos) break;
    std::string_view line = text.substr(result.consumed, end - result.consumed);
    if (!line.ends_with('\r')) return failed(Kind::Malformed);
    line.remove_suffix(1);
    if (end + 1 > kOriginHeaderBytesMax) return failed(Kind::Full);
    result.consumed = end + 1;
    if (line.empty()) {
      result.saw_end = true;
      return result;
    }
    if (result.fields == storage.size() || result.fields == kOriginHeaderFieldsMax) {
      return failed(Kind::Full);
    }
    if (split_field_line(line, storage[result.fields]) != FieldLineError::None) {
      return failed(Kind::Malformed);
    }
    ++result.fields;
  }
  return result;
}

/// Removes one CRLF at the end; false where CR or LF stands elsewhere or alone.
bool strip_line_end(std::string_view& line) {
  if (line.ends_with("\r\n")) line.remove_suffix(2);
  return line.find_first_of("\r\n") == std::string_view::npos;
}

}  // namespace

std::optional<Field> parse_header_line(std::string_view line) noexcept {
  Field field;
  if (!strip_line_end(line)) return std::nullopt;
  if (split_field_line(line, field) != FieldLineError::None) return std::nullopt;
  return field;
}

std::optional<StatusLine> parse_status_line(std::string_view line) noexcept {
  if (!strip_line_end(line)) return std::nullopt;
  if (!line.starts_with("HTTP/")) return std::nullopt;
  line.remove_prefix(5);
  StatusLine result;
  if (line.empty() || !is_digit(line[0])) return std::nullopt;
  result.version_major = static_cast<uint8_t>(line[0] - '0');
  result.version_minor = 0;
  line.remove_prefix(1);
  if (line.size() >= 2 && line[0] == '.' && is_digit(line[1])) {
    result.version_minor = static_cast<uint8_t>(line[1] - '0');
    line.remove_prefix(2);
  } else if (result.version_major < 2) {
    return std::nullopt;
  }
  if (line.size() < 4 || line[0] != ' ') return std::nullopt;
  if (!is_digit(line[1]) || !is_digit(line[2]) || !is_digit(line[3])) return std::nullopt;
  result.status =
      static_cast<uint16_t>((line[1] - '0') * 100 + (line[2] - '0') * 10 + (line[3] - '0'));
  if (result.status < 100 || result.status > 599) return std::nullopt;
  line.remove_prefix(4);
  if (!line.empty() && line[0] != ' ') return std::nullopt;
  if (!line.empty()) line.remove_prefix(1);  // a missing phrase without its space is common
  if (!is_field_value(line)) return std::nullopt;
  result.reason = line;
  return result;
}

Result<ResponseHead> parse_response_head(std::string_view text, std::span<Field> storage) noexcept {
  const size_t line_end = text.find('\n');
  if (line_end == std::string_view::npos) {
    const bool is_too_long = text.size() > kOriginHeaderBytesMax;
    return fail(Side::Origin, is_too_long ? Kind::Full : Kind::Closed, "response head");
  }
  const std::string_view line = text.substr(0, line_end + 1);
  std::optional<StatusLine> status_line = parse_status_line(line);
  if (!status_line || !line.ends_with("\r\n")) {
    return fail(Side::Origin, Kind::Malformed, "status line");
  }
  const LinesParsed lines = parse_lines(text.substr(line_end + 1), storage);
  if (lines.failed) return fail(Side::Origin, lines.problem, "response head");
  if (!lines.saw_end) {
    const bool is_too_long = text.size() > kOriginHeaderBytesMax + line.size();
    return fail(Side::Origin, is_too_long ? Kind::Full : Kind::Closed, "response head");
  }
  return ResponseHead{.line = *status_line,
                      .fields = FieldsView(storage.first(lines.fields)),
                      .consumed = line.size() + lines.consumed};
}

Result<FieldsView> parse_field_block(std::string_view block, std::span<Field> storage) noexcept {
  const LinesParsed lines = parse_lines(block, storage);
  if (lines.failed) return fail(Side::Disk, lines.problem, "field block");
  if (lines.saw_end || lines.consumed != block.size()) {
    return fail(Side::Disk, Kind::Malformed, "field block");
  }
  return FieldsView(storage.first(lines.fields));
}

}  // namespace segue::http
