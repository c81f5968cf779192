#include "http/request_parser.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "http/byte_scan.h"
#include "http/field_line.h"

namespace segue::http {
namespace {

constexpr uint16_t kPortHttp = 80;
constexpr uint16_t kPortHttps = 443;

bool is_target_char(char c) { return c > 0x20 && c < 0x7f && c != '#'; }

/// Visible ASCII without '#'. Bytes over 0x7f are flagged by their own high bit.
bool is_target(std::string_view text) {
  auto word_is_good = [](uint64_t word) {
    return (any_below(word, 0x21) | any_equal(word, 0x7f) | any_equal(word, '#') |
            (word & kHighBits)) == 0;
  };
  return !text.empty() && all_bytes(text, word_is_good, is_target_char);
}

constexpr bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z');
}

/// Letters, digits, '-', '.', '_': RFC 3986's reg-name allows more, DNS names do not.
constexpr std::array<bool, 256> kHostChars = [] {
  std::array<bool, 256> table{};
  for (size_t byte = 0; byte < table.size(); ++byte) {
    const char c = static_cast<char>(byte);
    table[byte] = is_alphanumeric(c) || c == '-' || c == '.' || c == '_';
  }
  return table;
}();
bool is_host_char(char c) { return kHostChars[static_cast<unsigned char>(c)]; }

bool is_ipv6_char(char c) {
  return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'f') || c == ':' ||
         c == '.';
}

/// A bad line is looked at again for the bytes that say more than "malformed".
RequestError blame(std::string_view line, RequestError otherwise) {
  if (line.find('\0') != std::string_view::npos) return RequestError::Nul;
  if (line.find('\r') != std::string_view::npos) return RequestError::BareCr;
  return otherwise;
}

RequestError error_of(FieldLineError error, std::string_view line) {
  switch (error) {
    case FieldLineError::None:
      return RequestError::None;
    case FieldLineError::ObsFold:
      return blame(line, RequestError::ObsFold);
    case FieldLineError::SpaceBeforeColon:
      return blame(line, RequestError::SpaceBeforeColon);
    case FieldLineError::MalformedField:
      return blame(line, RequestError::MalformedField);
    case FieldLineError::BadValue:
      break;
  }
  return blame(line, RequestError::BadFieldValue);
}

/// Whether two host[:port] name one server, with the scheme's port where none is given.
bool same_server(const HostPort& a, const HostPort& b, uint16_t default_port) {
  return equals_ignore_case(a.host, b.host) &&
         a.port.value_or(default_port) == b.port.value_or(default_port);
}

}  // namespace

std::optional<HostPort> parse_host_port(std::string_view text) noexcept {
  HostPort result;
  size_t host_end = 0;
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return std::nullopt;
    if (!std::ranges::all_of(text.substr(1, close - 1), is_ipv6_char)) return std::nullopt;
    if (text.substr(1, close - 1).find(':') == std::string_view::npos) return std::nullopt;
    host_end = close + 1;
  } else {
    while (host_end < text.size() && is_host_char(text[host_end])) ++host_end;
    if (host_end == 0) return std::nullopt;
  }
  result.host = text.substr(0, host_end);
  std::string_view rest = text.substr(host_end);
  if (rest.empty()) return result;
  if (rest.front() != ':') return std::nullopt;
  rest.remove_prefix(1);
  if (rest.empty()) return result;  // "host:" is allowed and says nothing (RFC 3986 §3.2.3)
  std::optional<uint64_t> port = rest.size() <= 5 ? parse_decimal(rest) : std::nullopt;
  if (!port || *port == 0 || *port > UINT16_MAX) return std::nullopt;
  result.port = static_cast<uint16_t>(*port);
  return result;
}

RequestParser::Status RequestParser::parse(std::span<const char> bytes) noexcept {
  if (step_ == Step::Done) return Status::Complete;
  if (step_ == Step::Failed) return Status::Error;
  if (bytes.data() != base_) rebase(bytes.data());
  const std::string_view text(bytes.data(), bytes.size());
  while (true) {
    const size_t end = text.find('\n', scanned_);
    if (end == std::string_view::npos) {
      scanned_ = text.size();
      const RequestError error = check_unfinished_line(text.size() - line_start_);
      return error == RequestError::None ? Status::NeedMore : fail(error);
    }
    const RequestError error = take_line(text.substr(line_start_, end - line_start_));
    if (error != RequestError::None) return fail(error);
    line_start_ = end + 1;
    scanned_ = line_start_;
    if (step_ == Step::Done) return Status::Complete;
  }
}

void RequestParser::reset() noexcept {
  // The field table is not cleared: 3 KiB of stores per request that nobody would read.
  request_ = Request{};
  step_ = Step::RequestLine;
  error_ = RequestError::None;
  seen_ = Seen{};
  fields_ = 0;
  names_ = NameFilter();
  line_start_ = 0;
  scanned_ = 0;
  fields_start_ = 0;
  base_ = nullptr;
  host_value_ = {};
  target_authority_ = {};
}

RequestParser::Status RequestParser::fail(RequestError error) noexcept {
  step_ = Step::Failed;
  error_ = error;
  return Status::Error;
}

void RequestParser::rebase(const char* base) noexcept {
  // Between two calls the caller's buffer may have grown elsewhere; every view so far follows it.
  // As integers, because the old address may not be looked at any more.
  const auto old_base = reinterpret_cast<uintptr_t>(base_);
  auto move = [&](std::string_view& view) {
    if (view.data() == nullptr) return;
    view = {base + (reinterpret_cast<uintptr_t>(view.data()) - old_base), view.size()};
  };
  for (Field& field : std::span(table_.entries).first(fields_)) {
    move(field.name);
    move(field.value);
  }
  move(request_.method_text);
  move(request_.target);
  move(request_.origin_form);
  move(host_value_);
  move(target_authority_);
  base_ = base;
}

RequestError RequestParser::check_unfinished_line(size_t line_bytes) const noexcept {
  if (step_ == Step::RequestLine) {
    return line_bytes > kRequestLineBytesMax + 1 ? RequestError::RequestLineTooLong
                                                 : RequestError::None;
  }
  if (line_bytes > kHeaderLineBytesMax + 1) return RequestError::HeaderLineTooLong;
  // One byte may be the CR of the empty line, which is not counted; else the LF is yet to come.
  const size_t total_bytes = line_start_ - fields_start_ + line_bytes + 1;
  if (line_bytes > 1 && total_bytes > kHeaderBytesMax) return RequestError::HeaderTooLong;
  return RequestError::None;
}

RequestError RequestParser::take_line(std::string_view line) noexcept {
  // `line` still has its CR. The limits are those of an unfinished line, so that the answer does
  // not depend on how the bytes were cut into reads.
  const RequestError too_long = check_unfinished_line(line.size());
  if (too_long != RequestError::None) return too_long;
  if (!line.ends_with('\r')) return blame(line, RequestError::BareLf);
  line.remove_suffix(1);
  if (step_ == Step::RequestLine) {
    if (line.empty() && !seen_.empty_line) {
      seen_.empty_line = true;  // one empty line before a request is forgiven (RFC 9112 §2.2)
      return RequestError::None;
    }
    const RequestError error = take_request_line(line);
    if (error != RequestError::None) return blame(line, error);
    step_ = Step::Fields;
    fields_start_ = static_cast<size_t>(line.data() - base_) + line.size() + 2;
    return RequestError::None;
  }
  return line.empty() ? finish() : take_field_line(line);
}

RequestError RequestParser::take_request_line(std::string_view line) noexcept {
  const size_t method_end = line.find(' ');
  if (method_end == std::string_view::npos) return RequestError::MalformedRequestLine;
  request_.method_text = line.substr(0, method_end);
  if (!is_token(request_.method_text)) return RequestError::BadMethod;
  request_.method = parse_method(request_.method_text);

  const size_t target_end = line.find(' ', method_end + 1);
  if (target_end == std::string_view::npos) return RequestError::Http09;
  const std::string_view version = line.substr(target_end + 1);
  if (target_end == method_end + 1) return RequestError::MalformedRequestLine;
  if (version.find(' ') != std::string_view::npos) return RequestError::MalformedRequestLine;
  const RequestError error = take_version(version);
  if (error != RequestError::None) return error;
  return take_target(line.substr(method_end + 1, target_end - method_end - 1));
}

RequestError RequestParser::take_version(std::string_view version) noexcept {
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version.size() != 8 || !version.starts_with("HTTP/") || version[6] != '.' ||
      !is_digit(version[5]) || !is_digit(version[7])) {
    return RequestError::BadVersion;
  }
  if (version[5] != '1') return RequestError::UnsupportedVersion;
  request_.version_minor = version[7] == '0' ? 0 : 1;
  return RequestError::None;
}

RequestError RequestParser::take_target(std::string_view target) noexcept {
  if (!is_target(target)) return RequestError::BadTarget;
  request_.target = target;
  if (request_.method == Method::Connect) {
    request_.form = TargetForm::Authority;
    target_authority_ = target;
    return RequestError::None;
  }
  if (target.front() == '/') {
    request_.form = TargetForm::Origin;
    request_.origin_form = target;
    return RequestError::None;
  }
  if (target == "*") {
    request_.form = TargetForm::Asterisk;
    return request_.method == Method::Options ? RequestError::None : RequestError::BadTarget;
  }
  const size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return RequestError::BadTarget;
  const std::string_view scheme = target.substr(0, scheme_end);
  seen_.https_target = equals_ignore_case(scheme, "https");
  if (!seen_.https_target && !equals_ignore_case(scheme, "http")) return RequestError::BadTarget;
  request_.form = TargetForm::Absolute;
  const std::string_view after_scheme = target.substr(scheme_end + 3);
  const size_t authority_end = std::min(after_scheme.find_first_of("/?"), after_scheme.size());
  target_authority_ = after_scheme.substr(0, authority_end);
  request_.origin_form = after_scheme.substr(authority_end);
  return RequestError::None;
}

RequestError RequestParser::take_field_line(std::string_view line) noexcept {
  if (fields_ == kHeaderFieldsMax) return RequestError::TooManyFields;
  Field& field = *std::construct_at(&table_.entries[fields_]);
  const FieldLineError error = split_field_line(line, field);
  if (error != FieldLineError::None) [[unlikely]] {
    return error_of(error, line);
  }
  ++fields_;
  names_.add(field.name);
  return take_known_field(field);
}

RequestError RequestParser::take_known_field(const Field& field) noexcept {
  switch (field.name.size()) {  // the length alone tells most names apart
    case 4:
      if (!equals_ignore_case(field.name, "host")) break;
      if (host_value_.data() != nullptr) return RequestError::DuplicateHost;
      host_value_ = field.value;
      break;
    case 6:
      if (!equals_ignore_case(field.name, "expect")) break;
      if (equals_ignore_case(field.value, "100-continue")) request_.expect_continue = true;
      break;
    case 10: {
      if (!equals_ignore_case(field.name, "connection")) break;
      ListMembers options(field.value);
      while (auto option = options.next()) {
        if (equals_ignore_case(*option, "close")) seen_.connection_close = true;
        if (equals_ignore_case(*option, "keep-alive")) seen_.connection_keep_alive = true;
      }
      break;
    }
    case 14: {
      if (!equals_ignore_case(field.name, "content-length")) break;
      // Equal repeated values may be merged (RFC 9110 §8.6), but no client needs that and the
      // parser in front of or behind us may pick the other one.
      if (seen_.content_length || field.value.find(',') != std::string_view::npos) {
        return RequestError::RepeatedContentLength;
      }
      const std::optional<uint64_t> length = parse_decimal(field.value);
      if (!length || *length > INT64_MAX) return RequestError::BadContentLength;
      seen_.content_length = true;
      request_.content_length = *length;
      break;
    }
    case 17:
      if (equals_ignore_case(field.name, "transfer-encoding")) {
        return take_transfer_encoding(field.value);
      }
      break;
    default:
      break;
  }
  return RequestError::None;
}

RequestError RequestParser::take_transfer_encoding(std::string_view value) noexcept {
  seen_.transfer_encoding = true;
  // Not ListMembers: an empty member (", chunked") is a known way to make two parsers differ.
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view coding = trim_whitespace(value.substr(0, comma));
    if (!is_token(coding)) return RequestError::BadTransferEncoding;
    if (seen_.chunked) return RequestError::BadTransferEncoding;  // must be last, and once
    seen_.chunked = equals_ignore_case(coding, "chunked");
    if (!seen_.chunked) seen_.other_coding = true;
    if (comma == std::string_view::npos) return RequestError::None;
    value.remove_prefix(comma + 1);
  }
}

RequestError RequestParser::finish() noexcept {
  RequestError error = finish_host();
  if (error == RequestError::None) error = finish_body();
  if (error != RequestError::None) return error;
  request_.fields = FieldsView(std::span<const Field>(table_.entries).first(fields_), names_);
  if (request_.form == TargetForm::Absolute && request_.origin_form.empty()) {
    request_.origin_form = "/";  // RFC 9112 §3.2.1
  }
  const bool is_http10 = request_.version_minor == 0;
  request_.keep_alive =
      !seen_.connection_close && (!is_http10 || seen_.connection_keep_alive);  // RFC 9112 §9.3
  if (is_http10) request_.expect_continue = false;                             // RFC 9110 §10.1.1
  step_ = Step::Done;
  return RequestError::None;
}

RequestError RequestParser::finish_host() noexcept {
  const bool has_host = host_value_.data() != nullptr;
  if (!has_host && request_.version_minor > 0) return RequestError::MissingHost;
  std::optional<HostPort> host;
  if (has_host) {
    host = parse_host_port(host_value_);
    if (!host) return RequestError::BadHost;
  }
  if (target_authority_.data() != nullptr) {
    // The target wins over Host (RFC 9112 §3.2.2). We refuse the two to differ rather than to pick:
    // a proxy in front of us may have picked the other.
    std::optional<HostPort> authority = parse_host_port(target_authority_);
    if (!authority) return RequestError::BadHost;
    const uint16_t default_port = seen_.https_target ? kPortHttps : kPortHttp;
    if (host && !same_server(*host, *authority, default_port)) return RequestError::HostMismatch;
    host = authority;
  }
  if (host) {
    request_.host = host->host;
    request_.port = host->port;
  }
  return RequestError::None;
}

RequestError RequestParser::finish_body() noexcept {
  if (seen_.transfer_encoding) {
    if (seen_.content_length) return RequestError::ContentLengthAndTransferEncoding;
    if (request_.version_minor == 0) return RequestError::TransferEncodingInHttp10;
    if (!seen_.chunked) return RequestError::BadTransferEncoding;  // its end would be unknown
    if (seen_.other_coding) return RequestError::UnsupportedTransferCoding;
    request_.body = Body::Chunked;
  } else if (seen_.content_length) {
    request_.body = Body::Length;
  }
  return RequestError::None;
}

}  // namespace segue::http
