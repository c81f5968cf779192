// loadtest/players/http_connection.h - one HTTP/1.1 connection of a listener: a request at a time,
// the body handed on as it comes, reading stopped and begun again as players do.
#pragma once
#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "loadtest/players/net.h"

namespace loadtest {

/// What a client looks at in a response's head.
struct ResponseHead {
  int status = 0;
  std::optional<uint64_t> length;
  // Content-Range
  std::optional<uint64_t> range_first;
  std::optional<uint64_t> range_last;
  std::optional<uint64_t> total;
  std::string etag;
  bool close = false;
};

enum class Failure : uint8_t { Connect, Closed, Malformed };

/// Who asked. Each of these calls may abandon the connection.
class ConnectionUser {
 public:
  virtual ~ConnectionUser() = default;
  virtual void on_head(const ResponseHead& head) = 0;
  virtual void on_body(std::string_view bytes) = 0;
  /// The response is complete.
  virtual void on_end() = 0;
  virtual void on_failure(Failure failure) = 0;
};

class HttpConnection final : public Watcher {
 public:
  /// Connects from the loopback address `source` (host byte order), if not 0: then every listener
  /// is another client to the server.
  HttpConnection(Net& net, const sockaddr_in& server, uint32_t source);
  ~HttpConnection() override;
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  /// The connection must be idle. `user` is called until on_end() or on_failure(), or abandon().
  void ask(std::string request, ConnectionUser& user);
  /// Leaves: closes the socket whatever is under way. No call follows.
  void abandon();
  /// Stops taking bytes, so that the window closes; or goes on.
  void set_reading(bool reading);

  [[nodiscard]] bool open() const noexcept { return fd_ >= 0; }
  [[nodiscard]] bool idle() const noexcept { return open() && user_ == nullptr; }

  void on_ready(uint32_t events) override;

 private:
  void update_watch();
  void send_request();
  void read_some();
  void take(std::string_view bytes);
  bool take_head();
  void end_response();
  void fail(Failure failure);

  Net& net_;
  int fd_ = -1;
  ConnectionUser* user_ = nullptr;
  std::string request_;
  size_t request_sent_ = 0;
  std::string head_bytes_;
  bool head_done_ = false;
  bool reading_ = true;
  bool close_after_ = false;
  uint64_t body_left_ = 0;
  uint32_t watched_ = 0;
};

/// Nothing: not a response's head. `text` without the empty line.
[[nodiscard]] std::optional<ResponseHead> parse_head(std::string_view text);

}  // namespace loadtest
