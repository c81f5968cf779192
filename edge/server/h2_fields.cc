#include "edge/server/h2_fields.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/limits.h"

namespace segue::edge {
namespace {

[[nodiscard]] std::string_view text_of(nghttp2_rcbuf* buffer) noexcept {
  if (buffer == nullptr) return {};
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

/// Visible bytes only: it stands in a request line.
[[nodiscard]] bool fits_line(std::string_view text) noexcept {
  return std::ranges::none_of(text, [](char c) { return c <= ' ' || c == 0x7f; });
}

}  // namespace

void Http2RequestText::begin(RequestMemory& memory) noexcept {
  clear();
  memory_ = &memory;
}

void Http2RequestText::clear() noexcept {
  for (nghttp2_rcbuf** each : {&method_, &path_, &authority_}) {
    if (*each != nullptr) nghttp2_rcbuf_decref(*each);
    *each = nullptr;
  }
  for (nghttp2_rcbuf* each : std::span(cookies_).first(cookie_count_)) nghttp2_rcbuf_decref(each);
  memory_ = nullptr;
  cookie_count_ = cookie_bytes_ = 0;
  line_written_ = too_long_ = malformed_ = false;
}

void Http2RequestText::take(nghttp2_rcbuf*& place, nghttp2_rcbuf* value) noexcept {
  if (place != nullptr) nghttp2_rcbuf_decref(place);
  nghttp2_rcbuf_incref(value);
  place = value;
}

bool Http2RequestText::append(std::string_view text) {
  if (memory_->room().size() < text.size() && !memory_->grow()) too_long_ = true;
  if (memory_->room().size() < text.size()) too_long_ = true;
  if (too_long_) return false;
  std::memcpy(memory_->room().data(), text.data(), text.size());
  memory_->received(text.size());
  return true;
}

void Http2RequestText::write_line() {
  line_written_ = true;
  const std::string_view method = text_of(method_);
  const std::string_view authority = text_of(authority_);
  // CONNECT has no :path (RFC 9113 §8.5); its target is the authority.
  const std::string_view target = path_ != nullptr ? text_of(path_) : authority;
  // RFC 9113 §8.3.1: a path, and no name of another server. nghttp2 looks at it for http and https
  // alone.
  const bool is_path =
      path_ == nullptr || target.starts_with('/') || (target == "*" && method == "OPTIONS");
  if (!is_path || !fits_line(method) || !fits_line(target) || !fits_line(authority))
    malformed_ = true;
  if (malformed_) return;
  for (const std::string_view part :
       {method, std::string_view(" "), target, std::string_view(" HTTP/1.1\r\n")})
    append(part);
  if (authority_ == nullptr) return;
  for (const std::string_view part :
       {std::string_view("host: "), authority, std::string_view("\r\n")})
    append(part);
}

void Http2RequestText::add(nghttp2_rcbuf* name, nghttp2_rcbuf* value) {
  const std::string_view field = text_of(name);
  if (field == ":method") return take(method_, value);
  if (field == ":path") return take(path_, value);
  if (field == ":authority") return take(authority_, value);
  if (field.starts_with(':')) return;  // :scheme says nothing that the connection does not
  if (!line_written_) write_line();
  if (malformed_ || too_long_) return;
  add_field(field, value);
}

void Http2RequestText::add_field(std::string_view name, nghttp2_rcbuf* buffer) {
  const std::string_view value = text_of(buffer);
  if (!http::is_token(name) || !http::is_field_value(value)) {
    malformed_ = true;
    return;
  }
  if (name == "host" && authority_ != nullptr) {
    // RFC 9113 §8.3.1: two names for one server are no request.
    if (!http::equals_ignore_case(value, text_of(authority_))) malformed_ = true;
    return;
  }
  if (name == "cookie") return add_cookie(buffer);
  append(name);
  append(": ");
  append(value);
  append("\r\n");
}

/// No more of them than the parser takes as fields, and no more bytes than it takes as a line: what
/// is held until the head ends is small.
void Http2RequestText::add_cookie(nghttp2_rcbuf* value) noexcept {
  cookie_bytes_ += std::string_view("; ").size() + text_of(value).size();
  if (cookie_count_ == cookies_.size() || cookie_bytes_ > kHeaderLineBytesMax) {
    too_long_ = true;
    return;
  }
  nghttp2_rcbuf_incref(value);
  cookies_[cookie_count_++] = value;
}

/// RFC 9113 §8.2.3: the pieces of a Cookie are one field again before anybody else sees them.
void Http2RequestText::write_cookie() {
  std::string_view before = "cookie: ";
  for (nghttp2_rcbuf* each : std::span(cookies_).first(cookie_count_)) {
    append(before);
    append(text_of(each));
    before = "; ";
  }
  if (cookie_count_ > 0) append("\r\n");
}

Http2RequestText::End Http2RequestText::finish() {
  if (!line_written_) write_line();
  if (!malformed_ && !too_long_) {
    write_cookie();
    append("\r\n");
  }
  if (malformed_) return End::Malformed;
  return too_long_ ? End::TooLong : End::Complete;
}

void Http2ResponseFields::add(std::string_view name, std::string_view value) noexcept {
  bytes_ += name.size() + value.size() + 4;
  if (count_ == kFieldsMax || bytes_ > kResponseHeadBytesMax) {
    full_ = true;
    return;
  }
  const auto bytes_of = [](std::string_view text) {
    // nghttp2 copies what it takes as non-const.
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  fields_[count_++] = {bytes_of(name), bytes_of(value), name.size(), value.size(),
                       NGHTTP2_NV_FLAG_NONE};
}

void Http2ResponseFields::add_stored(const ResponseHead& head) noexcept {
  for (const http::Field& field : head.stored_fields) {
    const bool left_out =
        head.without_stored_content_type && http::equals_ignore_case(field.name, "Content-Type");
    if (!left_out) add(field.name, field.value);
  }
  for (const http::Field& field : head.passed_fields) {
    // Unchecked bytes of an origin (RFC 9113 §8.2.1).
    const bool good = http::is_token(field.name) && http::is_field_value(field.value);
    if (good && head.passes(field)) add(field.name, field.value);
  }
}

Result<std::span<const nghttp2_nv>> Http2ResponseFields::write(const ResponseHead& head,
                                                               std::string_view date) noexcept {
  count_ = bytes_ = 0;
  full_ = false;
  std::to_chars(status_.data(), status_.data() + status_.size(), head.status);
  add(":status", {status_.data(), status_.size()});
  const auto is_date = [](const http::Field& field) {
    return http::equals_ignore_case(field.name, "Date");
  };
  if (!head.date.empty()) {
    add("date", head.date);
  } else if (!head.passed_fields.contains("Date") && std::ranges::none_of(head, is_date)) {
    add("date", date);
  }
  add_stored(head);
  for (const http::Field& field : head.site_fields) add(field.name, field.value);
  for (const http::Field& field : head) add(field.name, field.value);
  // RFC 9110 §8.6: never in a 1xx or 204.
  if (head.content_length && head.status >= 200 && head.status != 204) {
    const auto end =
        std::to_chars(length_.data(), length_.data() + length_.size(), *head.content_length);
    add("content-length", {length_.data(), static_cast<size_t>(end.ptr - length_.data())});
  }
  if (full_) return fail(Side::Self, Kind::Full, "response head");
  return std::span<const nghttp2_nv>(fields_).first(count_);
}

}  // namespace segue::edge
