// The server's side of HTTP/2: whatever frames come, in whatever pieces, through a host that takes
// as much as the input says, nothing is left behind and no exchange is answered twice. The input:
// one byte for the host, then the client's bytes behind a right preface.
#include <memory>
#include <string>
#include <vector>

#include "base/loop/event_loop.h"
#include "edge/server/h2_connection.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace segue;
using namespace segue::edge;

/// Answers by the length of the target: at once, in pieces, of unknown length, cut; a step at a
/// time, without a task.
class Handler final : public RequestHandler {
 public:
  void serve(Exchange& exchange, std::string_view body) override {
    SEGUE_ASSERT(exchange.stream.gone() == false);
    const size_t kind = exchange.request.target.size() % 4;
    if (kind != 2) exchange.head.content_length = 40'000;
    exchange.head.add("X-Length", body.empty() ? "0" : "1");
    running_.push_back({&exchange, 40'000, kind == 3});
    step(running_.size() - 1);
  }
  void refuse(Exchange& exchange, int status, std::string_view reason) override {
    exchange.head.status = status;
    exchange.head.content_length = reason.size();
    const iovec piece{const_cast<char*>(reason.data()), reason.size()};
    const auto sent = exchange.stream.try_send(&exchange.head, {&piece, 1});
    exchange.stream.finished(sent && *sent == reason.size() ? Stream::End::Complete
                                                            : Stream::End::Cut);
  }
  [[nodiscard]] uint32_t body_bytes_max(const http::Request& request) const noexcept override {
    return request.method == http::Method::Get ? 0 : 1000;
  }
  void step_all() {
    for (size_t i = running_.size(); i-- > 0;) step(i);
  }

 private:
  struct Running {
    Exchange* exchange;
    size_t left;
    bool cuts;
  };
  void step(size_t at) {
    Running& it = running_[at];
    static const std::string body_text(40'000, 'x');
    const iovec piece{const_cast<char*>(body_text.data()), it.left};
    auto end = Stream::End::Gone;
    const auto sent = it.exchange->stream.try_send(&it.exchange->head, {&piece, 1});
    if (sent) {
      it.left -= *sent;
      if (it.left > 0 && !(it.cuts && it.left < 20'000)) return it.exchange->stream.want_writable();
      end = it.left > 0 ? Stream::End::Cut : Stream::End::Complete;
    }
    Exchange* exchange = it.exchange;
    running_.erase(running_.begin() + static_cast<ptrdiff_t>(at));
    exchange->stream.finished(end);
  }
  std::vector<Running> running_;
};

struct Host final : Http2Host {
  size_t room() noexcept override { return flushed() ? room_bytes : 0; }
  Result<Wire::Written> write(std::span<const iovec> pieces) override {
    Wire::Written written;
    for (const iovec& piece : pieces) {
      const size_t take = std::min(piece.iov_len, take_max - written.taken);
      written.taken += take;
    }
    unsent += written.taken;
    return written;
  }
  bool flushed() const noexcept override { return unsent == 0; }
  bool covers(std::string_view host) override { return host.size() % 5 != 0; }
  void pace(uint64_t /*bytes_per_second*/) noexcept override {}
  void wake() noexcept override {}
  size_t room_bytes = 1;
  size_t take_max = SIZE_MAX;
  size_t unsent = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static VirtualClock clock;
  static const std::unique_ptr<EventLoop> loop =
      std::move(*EventLoop::create(0, clock, {.io = IoBackend::Threads, .io_threads = 1}));
  if (size < 1) return 0;
  const Loop::Turn turn(*loop);
  Handler handler;
  ConnectionContext context(*loop, handler, ConnectionLimits{});
  const Client who{.address = "192.0.2.1", .address_hash = 7, .tls = true, .http2 = true};
  Host host;
  host.room_bytes = size_t{1} << (data[0] % 17);
  if ((data[0] & 0x80) != 0) host.take_max = 100;
  {
    Http2Connection connection(context, host, who);
    std::string bytes(NGHTTP2_CLIENT_MAGIC);
    bytes.append("\0\0\0\4\0\0\0\0\0", 9);
    bytes.append(fuzz::text_of(data + 1, size - 1));
    const size_t piece = 1 + data[0] % 64 * 16;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      connection.receive(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
      connection.advance();
      handler.step_all();
      host.unsent = 0;
    }
    for (int i = 0; i < 8; ++i) {
      connection.advance();
      handler.step_all();
      host.unsent = 0;
      clock.advance(std::chrono::seconds{20});
      if (connection.status() == Http2Connection::Status::Open) connection.on_deadline();
    }
    connection.abandon();
    handler.step_all();
    connection.advance();
    SEGUE_ASSERT(connection.status() != Http2Connection::Status::Open);
  }
  SEGUE_ASSERT(context.exchanges.in_use() == 0);
  SEGUE_ASSERT(context.http2.streams.in_use() == 0);
  SEGUE_ASSERT(context.http2.memory_bytes.get() == 0);
  return 0;
}
