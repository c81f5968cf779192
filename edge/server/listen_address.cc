#include "edge/server/listen_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/hash.h"
#include "base/limits.h"

namespace segue::edge {

namespace {

constexpr int kBacklog = 4096;  // the kernel clips it to net.core.somaxconn

[[nodiscard]] std::optional<uint16_t> parse_port(std::string_view text) noexcept {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return port;
}

[[nodiscard]] Result<ListenAddress> parse_unix(std::string_view path) {
  ListenAddress address;
  sockaddr_un unix_address{};
  unix_address.sun_family = AF_UNIX;
  if (path.empty() || path.front() != '/') {
    return fail(Side::Self, Kind::Malformed, "the path of a unix socket is not absolute");
  }
  if (path.size() >= sizeof unix_address.sun_path) {
    return fail(Side::Self, Kind::Malformed, "the path of a unix socket is too long");
  }
  std::memcpy(unix_address.sun_path, path.data(), path.size());
  std::memcpy(&address.socket_address, &unix_address, sizeof unix_address);
  address.bytes = sizeof unix_address;
  address.unix_path = path;
  return address;
}

[[nodiscard]] bool set_option(int fd, int level, int name, int value) noexcept {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

/// What accepted sockets inherit. The body follows its head in one writev, so there is nothing for
/// Nagle to join; and unsent bytes in the kernel are bytes that a seek throws away.
[[nodiscard]] bool set_sending_options(int fd) noexcept {
  return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
         set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(kNotSentLowatBytes));
}

[[nodiscard]] bool set_tcp_options(int fd, int family) noexcept {
  if (family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) return false;
  return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
         set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) && set_sending_options(fd);
}

/// Removes the socket file of a process that is gone. One that takes connections stays.
void remove_stale(const ListenAddress& address) noexcept {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  const auto* name = reinterpret_cast<const sockaddr*>(&address.socket_address);
  if (connect(fd, name, address.bytes) != 0 && errno == ECONNREFUSED) {
    unlink(address.unix_path.c_str());
  }
  close(fd);
}

}  // namespace

Result<ListenAddress> ListenAddress::parse(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) return parse_unix(text.substr(kUnix.size()));
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(Side::Self, Kind::Malformed, "a listen address has no port");
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return fail(Side::Self, Kind::Malformed, "the port is not a number up to 65535");
  std::string host(text.substr(0, colon));
  ListenAddress address;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(*port);
    if (inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) != 1) {
      return fail(Side::Self, Kind::Malformed, "the host is no IPv6 address");
    }
    std::memcpy(&address.socket_address, &six, sizeof six);
    address.bytes = sizeof six;
    return address;
  }
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(*port);
  if (inet_pton(AF_INET, host.c_str(), &four.sin_addr) != 1) {
    return fail(Side::Self, Kind::Malformed,
                "the host is neither an IPv4 address nor an IPv6 address in brackets");
  }
  std::memcpy(&address.socket_address, &four, sizeof four);
  address.bytes = sizeof four;
  return address;
}

Result<Done> check_unused(const ListenAddress& address) {
  if (address.is_unix()) return Done{};  // open_listener() looks for itself
  const int family = address.socket_address.ss_family;
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(Side::Self, Kind::IoError, "socket", errno);
  const int on = 1;
  // Connections in TIME_WAIT from a former run are no hindrance; a listening socket is.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  const auto* name = reinterpret_cast<const sockaddr*>(&address.socket_address);
  const int error = bind(fd, name, address.bytes) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) return fail(Side::Self, Kind::Refused, "bind", error);
  return Done{};
}

Result<int> open_listener(const ListenAddress& address) {
  const int family = address.socket_address.ss_family;
  if (address.is_unix()) remove_stale(address);
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(Side::Self, Kind::IoError, "socket", errno);
  const auto refuse = [fd](const char* where) {
    const int error = errno;
    close(fd);
    const bool refused = error == EACCES || error == EPERM || error == EADDRINUSE;
    return fail(Side::Self, refused ? Kind::Refused : Kind::IoError, where, error);
  };
  if (!address.is_unix() && !set_tcp_options(fd, family)) return refuse("setsockopt");
  const auto* name = reinterpret_cast<const sockaddr*>(&address.socket_address);
  if (bind(fd, name, address.bytes) != 0) return refuse("bind");
  if (listen(fd, kBacklog) != 0) return refuse("listen");
  return fd;
}

bool ListenAddress::is_of(int listener) const noexcept {
  sockaddr_storage other{};
  socklen_t other_bytes = sizeof other;
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&other), &other_bytes) != 0) return false;
  if (other.ss_family != socket_address.ss_family) return false;
  if (is_unix() || other.ss_family == AF_INET6 || other.ss_family == AF_INET) {
    // By their text: an IPv6 address carries a flow label and a scope that say nothing here.
    const std::string at = listening_at(listener);
    const auto parsed = parse(at);
    if (!parsed) return false;
    if (is_unix()) return parsed->unix_path == unix_path;
    return parsed->bytes == bytes &&
           std::memcmp(&parsed->socket_address, &socket_address, bytes) == 0;
  }
  return false;
}

void ListenAddress::remove_socket_file() const noexcept {
  if (is_unix()) unlink(unix_path.c_str());
}

void adopt_listener(int fd) noexcept {
  // Refused on a unix socket, where there is nothing to gain.
  (void)set_sending_options(fd);
}

std::string listening_at(int fd) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return "";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &address, sizeof four);
    inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(four.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 six{};
    std::memcpy(&six, &address, sizeof six);
    inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(six.sin6_port));
  }
  sockaddr_un unix_address{};
  std::memcpy(&unix_address, &address, sizeof unix_address);
  return fmt::format("unix:{}", unix_address.sun_path);
}

Peer peer_of(const sockaddr_storage& address, uint64_t seed) noexcept {
  Peer peer;
  std::string_view hashed;
  size_t network_bytes = 0;
  sockaddr_in four{};
  sockaddr_in6 six{};
  const char* text = nullptr;
  if (address.ss_family == AF_INET) std::memcpy(&four, &address, sizeof four);
  if (address.ss_family == AF_INET6) std::memcpy(&six, &address, sizeof six);
  const bool mapped = address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six.sin6_addr);
  // On a socket of both families, as a service manager may open it, IPv4 comes within IPv6.
  if (mapped) std::memcpy(&four.sin_addr, six.sin6_addr.s6_addr + 12, sizeof four.sin_addr);
  if (address.ss_family == AF_INET || mapped) {
    text = inet_ntop(AF_INET, &four.sin_addr, peer.text.data(), peer.text.size());
    hashed = {reinterpret_cast<const char*>(&four.sin_addr), sizeof four.sin_addr};
    network_bytes = hashed.size();
  } else if (address.ss_family == AF_INET6) {
    text = inet_ntop(AF_INET6, &six.sin6_addr, peer.text.data(), peer.text.size());
    hashed = {reinterpret_cast<const char*>(&six.sin6_addr), sizeof six.sin6_addr};
    network_bytes = 8;
  }
  if (text == nullptr) {
    constexpr std::string_view kUnix = "unix";
    std::memcpy(peer.text.data(), kUnix.data(), kUnix.size());
    peer.text_bytes = kUnix.size();
    return peer;
  }
  peer.text_bytes = static_cast<uint8_t>(std::strlen(text));
  peer.hash = hash_key(hashed, seed).low;
  peer.network = hash_key(hashed.substr(0, network_bytes), seed).high | 1;
  return peer;
}

}  // namespace segue::edge
