// edge/server/h2_fields.h - heads in HTTP/2's words: a request's fields as the text of an HTTP/1.1
// head, and a ResponseHead as a list of fields. Internal to edge/server.
#pragma once
#include <nghttp2/nghttp2.h>

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"
#include "edge/delivery/response_head.h"
#include "edge/server/request_memory.h"

namespace segue::edge {

/// Collects one field block (RFC 9113 §8.3) into a RequestMemory as an HTTP/1.1 head, for the one
/// strict parser: the same limits, the same refusals, the same Request for whoever answers.
///
/// One per connection: field blocks do not interleave (RFC 9113 §4.3). nghttp2 has checked names,
/// values and which pseudo-header fields there are; what could end a line is checked here again.
class Http2RequestText {
 public:
  Http2RequestText() = default;
  Http2RequestText(const Http2RequestText&) = delete;
  Http2RequestText& operator=(const Http2RequestText&) = delete;
  ~Http2RequestText() { clear(); }

  void begin(RequestMemory& memory) noexcept;
  /// The memory is going away, or the block is over.
  void clear() noexcept;
  void add(nghttp2_rcbuf* name, nghttp2_rcbuf* value);
  /// Ends the head.
  enum class End : uint8_t { Complete, TooLong, Malformed };
  [[nodiscard]] End finish();

 private:
  void take(nghttp2_rcbuf*& place, nghttp2_rcbuf* value) noexcept;
  bool append(std::string_view text);
  void write_line();
  void add_field(std::string_view name, nghttp2_rcbuf* value);
  void add_cookie(nghttp2_rcbuf* value) noexcept;
  void write_cookie();

  RequestMemory* memory_ = nullptr;
  nghttp2_rcbuf* method_ = nullptr;
  nghttp2_rcbuf* path_ = nullptr;
  nghttp2_rcbuf* authority_ = nullptr;
  // The pieces of Cookie, until the head ends: moving what stands behind an earlier piece for each
  // one more would be quadratic work for a byte of HPACK.
  std::array<nghttp2_rcbuf*, kHeaderFieldsMax> cookies_;
  size_t cookie_count_ = 0;
  size_t cookie_bytes_ = 0;  // of their line
  bool line_written_ = false;
  bool too_long_ = false;
  bool malformed_ = false;
};

/// A response's fields for nghttp2_submit_response(), which copies them; views of the head and of
/// this object.
class Http2ResponseFields {
 public:
  /// `date`: of Date, where the head has none. Errors: {Self, Full}, as of write_head().
  [[nodiscard]] Result<std::span<const nghttp2_nv>> write(const ResponseHead& head,
                                                          std::string_view date) noexcept;

 private:
  static constexpr size_t kFieldsMax = 224;  // an origin's 128, a site's and our own
  void add(std::string_view name, std::string_view value) noexcept;
  void add_stored(const ResponseHead& head) noexcept;

  std::array<nghttp2_nv, kFieldsMax> fields_;
  size_t count_ = 0;
  size_t bytes_ = 0;
  bool full_ = false;
  std::array<char, 3> status_{};
  std::array<char, 20> length_{};
};

}  // namespace segue::edge
