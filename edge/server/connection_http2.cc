// A connection that ALPN gave to HTTP/2: the socket's side of it. What the frames say is
// Http2Connection's.
#include "base/assert.h"
#include "edge/server/connection.h"
#include "edge/server/h2_connection.h"

namespace segue::edge {

namespace {

/// Records of one turn; what is left comes with the next.
constexpr uint32_t kReadsPerTurnMax = 16;

}  // namespace

struct Connection::Http2Part final : Http2Host {
  explicit Http2Part(Connection& of) : connection(of), protocol(of.context_, *this, of.client_) {}

  size_t room() noexcept override { return flushed() ? connection.wire_.room() : 0; }
  Result<Wire::Written> write(std::span<const iovec> pieces) override {
    auto written = connection.wire_.write(pieces, connection.context_.loop.now());
    if (written) connection.note_batch(written->socket_bytes);
    if (written && written->socket_bytes != 0) {
      connection.context_.counters.bytes_sent.add(written->socket_bytes);
      connection.stalled_since_ = kNever;
    }
    return written;
  }
  bool flushed() const noexcept override { return connection.wire_.flushed(); }
  bool covers(std::string_view host) override { return connection.wire_.session().covers(host); }
  void pace(uint64_t bytes_per_second) noexcept override { connection.pace(bytes_per_second); }
  void wake() noexcept override { connection.context_.loop.make_ready(connection.node_); }

  Connection& connection;
  Http2Connection protocol;
};

void Connection::Http2Free::operator()(Http2Part* part) const noexcept { delete part; }

void Connection::start_http2() {
  client_.http2 = true;
  http2_.reset(new Http2Part(*this));
  enter(ConnectionEvent::Http2);
}

bool Connection::multiplex() {
  Http2Connection& http2 = http2_->protocol;
  bool left = false;
  for (uint32_t reads = 0; readable_ && !left; ++reads) {
    if (reads == kReadsPerTurnMax) {
      context_.loop.make_ready(node_);
      break;
    }
    size_t bytes = 0;
    switch (receive(context_.http2.received, bytes)) {
      case Received::Nothing:
        break;
      case Received::Bytes:
        http2.receive(std::span(context_.http2.received).first(bytes));
        break;
      case Received::End:
      case Received::Dead:
        left = true;
        break;
    }
  }
  if (left) leave_http2();
  http2.advance();
  switch (http2.status()) {
    case Http2Connection::Status::Ended:
      http2_.reset();
      return start_linger(Goodbye::Said);
    case Http2Connection::Status::Broken:
      http2_.reset();
      die(!left);
      return false;
    case Http2Connection::Status::Open:
      break;
  }
  wait_for_http2();
  return false;
}

/// Nobody reads any more: every response under way sees it, and the connection goes when they have.
void Connection::leave_http2() noexcept {
  peer_closed_ = true;
  readable_ = false;
  http2_->protocol.abandon();
}

void Connection::wait_for_http2() {
  Http2Connection& http2 = http2_->protocol;
  if (peer_closed_) {
    deadline_ = kNever;
    watch_.want(Readiness::None);
    return;
  }
  MonoTime deadline = http2.deadline();
  if (!wire_.flushed()) {
    start_stall_clock();
    deadline = std::min(deadline, deadline_);
    watch_.want(Readiness::Read | Readiness::Write);
  } else {
    stalled_since_ = kNever;
    watch_.want(Readiness::Read);
    if (http2.idle() && !wire_.has_pending()) wire_.release_buffers();
  }
  set_deadline(deadline);
}

void Connection::handle_http2_deadline() {
  if (stalled_since_ != kNever &&
      context_.loop.now() - stalled_since_ >= context_.limits.client_stall) {
    // As in handle_serving_deadline(): what the kernel still passes on is no stall.
    const uint32_t unacknowledged = unacknowledged_bytes();
    if (unacknowledged >= unacknowledged_) {
      context_.counters.timeout_stall.add();
      leave_http2();
      return;
    }
    stalled_since_ = kNever;
  }
  http2_->protocol.on_deadline();
}

void Connection::drain_http2() {
  http2_->protocol.start_drain();
  context_.loop.make_ready(node_);
}

}  // namespace segue::edge
