// edge/server/connection.h - one connection. HTTP/1.1, plain or TLS: reads requests, hands each to
// the handler, writes its response, and goes on to the next (RFC 9112 §9). Its life is the table of
// connection_state.h. Where ALPN chose HTTP/2 it keeps the socket, and h2_connection.h the rest.
//
// Between requests it holds nothing but itself; the read buffer comes with the first byte, the
// exchange with the complete head, both go back when the response is over.
//
// A client that has closed its side (FIN): whoever sent a request and then shut its writing side
// down (`printf ... | nc`) still gets its response, as long as there are bytes to send it: a dead
// peer answers those with a reset. But while there is nothing to send (the origin is being asked)
// a FIN looks the same from a client that left, and those are many: after half_close_grace without
// a byte taken it counts as gone. A reset or EPOLLHUP counts at once.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/loop/event_loop.h"
#include "edge/delivery/exchange.h"
#include "edge/server/connection_context.h"
#include "edge/server/connection_state.h"
#include "edge/server/proxy_input.h"
#include "edge/server/response_writer.h"
#include "edge/server/wire.h"

namespace segue::edge {

/// Who a connection comes from, as accept(2) told.
struct Peer {
  static constexpr size_t kTextBytesMax = 46;  // INET6_ADDRSTRLEN
  std::array<char, kTextBytesMax> text;
  uint8_t text_bytes = 0;
  uint64_t hash = 0;     // of the address
  uint64_t network = 0;  // of the address, IPv6 of its /64: who limits are for; 0: a unix socket
};

/// Loop-owned. Owned by its Server, which destroys it when it says it is closed.
class Connection final : public Stream {
 public:
  /// Takes the non-blocking descriptor. `on_closed` is called at the end of a step, at most once,
  /// and may destroy the connection.
  using OnClosed = void (*)(Connection&, void* owner);
  /// `tls`: shakes hands first; null: plain.
  Connection(ConnectionContext& context, int fd, const Peer& peer,
             std::shared_ptr<const tls::ServerContext> tls, OnClosed on_closed, void* owner);
  ~Connection() override;

  /// Closes when idle, else after the response under way.
  void start_drain() noexcept;
  /// Ends now: a response under way sees its client gone. on_closed comes on a later step.
  void cut() noexcept;
  /// Says 503 and goodbye, and is no client. Right after it is made; not over TLS.
  void turn_away() noexcept;
  [[nodiscard]] bool turned_away() const noexcept { return turned_away_; }
  /// A PROXY header comes before anything else and says whom it is from. Right after it is made.
  void expect_proxy_header();
  /// Counts it among its client's.
  void keep(ConnectionLease lease) noexcept { guest_.lease = std::move(lease); }
  [[nodiscard]] ConnectionState state() const noexcept { return state_; }

  // --- Stream ---
  Result<size_t> try_send(const ResponseHead* head, std::span<const iovec> body) override;
  [[nodiscard]] bool has_head() const noexcept override { return writer_.head_written(); }
  [[nodiscard]] uint64_t batch_bytes(uint64_t left) noexcept override;
  void want_writable() noexcept override;
  [[nodiscard]] bool flushed() const noexcept override {
    return writer_.flushed() && wire_.flushed();
  }
  [[nodiscard]] const bool& gone() const noexcept override { return gone_; }
  void finished(End end) noexcept override;
  void pace(uint64_t bytes_per_second) noexcept override;

  // The server's list of its connections.
  Connection* previous = nullptr;
  Connection* following = nullptr;

 private:
  using Received = Wire::Received;
  struct StepNode : ReadyNode {
    using ReadyNode::ReadyNode;
    Connection* connection = nullptr;
  };
  struct DeadlineTimer : Timer {
    using Timer::Timer;
    Connection* connection = nullptr;
  };

  static void on_ready(ReadyNode& node);
  static void on_timer(Timer& timer);
  void step();
  void advance();
  void handle_events();
  void handle_deadline();
  void handle_peer_closed();
  void handle_serving_deadline();
  void enter(ConnectionEvent event) noexcept;

  // One function per state; true: look at the (new) state now, false: wait for an event.
  bool read_proxy_header();
  bool shake_hands();
  bool read_head();
  bool read_body();
  bool end_exchange();
  bool flush();
  bool drain_body();
  bool linger();
  bool multiplex();

  bool take_head();
  void start_exchange(const http::Request& request, ConnectionEvent event);
  void serve();
  bool refuse(int status, std::string_view reason);
  bool refuse(const http::Request& request, int status, std::string_view reason);
  void begin_body();
  /// How far a body came with the bytes that are here.
  enum class BodyStep : uint8_t { NeedMore, Complete, TooLong, Malformed };
  BodyStep take_body(uint64_t bytes_max);
  BodyStep take_chunked_body(uint64_t bytes_max);
  void next_request();

  // --- connection_http2.cc ---
  void start_http2();
  void leave_http2() noexcept;
  void wait_for_http2();
  void handle_http2_deadline();
  void drain_http2();

  /// How our side ends: a cut must not look like an end (RFC 8446 §6.1).
  enum class Goodbye : uint8_t { Said, Cut };
  bool start_linger(Goodbye goodbye) noexcept;
  void end_handshake() noexcept;
  [[nodiscard]] Now now() const noexcept { return {context_.loop.now(), context_.loop.wall_now()}; }
  void die(bool reset) noexcept;
  void give_back_memory() noexcept;
  void become_gone() noexcept;

  Received receive(std::span<char> into, size_t& bytes) noexcept;
  void watch_for_reading() noexcept;
  void watch_while_serving() noexcept;
  void set_deadline(MonoTime deadline);
  void note_progress() noexcept;
  void note_batch(size_t socket_bytes) noexcept;
  void flush_records() noexcept;
  [[nodiscard]] bool widen() noexcept;
  void narrow() noexcept;
  void leave_wide() noexcept;
  void start_stall_clock() noexcept;
  [[nodiscard]] uint32_t unacknowledged_bytes() const noexcept;

  // constant after construction
  ConnectionContext& context_;
  const int fd_;
  const OnClosed on_closed_;
  void* const owner_;
  Peer peer_;
  Guest guest_;  // before client_, which has its address
  Client client_;
  // loop-owned
  StepNode node_;
  SocketWatch watch_;
  DeadlineTimer timer_;
  MonoTime deadline_ = kNever;  // the timer fires at this time or before; see set_deadline()
  Wire wire_;
  BatchHolder batch_holder_{*this};
  WideHolder wide_holder_{*this};
  ResponseWriter writer_;
  std::unique_ptr<ProxyInput> proxy_;  // until the PROXY header is read
  struct Http2Part;
  struct Http2Free {
    void operator()(Http2Part* part) const noexcept;
  };
  std::unique_ptr<Http2Part, Http2Free> http2_;  // while Multiplexed
  std::unique_ptr<Handshake> handshake_;         // while Handshaking
  RequestMemory* memory_ = nullptr;
  Exchange* exchange_ = nullptr;
  MonoTime request_started_{};
  MonoTime stalled_since_ = kNever;  // a write is wanted and nothing was taken since
  size_t head_bytes_ = 0;            // of the request under way
  uint32_t unacknowledged_ = 0;      // when the client stopped taking bytes
  uint32_t lingered_bytes_ = 0;
  uint32_t bytes_this_turn_ = 0;
  ConnectionState state_ = ConnectionState::Idle;
  std::optional<End> ended_;
  uint8_t requests_this_turn_ = 0;
  bool in_step_ = false;
  bool readable_ = false;
  bool unparsed_ = false;   // bytes are here that the parser has not seen
  bool keep_alive_ = true;  // as the request under way allows
  bool body_follows_ = false;
  bool peer_closed_ = false;  // FIN or reset seen
  bool gone_ = false;
  bool want_writable_ = false;
  bool timed_out_ = false;
  bool cut_asked_ = false;
  bool reset_on_close_ = false;
  bool turned_away_ = false;
  bool took_bytes_ = false;  // the client's socket, of a response
};
// Ten thousand idle players cost ten thousand of these.
static_assert(sizeof(Connection) <= 768);

}  // namespace segue::edge
