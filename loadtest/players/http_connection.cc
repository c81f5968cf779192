#include "loadtest/players/http_connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "loadtest/origin/content.h"

namespace loadtest {

namespace {

constexpr size_t kHeadBytesMax = 16384;
constexpr size_t kReadBytes = 256 * 1024;
constexpr int kReadsPerTurn = 4;  // so that one fast body does not starve the other listeners

bool same_name(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() &&
         std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x | 0x20) : x) == y;
         });
}

void take_content_range(std::string_view value, ResponseHead& head) {
  if (!value.starts_with("bytes ")) return;
  value.remove_prefix(6);
  if (!value.starts_with('*')) {
    head.range_first = take_number(value);
    if (!value.starts_with('-')) return;
    value.remove_prefix(1);
    head.range_last = take_number(value);
  } else {
    value.remove_prefix(1);
  }
  if (!value.starts_with('/')) return;
  value.remove_prefix(1);
  head.total = take_number(value);
}

void take_field(std::string_view name, std::string_view value, ResponseHead& head) {
  if (same_name(name, "content-length")) {
    head.length = take_number(value);
  } else if (same_name(name, "content-range")) {
    take_content_range(value, head);
  } else if (same_name(name, "etag")) {
    head.etag = value;
  } else if (same_name(name, "connection")) {
    head.close = same_name(value, "close");
  }
}

}  // namespace

std::optional<ResponseHead> parse_head(std::string_view text) {
  if (!text.starts_with("HTTP/1.1 ")) return {};
  ResponseHead head;
  std::string_view status = text.substr(9);
  head.status = static_cast<int>(take_number(status).value_or(0));
  if (head.status < 100 || head.status > 599) return {};
  for (size_t at = text.find("\r\n"); at != std::string_view::npos; at = text.find("\r\n", at)) {
    at += 2;
    const std::string_view line = text.substr(at, text.find("\r\n", at) - at);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return {};
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    take_field(line.substr(0, colon), value, head);
  }
  return head;
}

HttpConnection::HttpConnection(Net& net, const sockaddr_in& server, uint32_t source) : net_(net) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return;
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (source != 0) {
    // The port is chosen at connect(), when both ends are known: more of them are free then.
    setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(source);
    if (bind(fd_, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0) {
      abandon();
      return;
    }
  }
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0 &&
      errno != EINPROGRESS) {
    abandon();
    return;
  }
  watched_ = EPOLLIN;
  net_.watch(fd_, watched_, *this);
}

HttpConnection::~HttpConnection() { abandon(); }

void HttpConnection::ask(std::string request, ConnectionUser& user) {
  request_ = std::move(request);
  request_sent_ = 0;
  head_bytes_.clear();
  head_done_ = false;
  reading_ = true;
  body_left_ = 0;
  user_ = &user;
  if (!open()) return fail(Failure::Connect);
  send_request();
}

void HttpConnection::abandon() {
  user_ = nullptr;
  if (fd_ < 0) return;
  net_.forget(fd_);
  close(fd_);
  fd_ = -1;
}

void HttpConnection::set_reading(bool reading) {
  if (!open() || reading_ == reading) return;
  reading_ = reading;
  update_watch();
}

void HttpConnection::update_watch() {
  const uint32_t events = (reading_ ? uint32_t{EPOLLIN} : 0U) |
                          (request_sent_ < request_.size() ? uint32_t{EPOLLOUT} : 0U);
  if (events == watched_) return;
  watched_ = events;
  net_.change(fd_, events, *this);
}

void HttpConnection::send_request() {
  while (request_sent_ < request_.size()) {
    const ssize_t sent =
        send(fd_, request_.data() + request_sent_, request_.size() - request_sent_, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == ENOTCONN)) break;
    if (sent < 0) return fail(Failure::Connect);
    request_sent_ += static_cast<size_t>(sent);
  }
  update_watch();
}

void HttpConnection::on_ready(uint32_t events) {
  if (fd_ < 0) return;  // abandoned in this turn
  // A reader that has stopped is told of nothing else, and would be told of this for ever.
  if (!reading_ && (events & (EPOLLHUP | EPOLLERR)) != 0) return fail(Failure::Closed);
  if ((events & EPOLLOUT) != 0 && request_sent_ < request_.size()) send_request();
  if (fd_ >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_some();
}

void HttpConnection::read_some() {
  static thread_local std::array<char, kReadBytes> bytes;
  for (int i = 0; i < kReadsPerTurn && fd_ >= 0 && reading_; ++i) {
    const ssize_t got = recv(fd_, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return fail(head_done_ || request_sent_ > 0 ? Failure::Closed : Failure::Connect);
    take({bytes.data(), static_cast<size_t>(got)});
    if (static_cast<size_t>(got) < bytes.size()) return;
  }
}

void HttpConnection::take(std::string_view bytes) {
  if (user_ == nullptr) return fail(Failure::Malformed);  // bytes nobody has asked for
  if (!head_done_) {
    head_bytes_.append(bytes);
    if (!take_head()) return;
    // Behind the head may be the first bytes of the body.
    const size_t end = head_bytes_.find("\r\n\r\n") + 4;
    bytes = std::string_view(head_bytes_).substr(end);
    if (fd_ < 0 || user_ == nullptr) return;
  }
  if (bytes.size() > body_left_) return fail(Failure::Malformed);
  body_left_ -= bytes.size();
  if (!bytes.empty()) user_->on_body(bytes);
  if (fd_ >= 0 && user_ != nullptr && body_left_ == 0) end_response();
}

// False: there is more of it to come, or it was no head.
bool HttpConnection::take_head() {
  const size_t end = head_bytes_.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (head_bytes_.size() > kHeadBytesMax) fail(Failure::Malformed);
    return false;
  }
  const auto head = parse_head(std::string_view(head_bytes_).substr(0, end));
  const bool bodyless = head && (head->status == 304 || head->status == 204);
  if (!head || (!head->length && !bodyless)) {
    fail(Failure::Malformed);
    return false;
  }
  head_done_ = true;
  close_after_ = head->close;
  body_left_ = bodyless ? 0 : *head->length;
  user_->on_head(*head);
  return true;
}

void HttpConnection::end_response() {
  ConnectionUser* user = std::exchange(user_, nullptr);
  request_.clear();
  request_sent_ = 0;
  if (close_after_) abandon();
  user->on_end();
}

void HttpConnection::fail(Failure failure) {
  ConnectionUser* user = user_;
  abandon();
  if (user != nullptr) user->on_failure(failure);
}

}  // namespace loadtest
