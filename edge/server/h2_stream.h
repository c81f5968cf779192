// edge/server/h2_stream.h - one request and its response on an HTTP/2 connection. Internal to
// edge/server.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/loop/clock.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/stream.h"
#include "edge/server/h2_priority.h"
#include "edge/server/head_text.h"
#include "edge/server/request_memory.h"

namespace segue::edge {

class Http2Connection;

/// Loop-owned; from a pool of the loop. Lives until nghttp2 has closed the stream and the handler
/// has given the exchange back, whichever is later.
class Http2Stream final : public Stream {
 public:
  Http2Stream(Http2Connection& of, uint32_t number) noexcept : connection(of), id(number) {
    claim.stream = number;
  }

  // --- Stream ---
  Result<size_t> try_send(const ResponseHead* head, std::span<const iovec> body) override;
  [[nodiscard]] bool has_head() const noexcept override { return head_submitted; }
  void want_writable() noexcept override;
  [[nodiscard]] bool flushed() const noexcept override;
  [[nodiscard]] const bool& gone() const noexcept override { return is_gone; }
  /// Of the connection, so of its other streams too.
  void pace(uint64_t bytes_per_second) noexcept override;
  void finished(End how) noexcept override;

  // What follows is the connection's.

  /// Reading: its request is on its way. Asked: it is here, nobody has it yet. Serving: the handler
  /// has the exchange. Over: it was given back, or the stream ended before anybody had it.
  enum class Step : uint8_t { Reading, Asked, Serving, Over };

  Http2Connection& connection;
  const uint32_t id;
  Http2Stream* previous = nullptr;
  Http2Stream* following = nullptr;
  Http2Claim claim;
  RequestMemory* memory = nullptr;
  Exchange* exchange = nullptr;
  MonoTime started{};
  std::optional<End> ended;
  uint64_t body_left = 0;        // of the response, with Framing::Length
  uint64_t request_body = 0;     // bytes of body received
  uint64_t batch = 0;            // the latest one that has bytes of it
  uint16_t refused = 0;          // a status, where what came cannot be served
  std::string_view refused_why;  // static storage
  Step step = Step::Reading;
  Framing framing = Framing::None;
  bool head_done = false;       // the request's head is complete
  bool collects_body = false;   // the handler wants the body first
  bool is_gone = false;         // reset by the client, or the connection is over
  bool closed = false;          // nghttp2 has forgotten it
  bool head_submitted = false;  // the response's head was given to nghttp2
  bool head_sent = false;       // and is in a batch
  bool starved = false;         // the last try_send() left bytes behind
  bool wants_flush = false;     // waits for what it said to be out
  bool good_request = false;    // its head could be parsed
  bool end_sent = false;        // END_STREAM is in a batch
  bool body_ended = false;      // nothing more is to follow: END_STREAM may go
};

}  // namespace segue::edge
