// edge/server/wire.h - the socket of one connection as its bytes go over it: as they are, or sealed
// into TLS records. The connection and its response writer see plaintext alone.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "base/loop/clock.h"
#include "base/result.h"
#include "tls/session.h"

namespace segue::edge {

/// Loop-owned; part of a connection. Does not own the descriptor, which is non-blocking. Uses
/// writev: the process ignores SIGPIPE.
class Wire {
 public:
  explicit Wire(int fd) noexcept : fd_(fd), unsent_max_(kNotSentLowatBytes) {}

  // --- TLS ---
  /// Also lowers the cap on unsent bytes: what waits sealed holds a batch (room()).
  void start_tls(std::shared_ptr<const tls::ServerContext> context, tls::SealedPool& pool);
  [[nodiscard]] bool is_tls() const noexcept { return session_ != nullptr; }
  [[nodiscard]] tls::Session& session() noexcept { return *session_; }
  /// One step of the handshake, its flights written; nullopt: more is to come, see blocked(). What
  /// a completed one leaves (tickets) waits for the first response.
  [[nodiscard]] std::optional<tls::HandshakeEnd> handshake();
  /// Under way, and what is to be sent of it waited for room.
  [[nodiscard]] bool has_more_of_flight() const noexcept {
    return session_ != nullptr && session_->has_more_of_flight();
  }
  /// Says goodbye, if the socket takes it: what came before is whole (RFC 8446 §6.1). Plain:
  /// nothing.
  void end() noexcept;

  // --- reading ---
  enum class Received : uint8_t { Nothing, Bytes, End, Dead };
  [[nodiscard]] Received receive(std::span<char> into, size_t& bytes);
  /// Bytes of the network as they are: to discard them.
  [[nodiscard]] Received receive_raw(std::span<char> into, size_t& bytes) noexcept;
  /// Bytes are here that the socket will not announce.
  [[nodiscard]] bool has_pending() const noexcept {
    return session_ != nullptr && session_->has_pending();
  }
  /// Between requests: gives back what TLS holds for reading and writing.
  void release_buffers() noexcept {
    if (session_ != nullptr) session_->release_buffers();
  }

  // --- writing ---
  struct Written {
    size_t taken = 0;         // of `pieces`, in order; sealed ones may still be here (flushed())
    size_t socket_bytes = 0;  // what the socket took
    bool blocked = false;     // the socket took less than it was given
  };
  /// Errors: {Client, Closed, errno}; {Self, Overloaded}: no batch is left; {Self, IoError}.
  [[nodiscard]] Result<Written> write(std::span<const iovec> pieces, MonoTime now);
  [[nodiscard]] Result<Written> flush(MonoTime now) { return write({}, now); }
  /// About how many bytes of plaintext to seal now, up to a batch: what the socket has no room for
  /// would wait in its sealed form, and hold memory for as long as a client pauses. Never 0.
  [[nodiscard]] size_t room() const noexcept;
  /// The socket takes up to kWideBatchBytes that are not sent yet, or as few as before. False: it
  /// is none that can be told (unix(7)).
  [[nodiscard]] bool widen() noexcept;
  void narrow() noexcept;
  [[nodiscard]] bool holds_batch() const noexcept {
    return session_ != nullptr && session_->holds_batch();
  }
  [[nodiscard]] bool flushed() const noexcept {
    return session_ == nullptr || session_->unsent().empty();
  }
  /// The connection is given up.
  void drop_unsent() noexcept {
    if (session_ != nullptr) session_->drop_unsent();
  }

 private:
  [[nodiscard]] Result<Written> write_plain(std::span<const iovec> pieces) noexcept;
  [[nodiscard]] Result<Done> write_unsent(Written& written);

  const int fd_;
  uint32_t unsent_max_;                    // TCP_NOTSENT_LOWAT
  std::unique_ptr<tls::Session> session_;  // null: plain
};

}  // namespace segue::edge
