// tls/session.h - one TLS connection as a plain class: bytes of the network in, plaintext out;
// plaintext in, sealed records out. It never touches a socket: the caller reads through a Source
// and writes what unsent() shows.
//
// Records are sealed into one batch of at most kBatchBytes of plaintext, taken from the loop's pool
// for the time until the socket has taken it, so that 64 KiB cost one writev instead of four or
// fifty. After a pause the first records are small, because a client can use a record only when all
// of it has arrived: one that fits the first packet, then what fits the first round trip, then
// 16 KiB.
//
// OpenSSL 3.0 copies plaintext into its own buffer and encrypts it there; the batch is filled from
// there. A record layer that encrypts from pinned memory straight into the batch would need its
// traffic keys, which it keeps to itself.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/loop/clock.h"
#include "base/result.h"
#include "tls/sealed_batch.h"
#include "tls/server_context.h"

namespace segue::tls {

/// Where a session reads from.
class Source {
 public:
  virtual ~Source() = default;
  static constexpr int64_t kNothing = -1;  // not now
  static constexpr int64_t kDead = -2;     // reset
  /// Bytes put into `into`; 0: the peer's end; or one of the above. Does not wait.
  virtual int64_t read(std::span<std::byte> into) noexcept = 0;
};

/// How a handshake ended, for the metric.
enum class HandshakeEnd : uint8_t {
  Full,
  Resumed,
  Closed,             // the client left half-way
  NoCommonProtocol,   // version, cipher or ALPN
  UnknownName,        // SNI names no host of ours, and that is to be refused
  ClientCertificate,  // none, or one that is not of our CA
  Malformed,          // no TLS at all, or broken
  NoMemory,           // the machine had none for it
};
[[nodiscard]] std::string_view name_of(HandshakeEnd end) noexcept;
inline constexpr size_t kHandshakeEnds = 8;

/// Loop-owned.
class Session {
 public:
  /// Takes a batch only while it has something to send. Where OpenSSL has no memory for it, its
  /// handshake fails.
  Session(std::shared_ptr<const ServerContext> context, SealedPool& pool);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Goes on with the handshake: at most one signature. nullopt: send what is unsent, and call
  /// again when there is more to read, or at once where the flight is not all in the batch. A
  /// failed one may leave an alert unsent.
  [[nodiscard]] std::optional<HandshakeEnd> handshake(Source& source);
  /// A flight longer than a batch: handshake() has more of it to send.
  [[nodiscard]] bool has_more_of_flight() const noexcept;

  enum class Received : uint8_t { Bytes, Nothing, End, Dead };
  /// Plaintext into `into` (not empty). Only after the handshake.
  [[nodiscard]] Received receive(Source& source, std::span<char> into, size_t& bytes);
  /// Bytes are here that no Source will announce again: call receive() until Nothing.
  [[nodiscard]] bool has_pending() const noexcept;

  /// Seals the front of `pieces` (from `skip` bytes on) into the batch, as far as it has room;
  /// returns how many bytes. 0: send what is unsent first. Errors: {Self, Overloaded}: no batch is
  /// left in the pool; {Self, IoError}: OpenSSL refused, the connection is over.
  [[nodiscard]] Result<size_t> seal(std::span<const iovec> pieces, size_t skip, size_t bytes_max,
                                    MonoTime now);
  /// Says goodbye (close_notify, RFC 8446 §6.1) where there is room for it.
  void seal_end() noexcept;

  /// What the socket is to be given next; empty: nothing is left. Valid until the next call of
  /// anything here.
  [[nodiscard]] std::span<const std::byte> unsent() const noexcept;
  /// `count` bytes of it were taken; the batch goes back when all were, or all but a small rest.
  void sent(size_t count);
  [[nodiscard]] bool holds_batch() const noexcept { return batch_ != nullptr; }
  /// Gives unsent bytes up.
  void drop_unsent() noexcept;
  /// Gives OpenSSL's buffers back until they are needed again (about 34 KiB); only what holds no
  /// bytes goes.
  void release_buffers() noexcept;

  // After the handshake:
  [[nodiscard]] bool is_http2() const noexcept;
  /// Whether the certificate shown covers the host of a request; if not: 421 (RFC 9110 §15.5.20).
  [[nodiscard]] bool covers(std::string_view host) const;

 private:
  friend struct BioOf;
  struct Impl;
  [[nodiscard]] HandshakeEnd why_failed(int error) const;
  [[nodiscard]] bool take_batch();
  void give_back_batch() noexcept;
  [[nodiscard]] size_t record_bytes() const noexcept;

  // constant after construction
  const std::shared_ptr<const ServerContext> context_;
  SealedPool& pool_;
  std::unique_ptr<Impl> impl_;
  // loop-owned
  SealedBatch* batch_ = nullptr;
  std::unique_ptr<std::byte[]> rest_;  // of the batch before: goes out first
  uint16_t rest_begin_ = 0;
  uint16_t rest_end_ = 0;
  Source* source_ = nullptr;  // within one call
  size_t plain_bytes_ = 0;    // sealed into the present batch
  uint64_t since_pause_ = 0;  // plaintext sealed since the last pause
  MonoTime sealed_at_{};
  bool source_dead_ = false;
  bool pool_spent_ = false;
  bool broken_ = false;  // a fatal error: OpenSSL forbids SSL_shutdown() now
};

}  // namespace segue::tls
