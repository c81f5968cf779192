// edge/server/request_handler.h - the seam between a connection and whoever answers its requests:
// delivery on the public listener, the admin handler on the other one, a script in tests.
#pragma once
#include <cstdint>
#include <string_view>

#include "edge/delivery/exchange.h"

namespace segue::edge {

/// Loop-owned. Nothing here waits.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;

  /// Answers one request through exchange.stream; in the end, inside this call or later, it calls
  /// stream.finished() exactly once and does not touch the exchange any more. `body` is what the
  /// client sent, valid as long as the exchange; always empty where body_bytes_max() is 0.
  virtual void serve(Exchange& exchange, std::string_view body) = 0;
  /// Answers bytes that are no request (400, 408, 413, 414, 431, 501, 505); the connection closes
  /// after it. exchange.request is empty. `reason` is a stable word and points to static storage.
  virtual void refuse(Exchange& exchange, int status, std::string_view reason) = 0;
  /// A body of `request` up to this is read before serve(); a longer one is refused with 413. 0: it
  /// is not wanted; they are skipped after the response.
  [[nodiscard]] virtual uint32_t body_bytes_max(const http::Request& /*request*/) const noexcept {
    return 0;
  }
};

}  // namespace segue::edge
