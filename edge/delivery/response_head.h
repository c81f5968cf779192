// edge/delivery/response_head.h - a response's head before a protocol has put it into words:
// HTTP/1.1 writes it as text, HTTP/2 as HPACK.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "http/header_fields.h"
#include "http/hop_by_hop.h"
#include "http/response_head.h"

namespace segue::edge {

/// Views live in the exchange's arena or in the selected StoredResponse: valid until the exchange
/// ends. No allocation.
class ResponseHead {
 public:
  int status = 200;
  /// Bytes of the body that follows; nullopt: unknown (chunked on HTTP/1.1, until close on 1.0).
  /// Content-Length is written from it.
  std::optional<uint64_t> content_length;
  /// HEAD, 204, 304: no body follows, whatever content_length says.
  bool bodyless = false;
  /// Close the connection after this response.
  bool close = false;
  /// The origin's Date, where the response is a stored one (RFC 9110 §6.6.1), as the text that was
  /// rendered of it when it was stored; empty: the moment of sending.
  std::string_view date;
  /// Leave the stored Content-Type out: 304, 412, 416 have no content, and multipart/byteranges has
  /// its own type.
  bool without_stored_content_type = false;
  /// The stored fields, both rendered once as HTTP/1.1 text and as fields; either both or none.
  std::string_view stored_http1_block;
  http::FieldsView stored_fields;
  /// Fields of an origin's response that is passed through, hop-by-hop ones and those we write left
  /// out by the writer (http::is_stored_field). Unchecked bytes of the origin: written through the
  /// checking writer.
  http::FieldsView passed_fields;
  /// Names of fields among them that are for us alone (cache tags), lower case.
  std::span<const std::string> passed_without;
  [[nodiscard]] bool passes(const http::Field& field) const noexcept {
    const auto same = [&](const std::string& name) {
      return http::equals_ignore_case(name, field.name);
    };
    return http::is_passed_field(field.name, passed_fields) &&
           std::none_of(passed_without.begin(), passed_without.end(), same);
  }
  /// The fields that every response of the site carries (Accept-Ranges, Via, CORS), likewise
  /// rendered once.
  std::string_view site_http1_block;
  http::FieldsView site_fields;

  /// Adds a field of our own; it is looked at when it is written. `name` in its usual spelling
  /// ("Content-Range"). Asserts room: the callers are ours and few.
  void add(std::string_view name, std::string_view value) noexcept {
    SEGUE_ASSERT(count_ < kFieldsMax);
    own_[count_++] = {name, value};
  }
  /// The same, without a look at it.
  void add_own(http::FieldName name, http::OwnValue value) noexcept {
    checked_ |= 1U << count_;
    add(name.text(), value.text());
  }
  [[nodiscard]] const http::Field* begin() const noexcept { return own_.data(); }
  [[nodiscard]] const http::Field* end() const noexcept { return own_.data() + count_; }
  /// Whether `field`, one of these, came by add_own().
  [[nodiscard]] bool is_own(const http::Field& field) const noexcept {
    return (checked_ >> (&field - own_.data()) & 1) != 0;
  }

 private:
  static constexpr uint32_t kFieldsMax = 24;
  std::array<http::Field, kFieldsMax> own_;
  uint32_t count_ = 0;
  uint32_t checked_ = 0;  // by bit, of own_
};

}  // namespace segue::edge
