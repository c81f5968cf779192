// edge/server/proxy_header.h - the PROXY protocol (HAProxy's specification, versions 1 and 2): a
// balancer in front says before the first byte whom a connection is from. Pure.
#pragma once
#include <sys/socket.h>

#include <cstddef>
#include <string_view>

namespace segue::edge {

/// Addresses and the extensions (TLVs) that balancers add; a longer header is none.
inline constexpr size_t kProxyHeaderBytesMax = 1024;

struct ProxyHeader {
  enum class Status : unsigned char { NeedMore, Complete, Malformed };
  Status status = Status::NeedMore;
  size_t bytes = 0;         // of the header, where it is complete; of what may be taken, else
  bool has_source = false;  // false: the balancer speaks for itself (LOCAL, UNKNOWN)
  sockaddr_storage source{};
};

/// `bytes` from the first one on. NeedMore: none of them is behind the header.
[[nodiscard]] ProxyHeader parse_proxy_header(std::string_view bytes) noexcept;

}  // namespace segue::edge
