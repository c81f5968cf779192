// edge/server/head_text.h - puts a ResponseHead into words of HTTP/1.1 (RFC 9112 §4), with the
// fields that belong to the connection: Date, Content-Length, Transfer-Encoding, Connection.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/loop/clock.h"
#include "base/result.h"
#include "edge/delivery/response_head.h"
#include "http/date.h"

namespace segue::edge {

/// How the end of a response body is told (RFC 9112 §6.3).
enum class Framing : uint8_t {
  None,        // there is no body
  Length,      // by Content-Length
  Chunked,     // unknown length, HTTP/1.1
  UntilClose,  // unknown length, HTTP/1.0: the end of the connection is the end of the body
};

/// The framing `head` gets for a client of HTTP/1.`version_minor`; `to_head`: the method was HEAD.
[[nodiscard]] Framing framing_of(const ResponseHead& head, uint8_t version_minor,
                                 bool to_head) noexcept;

/// What the connection adds to a head.
struct HeadFacts {
  Framing framing = Framing::None;
  uint8_t version_minor = 1;
  bool close = false;     // Connection: close
  std::string_view date;  // of Date, where the head has none of its own
};

/// Writes the whole head into `out`; the view lies in it. No allocation. Errors: {Self, Full}.
[[nodiscard]] Result<std::string_view> write_head(const ResponseHead& head, const HeadFacts& facts,
                                                  std::span<char> out) noexcept;

/// The text of Date, rendered once per second and loop.
class DateText {
 public:
  [[nodiscard]] std::string_view at(WallTime now) noexcept;

 private:
  std::chrono::sys_seconds second_{std::chrono::seconds::min()};
  std::array<char, http::kDateBytes> text_{};
};

}  // namespace segue::edge
