// edge/server/proxy_input.h - takes a PROXY header off a socket, and not a byte more.
#pragma once
#include <array>
#include <cstddef>

#include "edge/server/proxy_header.h"

namespace segue::edge {

/// Loop-owned; a connection has one until its header is read.
class ProxyInput {
 public:
  /// What has come: NeedMore also where nothing has, Malformed also where the peer has closed.
  /// Looks before it takes: what follows the header is for others (TLS), and what was looked at and
  /// left would be announced again at once.
  [[nodiscard]] ProxyHeader receive(int fd) noexcept;

 private:
  std::array<char, kProxyHeaderBytesMax> bytes_;
  size_t used_ = 0;
};

}  // namespace segue::edge
