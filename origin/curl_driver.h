// origin/curl_driver.h - libcurl's multi interface driven by our loop: its sockets are watched by
// SocketWatch, its timeouts are one Timer. Loop-owned.
//
// libcurl calls back from inside curl_multi_socket_action() and curl_easy_pause(). Such callbacks
// only copy, publish and queue; handles are added, removed and paused from the ready list, never
// from inside a callback (asserted).
#pragma once
#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/loop/event_loop.h"
#include "base/result.h"
#include "origin/counters.h"

namespace segue::origin {

class CurlDriver;

/// One easy handle in the driver; told once when its transfer ended.
class CurlTransfer {
 public:
  virtual ~CurlTransfer() = default;
  /// From the ready list, outside of any callback; may destroy the transfer.
  virtual void on_done(CURLcode code) = 0;
  /// The kept connection this transfer was about to use already had bytes to read, so it ends
  /// without having been sent. From inside a callback; on_done() follows.
  virtual void on_stale_connection() noexcept = 0;

 private:
  friend class CurlDriver;
  CurlDriver* driver_ = nullptr;  // from prepare() on
};

class CurlDriver {
 public:
  struct Options {
    uint32_t connections_max = 0;
    uint32_t idle_connections_max = 0;
  };
  /// Errors: {Self, IoError} if libcurl cannot be set up.
  [[nodiscard]] static Result<std::unique_ptr<CurlDriver>> create(EventLoop& loop, Options options,
                                                                  OriginCounters& counters);
  /// Closes the kept connections. No transfer is left.
  ~CurlDriver();
  CurlDriver(const CurlDriver&) = delete;
  CurlDriver& operator=(const CurlDriver&) = delete;

  /// What every handle needs to be driven here: sockets, TLS sessions, the way back to `transfer`.
  /// False when libcurl refuses any of it: the handle is not to be added then.
  [[nodiscard]] bool prepare(CURL* easy, CurlTransfer& transfer);
  /// Starts the transfer; its work begins in the loop's next turn.
  [[nodiscard]] bool add(CURL* easy);
  /// Stops it if it runs still.
  void remove(CURL* easy);
  /// Lets a paused transfer go on: libcurl hands over what it kept, inside this call.
  [[nodiscard]] CURLcode unpause(CURL* easy);
  [[nodiscard]] bool in_callback() const noexcept { return depth_ > 0; }
  /// Whether the last new connection failed for want of a descriptor: no fault of the server.
  [[nodiscard]] bool out_of_descriptors() const noexcept { return out_of_descriptors_; }

 private:
  struct Socket;
  struct MultiTimer : Timer {
    explicit MultiTimer(CurlDriver& driver) : Timer(&MultiTimer::run), owner(driver) {}
    static void run(Timer& timer);
    CurlDriver& owner;
  };
  CurlDriver(EventLoop& loop, OriginCounters& counters);
  [[nodiscard]] Result<Done> set_up(Options options);
  void act(curl_socket_t fd, int events);
  void report_done();
  void keep_idle(CURL* easy);
  /// False: bytes that nobody asked for wait on the connection.
  [[nodiscard]] bool use_again(std::string_view local_ip, long local_port);
  void drop_idle(curl_socket_t fd);
  void watch(curl_socket_t fd, int what);
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* driver, void* unused);
  static int on_request(void* transfer, char* remote_ip, char* local_ip, int remote_port,
                        int local_port);
  static int on_timer(CURLM* multi, long timeout_ms, void* driver);
  static curl_socket_t on_open(void* driver, curlsocktype purpose, curl_sockaddr* address);
  static int on_close(void* driver, curl_socket_t fd);

  EventLoop& loop_;
  OriginCounters& counters_;
  CURLM* multi_ = nullptr;
  CURLSH* share_ = nullptr;
  std::unordered_map<curl_socket_t, std::unique_ptr<Socket>> sockets_;
  // Local ports of the connections on which requests began since the last report_done(). A port of
  // two addresses is merely not kept watched.
  std::vector<long> reused_;
  MultiTimer timer_;
  bool out_of_descriptors_ = false;
  uint32_t depth_ = 0;    // calls into libcurl on the stack
  uint32_t handles_ = 0;  // added and not removed
};

}  // namespace segue::origin
