// tests/support/scripted_wire.h - the blocking bytes of one client of a ScriptedOrigin, plain or
// through TLS, and HTTP/2 over them.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/support/scripted_origin.h"

namespace segue::testing {

class Wire {
 public:
  /// Accepts the TLS handshake where there is a `context`. Does not own `fd`.
  Wire(int fd, SSL_CTX* context);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  [[nodiscard]] bool good() const noexcept { return good_; }
  /// Whether ALPN chose HTTP/2.
  [[nodiscard]] bool is_http2() const noexcept;
  bool send_all(std::string_view bytes);
  /// Appends what comes; false at the end of the connection.
  bool receive(std::string& into);
  void reset();
  void close();

 private:
  int fd_;
  SSL* ssl_ = nullptr;
  bool good_ = true;
};

/// The server's side of one HTTP/2 connection (RFC 9113), as little of it as a test needs: requests
/// are not decoded, replies are HTTP/1.1 text turned into frames, flow control is obeyed.
class Http2Wire {
 public:
  explicit Http2Wire(Wire& wire) : wire_(wire) {}
  /// Waits for the next request; 0 at the end of the connection.
  [[nodiscard]] uint32_t next_request();
  /// Answers `stream` with an HTTP/1.1 response text; without Content-Length the body ends by
  /// END_STREAM alone. Its last byte ends the stream unless `cut`, which resets it.
  void answer(uint32_t stream, std::string_view response, bool cut);

 private:
  struct Frame {
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
    std::string payload;
  };
  [[nodiscard]] bool fill(size_t bytes);
  [[nodiscard]] bool read_frame(Frame& frame);
  void handle(const Frame& frame);
  void send_frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
  void send_data(uint32_t stream, std::string_view body, bool cut);

  Wire& wire_;
  std::string received_;
  bool begun_ = false;
  uint32_t asked_ = 0;       // a request that came while another was being answered
  int64_t window_ = 65'535;  // of the connection
  int64_t initial_window_ = 65'535;
  int64_t stream_window_ = 0;  // of the stream being answered
  uint32_t stream_ = 0;
};

}  // namespace segue::testing
