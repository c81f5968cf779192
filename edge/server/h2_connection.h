// edge/server/h2_connection.h - the server's side of one HTTP/2 connection (RFC 9113), without a
// socket: bytes of the client in, frames out through a Http2Host. nghttp2 keeps the protocol's
// state; what is here decides who is served when, and what is too much.
//
// Frames are put together into one batch of at most what the host takes whole (64 KiB of TLS
// records), and none is made before that one is out: a slow client holds one batch, whatever its
// streams have to say, and the next bytes are chosen by priority when there is room for them.
// Bodies are not copied: a DATA frame's payload stays in the buffers that the stream's caller has
// pinned until the host has sealed it, all within one call of try_send().
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/limits_http2.h"
#include "base/loop/clock.h"
#include "base/result.h"
#include "edge/server/connection_context.h"
#include "edge/server/h2_fields.h"
#include "edge/server/h2_guard.h"
#include "edge/server/h2_memory.h"
#include "edge/server/h2_priority.h"
#include "edge/server/h2_stream.h"
#include "edge/server/wire.h"

namespace segue::edge {

/// What carries the frames: the TLS connection, or a test.
class Http2Host {
 public:
  virtual ~Http2Host() = default;
  /// Bytes that the next write() takes whole; 0 while those of the last one are not all out.
  [[nodiscard]] virtual size_t room() noexcept = 0;
  /// As Wire::write().
  [[nodiscard]] virtual Result<Wire::Written> write(std::span<const iovec> pieces) = 0;
  /// All that was written is out.
  [[nodiscard]] virtual bool flushed() const noexcept = 0;
  /// Whether the certificate shown covers the host of a request.
  [[nodiscard]] virtual bool covers(std::string_view host) = 0;
  /// As Stream::pace().
  virtual void pace(uint64_t bytes_per_second) noexcept = 0;
  /// advance() is to be called on a later turn.
  virtual void wake() noexcept = 0;
};

/// Loop-owned.
class Http2Connection {
 public:
  /// All three outlive the connection.
  Http2Connection(ConnectionContext& context, Http2Host& host, const Client& client);
  /// No exchange is out: status() is not Open.
  ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  /// What the client sent. Nobody is served before advance().
  void receive(std::span<const char> bytes);
  /// Serves what was asked for, takes down what has ended, writes what there is to write. Call
  /// after receive(), when the host can take more, and when it was woken.
  void advance();
  /// The client is gone, or is to be cut: every response under way sees it.
  void abandon() noexcept;
  /// Tells the client to open no more streams, and ends when those under way have.
  void start_drain();

  enum class Status : uint8_t {
    Open,
    Ended,   // everything was said, and taken by the host
    Broken,  // nothing more can be said
  };
  /// Not Open: no exchange is out, and the connection is to be destroyed.
  [[nodiscard]] Status status() const noexcept;
  /// No stream is under way, and nothing waits to be written.
  [[nodiscard]] bool idle() const noexcept;
  /// When on_deadline() is to be called; kNever: not at all.
  [[nodiscard]] MonoTime deadline() const noexcept;
  void on_deadline();
  /// What nghttp2 holds for it.
  [[nodiscard]] const Http2Memory& memory() const noexcept { return memory_; }

 private:
  friend class Http2Stream;
  friend struct Http2Callbacks;
  enum class Drain : uint8_t { None, Noticed, Final };

  // --- h2_connection.cc ---
  void feed(std::span<const char> bytes);
  void count_unknown(std::span<const char> bytes) noexcept;
  void give_up_memory() noexcept;
  void fail_session() noexcept;
  void expect_memory(int status) noexcept;
  void serve_asked();
  void serve(Http2Stream& stream);
  [[nodiscard]] Http2Stream* next_asked() const noexcept;
  void take_down_ended();
  void end_stream(Http2Stream& stream);
  void destroy(Http2Stream& stream) noexcept;
  void give_floor();
  void note_idle() noexcept;
  void send_final_goaway();
  void terminate(uint32_t error_code) noexcept;
  void leave_streams() noexcept;
  void become_gone(Http2Stream& stream) noexcept;
  void reset(Http2Stream& stream, uint32_t error_code) noexcept;

  // --- h2_send.cc: the Stream side, and frames into batches ---
  Result<size_t> try_send(Http2Stream& stream, const ResponseHead* head,
                          std::span<const iovec> body);
  Result<Done> submit_head(Http2Stream& stream, const ResponseHead& head);
  void want_writable(Http2Stream& stream) noexcept;
  [[nodiscard]] bool flushed(const Http2Stream& stream) const noexcept;
  /// Makes batches and writes them: one while a stream's bytes are offered, else until there is no
  /// frame left. False: the host takes no more for now, or the connection is broken.
  bool write_frames();
  [[nodiscard]] bool compose();
  [[nodiscard]] bool write_kept();
  [[nodiscard]] bool write_pieces(std::span<const iovec> pieces);
  [[nodiscard]] bool is_sendable(const Http2Stream& stream) const noexcept;

  // --- h2_callbacks.cc: what nghttp2 says ---
  void begin_request(uint32_t id);
  [[nodiscard]] bool is_stale_number(uint32_t id) const noexcept;
  /// The field block is over; whose it was.
  Http2Stream* end_block() noexcept;
  void end_head(Http2Stream& stream, bool ends_stream);
  void end_request(Http2Stream& stream);
  void take_body(Http2Stream& stream, std::span<const uint8_t> bytes);
  void calm(Flood flood) noexcept;
  void update_priority(uint32_t id, std::string_view value) noexcept;
  [[nodiscard]] Http2Stream* find(int32_t id) const noexcept;
  [[nodiscard]] bool is_clients_fault(uint32_t error_code) const noexcept;
  [[nodiscard]] bool is_full() const noexcept { return open_ >= context_.limits.http2_streams_max; }
  /// What the client still says is not looked at.
  [[nodiscard]] bool is_over() const noexcept { return terminated_ || broken_; }

  // constant after construction
  ConnectionContext& context_;
  Http2Host& host_;
  const Client& client_;
  // loop-owned
  Http2Memory memory_;
  nghttp2_session* session_ = nullptr;
  Http2Guard guard_;
  Http2Schedule schedule_;
  Http2RequestText request_text_;
  Http2Stream* reading_ = nullptr;  // whose field block is on its way
  Http2Stream* first_ = nullptr;
  uint32_t streams_ = 0;  // in the list
  uint32_t open_ = 0;     // of them, neither Over nor forgotten
  /// Within one call of try_send(): what its caller has pinned.
  struct Offer {
    Http2Stream* stream = nullptr;
    std::span<const iovec> pieces;
    size_t skip = 0;  // of the first piece
    size_t left = 0;
    size_t taken = 0;
  } offer_;
  size_t room_ = 0;          // of the batch that is being made
  std::vector<char> carry_;  // of a batch that was not taken whole; rare
  uint64_t batch_ = 1;
  struct EarlyPriority {
    uint32_t stream = 0;
    Http2Priority priority;
  };
  std::array<EarlyPriority, 4> early_priorities_{};  // of streams yet to come (RFC 9218 §7.1)
  uint8_t early_next_ = 0;
  uint8_t opened_next_ = 0;
  uint32_t last_opened_ = 0;
  std::array<uint32_t, 128> opened_{};           // the latest streams
  size_t unscanned_ = NGHTTP2_CLIENT_MAGIC_LEN;  // bytes until the next frame's head begins
  std::array<uint8_t, 9> frame_head_{};
  uint8_t frame_head_bytes_ = 0;
  size_t fields_bytes_ = 0;  // of the field block on its way, unpacked
  MonoTime block_since_ = kNever;
  MonoTime idle_since_{};
  MonoTime noticed_at_ = kNever;
  Drain drain_ = Drain::None;
  bool broken_ = false;
  bool terminated_ = false;
  bool in_advance_ = false;
  uint8_t floor_looks_ = 0;
};

}  // namespace segue::edge
