#include "tests/support/scripted_wire.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "http/header_fields.h"

namespace segue::testing {
namespace {

constexpr size_t kFrameHeadBytes = 9;
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kReset = 3;
constexpr uint8_t kSettings = 4;
constexpr uint8_t kPing = 6;
constexpr uint8_t kWindowUpdate = 8;
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kAck = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr size_t kDataBytesMax = 16'384;

[[nodiscard]] uint32_t number_at(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

void put(std::string& out, uint32_t value, int count) {
  for (int i = count - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> 8 * i & 0xff));
}

/// A literal without indexing and without Huffman (RFC 7541 §6.2.2); texts under 127 bytes.
void put_field(std::string& block, std::string_view name, std::string_view value) {
  SEGUE_ASSERT(name.size() < 127);
  SEGUE_ASSERT(value.size() < 127);
  block.push_back(0);
  block.push_back(static_cast<char>(name.size()));
  for (const char c : name) block.push_back(http::to_lower(c));
  block.push_back(static_cast<char>(value.size()));
  block += value;
}

/// Turns "HTTP/1.1 200 OK\r\nName: value\r\n" into a header block.
[[nodiscard]] std::string block_of(std::string_view head) {
  std::string block;
  put_field(block, ":status", head.substr(9, 3));
  size_t at = head.find("\r\n");
  while (at != std::string_view::npos && at + 2 < head.size()) {
    at += 2;
    const size_t end = std::min(head.find("\r\n", at), head.size());
    const std::string_view line = head.substr(at, end - at);
    const size_t colon = line.find(':');
    put_field(block, line.substr(0, colon), http::trim_whitespace(line.substr(colon + 1)));
    at = head.find("\r\n", at);
  }
  return block;
}

}  // namespace

Wire::Wire(int fd, SSL_CTX* context) : fd_(fd) {
  if (context == nullptr) return;
  ssl_ = SSL_new(context);
  SSL_set_fd(ssl_, fd);
  good_ = SSL_accept(ssl_) == 1;
}

Wire::~Wire() {
  if (ssl_ != nullptr) SSL_free(ssl_);
}

bool Wire::is_http2() const noexcept {
  if (ssl_ == nullptr) return false;
  const unsigned char* chosen = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(ssl_, &chosen, &length);
  return length == 2 && chosen[0] == 'h' && chosen[1] == '2';
}

bool Wire::send_all(std::string_view bytes) {
  while (good_ && !bytes.empty()) {
    const ssize_t sent = ssl_ == nullptr
                             ? ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL)
                             : SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
    good_ = sent > 0;
    if (good_) bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return good_;
}

bool Wire::receive(std::string& into) {
  char bytes[4096];
  const ssize_t got =
      ssl_ == nullptr ? ::recv(fd_, bytes, sizeof(bytes), 0) : SSL_read(ssl_, bytes, sizeof(bytes));
  if (got <= 0) return false;
  into.append(bytes, static_cast<size_t>(got));
  return true;
}

void Wire::reset() {
  const linger hard{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  good_ = false;
}

void Wire::close() {
  if (ssl_ != nullptr) SSL_shutdown(ssl_);
  good_ = false;
}

bool Http2Wire::fill(size_t bytes) {
  while (received_.size() < bytes) {
    if (!wire_.receive(received_)) return false;
  }
  return true;
}

bool Http2Wire::read_frame(Frame& frame) {
  if (!fill(kFrameHeadBytes)) return false;
  const size_t length = number_at(received_, 0, 3);
  if (!fill(kFrameHeadBytes + length)) return false;
  frame.type = static_cast<uint8_t>(received_[3]);
  frame.flags = static_cast<uint8_t>(received_[4]);
  frame.stream = number_at(received_, 5, 4) & 0x7fffffff;
  frame.payload = received_.substr(kFrameHeadBytes, length);
  received_.erase(0, kFrameHeadBytes + length);
  return true;
}

void Http2Wire::send_frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  put(frame, static_cast<uint32_t>(payload.size()), 3);
  put(frame, type, 1);
  put(frame, flags, 1);
  put(frame, stream, 4);
  frame += payload;
  wire_.send_all(frame);
}

void Http2Wire::handle(const Frame& frame) {
  if (frame.type == kHeaders) asked_ = frame.stream;
  if (frame.type == kPing && (frame.flags & kAck) == 0) send_frame(kPing, kAck, 0, frame.payload);
  if (frame.type == kWindowUpdate) {
    const int64_t more = number_at(frame.payload, 0, 4);
    if (frame.stream == 0) window_ += more;
    if (frame.stream == stream_ && stream_ != 0) stream_window_ += more;
  }
  if (frame.type != kSettings || (frame.flags & kAck) != 0) return;
  for (size_t at = 0; at + 6 <= frame.payload.size(); at += 6) {
    constexpr uint32_t kInitialWindow = 4;
    if (number_at(frame.payload, at, 2) != kInitialWindow) continue;
    const int64_t now = number_at(frame.payload, at + 2, 4);
    stream_window_ += now - std::exchange(initial_window_, now);
  }
  send_frame(kSettings, kAck, 0, "");
}

uint32_t Http2Wire::next_request() {
  if (!begun_) {
    begun_ = true;
    if (!fill(kPreface.size())) return 0;
    received_.erase(0, kPreface.size());
    send_frame(kSettings, 0, 0, "");
  }
  while (asked_ == 0) {
    Frame frame;
    if (!read_frame(frame)) return 0;
    handle(frame);
  }
  return std::exchange(asked_, 0);
}

void Http2Wire::send_data(uint32_t stream, std::string_view body, bool cut) {
  stream_ = stream;
  stream_window_ = initial_window_;
  do {
    const int64_t room = std::min(window_, stream_window_);
    if (room <= 0 && !body.empty()) {
      Frame frame;
      if (!read_frame(frame)) return;
      handle(frame);
      continue;
    }
    const size_t count =
        std::min({body.size(), kDataBytesMax, static_cast<size_t>(std::max<int64_t>(room, 0))});
    const bool last = count == body.size() && !cut;
    send_frame(kData, last ? kEndStream : 0, stream, body.substr(0, count));
    body.remove_prefix(count);
    window_ -= static_cast<int64_t>(count);
    stream_window_ -= static_cast<int64_t>(count);
  } while (!body.empty() && wire_.good());
  if (cut) send_frame(kReset, 0, stream, std::string_view("\0\0\0\2", 4));
}

void Http2Wire::answer(uint32_t stream, std::string_view response, bool cut) {
  const size_t end = response.find("\r\n\r\n");
  SEGUE_ASSERT(end != std::string_view::npos);
  send_frame(kHeaders, kEndHeaders, stream, block_of(response.substr(0, end + 2)));
  send_data(stream, response.substr(end + 4), cut);
}

}  // namespace segue::testing
