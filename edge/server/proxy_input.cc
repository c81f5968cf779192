#include "edge/server/proxy_input.h"

#include <cerrno>

namespace segue::edge {

ProxyHeader ProxyInput::receive(int fd) noexcept {
  const ProxyHeader malformed{ProxyHeader::Status::Malformed, 0, false, {}};
  const ssize_t seen = recv(fd, bytes_.data() + used_, bytes_.size() - used_, MSG_PEEK);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (seen <= 0) return malformed;
  const ProxyHeader header = parse_proxy_header({bytes_.data(), used_ + static_cast<size_t>(seen)});
  if (header.status == ProxyHeader::Status::Malformed) return malformed;
  const size_t taken = header.bytes - used_;
  if (recv(fd, bytes_.data() + used_, taken, 0) != static_cast<ssize_t>(taken)) return malformed;
  used_ += taken;
  if (header.status == ProxyHeader::Status::NeedMore && used_ == bytes_.size()) return malformed;
  return header;
}

}  // namespace segue::edge
