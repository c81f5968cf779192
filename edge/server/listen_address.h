// edge/server/listen_address.h - where to listen, and the listening socket for it.
#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "edge/server/connection.h"

namespace segue::edge {

/// "192.0.2.1:8080", "[2001:db8::1]:8080", "0.0.0.0:80", "[::]:80" (IPv6 only: name both), or
/// "unix:/run/segue.sock". No host names: resolving may wait, and a name can mean several
/// addresses.
struct ListenAddress {
  sockaddr_storage socket_address{};
  socklen_t bytes = 0;
  std::string unix_path;  // empty: TCP

  /// Errors: {Self, Malformed} with `where` saying what is wrong.
  [[nodiscard]] static Result<ListenAddress> parse(std::string_view text);
  [[nodiscard]] bool is_unix() const noexcept { return !unix_path.empty(); }
  /// Whether `listener` listens here.
  [[nodiscard]] bool is_of(int listener) const noexcept;
  /// Of a unix socket: takes its file away. Before the listener is closed.
  void remove_socket_file() const noexcept;
};

/// Whether nobody listens there yet: SO_REUSEPORT would share the port with another process of the
/// same user without a word. Before the first open_listener(). Start-up only. Errors: {Self,
/// Refused | IoError, os_errno}.
[[nodiscard]] Result<Done> check_unused(const ListenAddress& address);

/// A listening, non-blocking socket. TCP: SO_REUSEPORT, so that each loop opens its own and the
/// kernel spreads connections; TCP_NODELAY and TCP_NOTSENT_LOWAT, which accepted sockets inherit.
/// A unix socket whose owner is gone is replaced; one that answers is not. Start-up only. Errors:
/// {Self, Refused | IoError, os_errno}.
[[nodiscard]] Result<int> open_listener(const ListenAddress& address);

/// Gives a listening socket that somebody else opened what open_listener() gives its own.
void adopt_listener(int fd) noexcept;

/// Where `fd` listens: "127.0.0.1:41234", "[::1]:80", "unix:/path". For port 0 the one chosen.
[[nodiscard]] std::string listening_at(int fd);

/// The peer as its connection knows it; the hash is seeded per process.
[[nodiscard]] Peer peer_of(const sockaddr_storage& address, uint64_t seed) noexcept;

}  // namespace segue::edge
