#include "http/response_head.h"

#include <array>
#include <charconv>
#include <cstring>

namespace segue::http {

std::string_view reason_phrase(uint16_t status) noexcept {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 410:
      return "Gone";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 508:
      return "Loop Detected";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

HeadWriter& HeadWriter::status(uint16_t status) noexcept {
  if (status == 206) {  // what nearly every answer begins with
    put("HTTP/1.1 206 Partial Content\r\n");
    fields_start_ = used_;
    return *this;
  }
  std::array<char, 4> code{'0', '0', '0', ' '};
  code[0] = static_cast<char>('0' + status / 100 % 10);
  code[1] = static_cast<char>('0' + status / 10 % 10);
  code[2] = static_cast<char>('0' + status % 10);
  put("HTTP/1.1 ");
  put({code.data(), code.size()});  // the space stays where there is no phrase (RFC 9112 §4)
  put(reason_phrase(status));
  put("\r\n");
  fields_start_ = used_;
  return *this;
}

bool HeadWriter::field(std::string_view name, std::string_view value) noexcept {
  if (!is_token(name) || !is_field_value(value)) {
    ++dropped_;
    return false;
  }
  put_line(name, value);
  return true;
}

void HeadWriter::number(FieldName name, uint64_t number) noexcept {
  std::array<char, 20> digits;
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  put_line(name.text(), {digits.data(), static_cast<size_t>(end - digits.data())});
}

void HeadWriter::fields(FieldsView fields) noexcept {
  for (const Field& each : fields) field(each.name, each.value);
}

void HeadWriter::block(std::string_view lines) noexcept { put(lines); }

Result<std::string_view> HeadWriter::finish() noexcept {
  put("\r\n");
  if (full_) return fail(Side::Self, Kind::Full, "response head");
  return std::string_view(out_.data(), used_);
}

Result<std::string_view> HeadWriter::finish_block() noexcept {
  if (full_) return fail(Side::Self, Kind::Full, "field block");
  return std::string_view(out_.data() + fields_start_, used_ - fields_start_);
}

void HeadWriter::put(std::string_view text) noexcept {
  if (text.size() > out_.size() - used_) {
    full_ = true;
    return;
  }
  if (text.empty()) return;
  std::memcpy(out_.data() + used_, text.data(), text.size());
  used_ += text.size();
}

void HeadWriter::put_line(std::string_view name, std::string_view value) noexcept {
  const size_t needed = name.size() + value.size() + 4;
  if (needed > out_.size() - used_) {
    full_ = true;
    return;
  }
  char* at = out_.data() + used_;
  std::memcpy(at, name.data(), name.size());
  at += name.size();
  *at++ = ':';
  *at++ = ' ';
  if (!value.empty()) std::memcpy(at, value.data(), value.size());
  at += value.size();
  *at++ = '\r';
  *at++ = '\n';
  used_ += needed;
}

}  // namespace segue::http
