#include "edge/server/wire.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "base/socket_limits.h"
#include "base/units.h"

namespace segue::edge {
namespace {

class SocketSource final : public tls::Source {
 public:
  explicit SocketSource(int fd) noexcept : fd_(fd) {}
  int64_t read(std::span<std::byte> into) noexcept override {
    const ssize_t got = ::read(fd_, into.data(), into.size());
    if (got >= 0) return got;
    return errno == EAGAIN || errno == EINTR ? kNothing : kDead;
  }

 private:
  const int fd_;
};

[[nodiscard]] size_t bytes_of(std::span<const iovec> pieces) noexcept {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

/// Sealed at least at a time, whatever the socket says: only a write that it refused makes it tell
/// when there is room. No more than kRestBytesMax once it is sealed.
constexpr size_t kRoomMin = 4 * KiB;

/// Bytes that the kernel still takes: it stops at so many that are not sent yet
/// (TCP_NOTSENT_LOWAT). Too many where its send memory is the nearer bound, as of a connection that
/// has sent little, and where it does not tell (unix(7)).
[[nodiscard]] size_t socket_room(int fd, uint32_t unsent_max) noexcept {
  int unsent = 0;
  if (ioctl(fd, SIOCOUTQNSD, &unsent) != 0) return SIZE_MAX;
  return unsent_max - std::min(static_cast<uint32_t>(unsent), unsent_max);
}

[[nodiscard]] bool set_unsent_max(int fd, uint32_t bytes) noexcept {
  const int value = static_cast<int>(bytes);
  return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value) == 0;
}

/// writev(2) once; nullopt: the socket is full.
[[nodiscard]] Result<std::optional<size_t>> write_once(int fd,
                                                       std::span<const iovec> pieces) noexcept {
  ssize_t written = 0;
  do {
    written = writev(fd, pieces.data(), static_cast<int>(pieces.size()));
  } while (written < 0 && errno == EINTR);
  if (written >= 0) return static_cast<size_t>(written);
  if (errno == EAGAIN) return std::nullopt;
  return fail(Side::Client, Kind::Closed, "writev", errno);
}

}  // namespace

void Wire::start_tls(std::shared_ptr<const tls::ServerContext> context, tls::SealedPool& pool) {
  session_ = std::make_unique<tls::Session>(std::move(context), pool);
  narrow();
}

std::optional<tls::HandshakeEnd> Wire::handshake() {
  SocketSource source(fd_);
  for (;;) {
    const auto end = session_->handshake(source);
    const bool done = end == tls::HandshakeEnd::Full || end == tls::HandshakeEnd::Resumed;
    Written written;
    if (!done && !write_unsent(written)) return tls::HandshakeEnd::Closed;
    if (end || !flushed() || !session_->has_more_of_flight()) return end;
  }
}

void Wire::end() noexcept {
  if (session_ == nullptr) return;
  session_->seal_end();
  Written written;
  // Best effort: who does not take it sees the end of the connection.
  [[maybe_unused]] const auto sent = write_unsent(written);
}

Wire::Received Wire::receive(std::span<char> into, size_t& bytes) {
  if (session_ == nullptr) return receive_raw(into, bytes);
  SocketSource source(fd_);
  switch (session_->receive(source, into, bytes)) {
    case tls::Session::Received::Bytes:
      return Received::Bytes;
    case tls::Session::Received::Nothing:
      return Received::Nothing;
    case tls::Session::Received::End:
      return Received::End;
    case tls::Session::Received::Dead:
      return Received::Dead;
  }
  return Received::Dead;
}

Wire::Received Wire::receive_raw(std::span<char> into, size_t& bytes) noexcept {
  const ssize_t received = read(fd_, into.data(), into.size());
  if (received == 0) return Received::End;
  if (received < 0) {
    return errno == EAGAIN || errno == EINTR ? Received::Nothing : Received::Dead;
  }
  bytes = static_cast<size_t>(received);
  return Received::Bytes;
}

Result<Wire::Written> Wire::write_plain(std::span<const iovec> pieces) noexcept {
  if (pieces.empty()) return Written{};
  const auto written = write_once(fd_, pieces);
  if (!written) return fail(written.error());
  const size_t taken = written->value_or(0);
  return Written{taken, taken, taken < bytes_of(pieces)};
}

Result<Done> Wire::write_unsent(Written& written) {
  while (!written.blocked && !flushed()) {
    const std::span<const std::byte> unsent = session_->unsent();
    const iovec all{const_cast<std::byte*>(unsent.data()), unsent.size()};
    const auto taken = write_once(fd_, {&all, 1});
    if (!taken) return fail(taken.error());
    written.socket_bytes += taken->value_or(0);
    written.blocked = taken->value_or(0) < unsent.size();
    session_->sent(taken->value_or(0));
  }
  return Done{};
}

size_t Wire::room() const noexcept {
  return std::clamp(socket_room(fd_, unsent_max_), kRoomMin, tls::kBatchBytes);
}

bool Wire::widen() noexcept {
  if (!set_unsent_max(fd_, kWideBatchBytes)) return false;
  unsent_max_ = kWideBatchBytes;
  return true;
}

void Wire::narrow() noexcept {
  unsent_max_ = session_ != nullptr ? kSealedNotSentLowatBytes : kNotSentLowatBytes;
  (void)set_unsent_max(fd_, unsent_max_);  // best effort: a unix socket has no such cap
}

Result<Wire::Written> Wire::write(std::span<const iovec> pieces, MonoTime now) {
  if (session_ == nullptr) return write_plain(pieces);
  Written written;
  // A batch with room is filled before it is written: the tickets of a handshake go with the first
  // response. One with none is written first.
  const size_t offered = bytes_of(pieces);
  do {
    const size_t left = offered - written.taken;
    // One record is not worth the question.
    const size_t bytes_max = left > tls::kRecordBytesMax ? std::min(left, room()) : left;
    if (bytes_max != 0) {
      const auto sealed = session_->seal(pieces, written.taken, bytes_max, now);
      if (!sealed) return fail(sealed.error());
      written.taken += *sealed;
    }
    if (const auto sent = write_unsent(written); !sent) {
      if (written.socket_bytes == 0) return fail(sent.error());
      written.blocked = true;  // what went before counts; the next write meets the error again
    }
  } while (!written.blocked && written.taken < offered);
  return written;
}

}  // namespace segue::edge
