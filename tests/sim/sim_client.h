// tests/sim/sim_client.h - a listener of the simulation: sends one request through the real parser
// and delivery, takes bytes at the pace its seed gives it, may stop reading, may leave.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "edge/delivery/delivery.h"
#include "edge/delivery/exchange.h"
#include "edge/delivery/stream.h"
#include "http/request_parser.h"
#include "tests/support/random.h"
#include "tests/support/sim_loop.h"

namespace segue::testing {

struct ClientBehaviour {
  std::string target = "/t/1";
  std::string method = "GET";
  std::string range;                                          // value of Range; empty: none
  std::vector<std::pair<std::string, std::string>> fields{};  // of the request, besides
  uint32_t window_bytes = 1 << 20;                            // taken at once
  std::chrono::microseconds refill_every{200};                // then again after so long
  uint32_t others_steps = 0;                 // that other loops go while this one sends
  uint64_t leaves_after_bytes = UINT64_MAX;  // RST once so many body bytes came
  uint64_t stops_after_bytes = UINT64_MAX;   // reads no more from here on, but stays
};

/// What came back, in the words of the protocol.
struct ClientResult {
  bool finished = false;
  edge::Stream::End end = edge::Stream::End::Gone;
  int status = 0;
  bool has_head = false;
  std::string etag;
  std::string version;  // X-Version
  std::string content_range;
  std::string content_type;
  std::string cache_status;
  std::optional<uint64_t> content_length;
  uint64_t body_bytes = 0;
  uint64_t bytes_with_head = 0;  // of the body, in the same write
};

/// Told of all that comes as it arrives, so that what is wrong is found when it is sent.
class ResponseWatch {
 public:
  virtual ~ResponseWatch() = default;
  virtual void see_head(const ClientResult& result) = 0;
  /// `offset` counts body bytes from 0.
  virtual void see_body(const ClientResult& so_far, uint64_t offset,
                        std::span<const std::byte> bytes) = 0;
  virtual void see_end(const ClientResult& result) = 0;
};

/// Lives on one loop. Create and start it inside a turn of that loop.
class SimClient final : public edge::Stream {
 public:
  SimClient(SimWorld& world, SimLoop& loop, edge::Delivery& delivery, ClientBehaviour behaviour,
            ResponseWatch& watch);
  ~SimClient() override;

  void start();
  /// Leaves at once (RST), wherever it is.
  void leave();
  [[nodiscard]] const ClientResult& result() const noexcept { return result_; }
  [[nodiscard]] const ClientBehaviour& behaviour() const noexcept { return behaviour_; }
  /// Requested at virtual time; for "a request begun after a purge was acknowledged".
  [[nodiscard]] MonoTime started() const noexcept { return started_; }
  [[nodiscard]] bool finished() const noexcept { return result_.finished; }

  // Stream
  [[nodiscard]] Result<size_t> try_send(const edge::ResponseHead* head,
                                        std::span<const iovec> body) override;
  [[nodiscard]] bool has_head() const noexcept override { return result_.has_head; }
  void want_writable() noexcept override;
  [[nodiscard]] bool flushed() const noexcept override { return true; }
  [[nodiscard]] const bool& gone() const noexcept override { return gone_; }
  void finished(edge::Stream::End end) noexcept override;

 private:
  struct RefillTimer : Timer {
    using Timer::Timer;
    SimClient* client = nullptr;
  };
  static void refill(Timer& timer);
  void take_head(const edge::ResponseHead& head);

  SimWorld& world_;
  SimLoop& loop_;
  edge::Delivery& delivery_;
  const ClientBehaviour behaviour_;
  ResponseWatch& watch_;
  std::string request_text_;
  http::RequestParser parser_;
  edge::Client identity_;
  std::optional<edge::Exchange> exchange_;
  RefillTimer refill_timer_;
  uint64_t window_left_ = 0;
  bool wants_writable_ = false;
  bool gone_ = false;
  MonoTime started_{};
  ClientResult result_;
};

}  // namespace segue::testing
