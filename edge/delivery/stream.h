// edge/delivery/stream.h - the seam behind which one client's response stands: HTTP/1.1, later
// HTTP/2, the simulation's client.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/limits.h"
#include "base/result.h"
#include "edge/delivery/response_head.h"

namespace segue::edge {

/// Loop-owned. The connection implements it; delivery calls it. Nothing here waits.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Sends as much as the client takes now: the head (the first time; one writev with the body's
  /// first bytes) and then `body`. Returns how many *body* bytes were taken; what was not taken is
  /// offered again after the exchange's signal was raised by writability, and so is the head while
  /// has_head() says no. Errors: {Client, Closed}.
  [[nodiscard]] virtual Result<size_t> try_send(const ResponseHead* head,
                                                std::span<const iovec> body) = 0;
  /// The head was taken: what of it did not fit is kept by the stream and sent first. Not where it
  /// is not this stream's turn (HTTP/2): a hundred waiting heads are not kept for one client.
  [[nodiscard]] virtual bool has_head() const noexcept = 0;
  /// Asks for the exchange's signal to be raised when the client takes more or is gone.
  /// Level-triggered, one time.
  virtual void want_writable() noexcept = 0;
  /// How many bytes of body to offer at once, of the `left` that there are: kWriteBatchBytes, or
  /// kWideBatchBytes where this client may hold so much unsent.
  [[nodiscard]] virtual uint64_t batch_bytes(uint64_t /*left*/) noexcept {
    return kWriteBatchBytes;
  }
  /// All of the head was taken, too.
  [[nodiscard]] virtual bool flushed() const noexcept = 0;
  /// The client has closed or reset (seen by EPOLLRDHUP or a failed write; for HTTP/2 RST_STREAM).
  [[nodiscard]] virtual const bool& gone() const noexcept = 0;

  /// Of all that follows on the connection, until it is said anew; UINT64_MAX: as fast as it goes.
  virtual void pace(uint64_t /*bytes_per_second*/) noexcept {}

  /// How an exchange ended; the stream may go on to the next request, or closes. The exchange is
  /// the stream's again.
  enum class End : uint8_t {
    Complete,  // the whole response was handed to try_send and taken
    Cut,       // it cannot be completed: close so that the client notices (never a clean end)
    Gone,      // the client went away
  };
  virtual void finished(End end) noexcept = 0;
};

}  // namespace segue::edge
