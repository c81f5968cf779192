// http/request_parser.h - the strict HTTP/1.1 and 1.0 request parser (RFC 9112). It works on one
// contiguous buffer, can be called again as bytes arrive (no byte is scanned twice), and allocates
// nothing. What a lenient parser would repair is refused here: two parsers that repair differently
// are how requests are smuggled.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/limits.h"
#include "http/header_fields.h"
#include "http/method.h"

namespace segue::http {

/// The most a request head can take, with one empty line before it and the one that ends it; a read
/// buffer of this size never needs to grow.
inline constexpr size_t kRequestHeadBytesMax =
    2 + kRequestLineBytesMax + 2 + size_t{kHeaderBytesMax} + 2;

/// RFC 9112 §3.2. Authority comes with CONNECT only, Asterisk with OPTIONS only.
enum class TargetForm : uint8_t { Origin, Absolute, Authority, Asterisk };

/// How the request body is framed (RFC 9112 §6). The server drains it or closes; a body on GET is
/// reported like any other, so that it can never be read as the next request.
enum class Body : uint8_t { None, Length, Chunked };

/// One parsed request head. Every view is valid until the buffer given to parse() moves or changes,
/// or the parser is reset.
struct Request {
  Method method = Method::Other;
  std::string_view method_text = {};
  std::string_view target = {};  // as sent
  TargetForm form = TargetForm::Origin;
  /// Path and query: `target` itself in origin-form; what follows the authority in absolute-form
  /// ("/" where that is empty; may begin with '?'); empty in the two other forms. Not yet
  /// canonical: see http/target.h.
  std::string_view origin_form = {};
  uint8_t version_minor = 1;  // 0 or 1; a higher minor version is treated as 1 (RFC 9110 §2.5)
  FieldsView fields;
  /// Host name without port, as sent (case kept; an IPv6 literal keeps its brackets): from the
  /// absolute-form target or from Host. Empty only for HTTP/1.0 without Host.
  std::string_view host = {};
  std::optional<uint16_t> port = {};  // if one was sent
  Body body = Body::None;
  uint64_t content_length = 0;   // with Body::Length
  bool keep_alive = true;        // what the client allows (RFC 9112 §9.3)
  bool expect_continue = false;  // RFC 9110 §10.1.1; never in HTTP/1.0

  [[nodiscard]] bool has_body() const noexcept {
    return body == Body::Chunked || (body == Body::Length && content_length > 0);
  }
};

/// Why a request was refused. After any of these the connection must be closed: where the next
/// request would begin is not known.
enum class RequestError : uint8_t {
  None,
  RequestLineTooLong,  // 414
  HeaderLineTooLong,   // 431
  HeaderTooLong,       // 431: all field lines together
  TooManyFields,       // 431
  BareLf,              // 400, as all below unless said
  BareCr,
  Nul,
  BadMethod,             // no token
  BadTarget,             // invalid character, fragment, unknown form, form and method differ
  Http09,                // a request line without a version
  BadVersion,            // not "HTTP/" DIGIT "." DIGIT
  UnsupportedVersion,    // 505: a major version other than 1
  MalformedRequestLine,  // not exactly two single spaces
  ObsFold,               // a continued field line (RFC 9112 §5.2)
  SpaceBeforeColon,      // RFC 9112 §5.1
  MalformedField,        // no colon, an empty name, or an invalid character in the name
  BadFieldValue,         // a control character in a field value
  MissingHost,           // HTTP/1.1 without Host (RFC 9112 §3.2)
  DuplicateHost,
  BadHost,                // no valid uri-host [":" port], or a userinfo part
  HostMismatch,           // absolute-form target and Host name different servers
  BadContentLength,       // not 1*DIGIT, or over 2^63 - 1
  RepeatedContentLength,  // twice or as a list, even with equal values
  ContentLengthAndTransferEncoding,
  BadTransferEncoding,        // chunked not last or not once
  UnsupportedTransferCoding,  // 501: a coding before chunked
  TransferEncodingInHttp10,
};

/// 400, 414, 431, 501 or 505.
[[nodiscard]] uint16_t status_of(RequestError error) noexcept;
/// Stable snake_case word for logs and metrics.
[[nodiscard]] std::string_view name_of(RequestError error) noexcept;

/// Splits "host[:port]" of a Host field or an authority. Nothing where it is not a plain host name,
/// IPv4 address or bracketed IPv6 address with an optional port of 1..65535.
struct HostPort {
  std::string_view host = {};
  std::optional<uint16_t> port = {};
};
[[nodiscard]] std::optional<HostPort> parse_host_port(std::string_view text) noexcept;

/// One per connection (about 3.5 KiB, most of it the field table). Not copyable: the request holds
/// views of this object.
class RequestParser {
 public:
  enum class Status : uint8_t { NeedMore, Complete, Error };

  RequestParser() = default;
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// `bytes` is everything received of this request so far, from its first byte (so each call gets
  /// what the last one got, and more; it may lie at another address meanwhile). Bytes after the
  /// head are not looked at. After Complete or Error call reset() before the next request.
  [[nodiscard]] Status parse(std::span<const char> bytes) noexcept;

  /// After Complete only.
  [[nodiscard]] const Request& request() const noexcept { return request_; }
  /// After Error only.
  [[nodiscard]] RequestError error() const noexcept { return error_; }
  /// After Complete: bytes of the head, with the empty line (and a leading one that was skipped).
  [[nodiscard]] size_t consumed() const noexcept { return line_start_; }
  void reset() noexcept;

 private:
  enum class Step : uint8_t { RequestLine, Fields, Done, Failed };
  /// What was met on the way and is judged at the end of the head.
  struct Seen {
    bool empty_line = false;
    bool https_target = false;
    bool connection_close = false;
    bool connection_keep_alive = false;
    bool content_length = false;
    bool transfer_encoding = false;
    bool chunked = false;
    bool other_coding = false;
  };

  Status fail(RequestError error) noexcept;
  void rebase(const char* base) noexcept;
  [[nodiscard]] RequestError check_unfinished_line(size_t line_bytes) const noexcept;
  RequestError take_line(std::string_view line) noexcept;
  RequestError take_request_line(std::string_view line) noexcept;
  RequestError take_version(std::string_view version) noexcept;
  RequestError take_target(std::string_view target) noexcept;
  RequestError take_field_line(std::string_view line) noexcept;
  RequestError take_known_field(const Field& field) noexcept;
  RequestError take_transfer_encoding(std::string_view value) noexcept;
  RequestError finish() noexcept;
  RequestError finish_host() noexcept;
  RequestError finish_body() noexcept;

  Request request_;
  Step step_ = Step::RequestLine;
  RequestError error_ = RequestError::None;
  Seen seen_;
  uint32_t fields_ = 0;      // used entries of table_
  NameFilter names_;         // of those
  size_t line_start_ = 0;    // first byte of the line not yet parsed
  size_t scanned_ = 0;       // bytes already searched for the end of that line
  size_t fields_start_ = 0;  // first byte of the first field line
  const char* base_ = nullptr;
  std::string_view host_value_;        // null until a Host field was seen
  std::string_view target_authority_;  // null unless the target has one
  // Not initialised: a parser is made for every request, and clearing 3.2 KiB was a fifth of the
  // instructions of a RAM hit. Entries are made one by one, up to fields_.
  union Table {
    Table() noexcept {}
    std::array<Field, kHeaderFieldsMax> entries;
  };
  Table table_;
};

}  // namespace segue::http
