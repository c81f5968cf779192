// The Stream side of a connection (what the handler calls), its deadlines, and request bodies.
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/assert.h"
#include "edge/server/connection.h"

namespace segue::edge {

Result<size_t> Connection::try_send(const ResponseHead* head, std::span<const iovec> body) {
  SEGUE_ASSERT(state_ == ConnectionState::Serving);
  if (gone_) return fail(Side::Client, Kind::Closed, "client gone");
  if (context_.draining) writer_.set_close();
  const auto sent = writer_.try_send(wire_, now(), head, body);
  if (!sent) {
    if (sent.error().side == Side::Client) gone_ = true;
    return fail(sent.error());
  }
  if (sent->socket_bytes != 0) {
    context_.counters.bytes_sent.add(sent->socket_bytes);
    bytes_this_turn_ += static_cast<uint32_t>(sent->socket_bytes);
    took_bytes_ = true;
    note_progress();
  }
  note_batch(sent->socket_bytes);
  // All was taken, and the end of it waits sealed: it must not wait for what comes next, which may
  // be an origin's.
  if (!wire_.flushed()) watch_while_serving();
  return sent->body_bytes;
}

void Connection::want_writable() noexcept {
  SEGUE_ASSERT(state_ == ConnectionState::Serving);
  if (gone_) {
    exchange_->signal.raise();
    return;
  }
  want_writable_ = true;
  watch_while_serving();
  start_stall_clock();
}

uint64_t Connection::batch_bytes(uint64_t left) noexcept {
  return left > kWriteBatchBytes && widen() ? kWideBatchBytes : kWriteBatchBytes;
}

/// Whether this client may hold kWideBatchBytes unsent. It may once it has taken all that came
/// before, and stays one of the few who may until its place is wanted and it has again: what is in
/// its socket is then no more than others have.
bool Connection::widen() noexcept {
  if (wide_holder_.listed) return true;
  if (!took_bytes_ || unacknowledged_bytes() != 0) return false;
  OldestFirst<WideHolder>& holders = context_.wide_holders;
  if (holders.count() >= context_.limits.wide_sockets_max) {
    WideHolder* oldest = holders.oldest();
    if (oldest == nullptr) return false;
    if (oldest->connection.unacknowledged_bytes() != 0) {
      holders.move_to_end(*oldest);  // another one is looked at next time
      return false;
    }
    oldest->connection.narrow();
  }
  if (!wire_.widen()) return false;
  holders.add(wide_holder_);
  context_.counters.wide_sockets.set(holders.count());
  return true;
}

void Connection::narrow() noexcept {
  leave_wide();
  wire_.narrow();
}

void Connection::leave_wide() noexcept {
  context_.wide_holders.remove(wide_holder_);
  context_.counters.wide_sockets.set(context_.wide_holders.count());
}

void Connection::pace(uint64_t bytes_per_second) noexcept {
  // The kernel paces TCP by itself, with or without the fq discipline; refused on a unix socket,
  // where there is no line to fill.
  const auto rate = static_cast<unsigned int>(std::min<uint64_t>(bytes_per_second, UINT32_MAX));
  (void)setsockopt(fd_, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
}

void Connection::finished(End end) noexcept {
  SEGUE_ASSERT(state_ == ConnectionState::Serving);
  SEGUE_ASSERT(!ended_.has_value());
  ended_ = end;
  // The caller still stands in the exchange's code, so the exchange is taken down on a later turn,
  // or by the step that called serve().
  if (!in_step_) context_.loop.make_ready(node_);
}

void Connection::become_gone() noexcept {
  if (gone_) return;
  gone_ = true;
  deadline_ = kNever;
  watch_.want(Readiness::None);
  if (!ended_) exchange_->signal.raise();
}

void Connection::watch_for_reading() noexcept {
  watch_.want(peer_closed_ ? Readiness::Read : Readiness::Read | Readiness::Closed);
}

void Connection::watch_while_serving() noexcept {
  // Closed stays reported as long as it holds, so it is asked for until it was reported.
  const Readiness closed = peer_closed_ ? Readiness::None : Readiness::Closed;
  const bool writes = want_writable_ || !wire_.flushed();
  watch_.want(writes ? Readiness::Write | closed : closed);
}

void Connection::set_deadline(MonoTime deadline) {
  deadline_ = deadline;
  // Deadlines mostly move later (every request renews the keep-alive one), so the timer may stand
  // earlier than the deadline; it looks when it fires.
  const bool too_late = !timer_.armed() || timer_.deadline() > deadline;
  if (deadline != kNever && too_late) context_.loop.arm(timer_, deadline);
}

void Connection::note_progress() noexcept {
  stalled_since_ = kNever;
  if (state_ == ConnectionState::Serving && peer_closed_) {
    set_deadline(context_.loop.now() + context_.limits.half_close_grace);
  } else {
    deadline_ = kNever;  // whoever waits for something else than the client has a deadline for it
  }
}

/// After what may have left sealed bytes behind, or taken some away.
void Connection::note_batch(size_t socket_bytes) noexcept {
  OldestFirst<BatchHolder>& holders = context_.batch_holders;
  if (!wire_.holds_batch()) return holders.remove(batch_holder_);
  if (batch_holder_.listed && socket_bytes == 0) return;
  const bool is_new = !batch_holder_.listed;
  holders.move_to_end(batch_holder_);
  const ConnectionLimits& limits = context_.limits;
  const bool reserves = limits.sealed_batches_reserved < limits.sealed_batches_max;
  const uint32_t held_max =
      limits.sealed_batches_max - (reserves ? limits.sealed_batches_reserved : 0);
  if (!is_new || holders.count() <= held_max) return;
  BatchHolder& oldest = *holders.oldest();
  holders.move_to_end(oldest);  // it goes on its own turn; the next one takes another
  context_.counters.batches_reclaimed.add();
  oldest.connection.cut();
}

void Connection::start_stall_clock() noexcept {
  if (stalled_since_ == kNever) {
    stalled_since_ = context_.loop.now();
    unacknowledged_ = unacknowledged_bytes();
  }
  set_deadline(stalled_since_ + context_.limits.client_stall);
}

uint32_t Connection::unacknowledged_bytes() const noexcept {
  int bytes = 0;
  return ioctl(fd_, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<uint32_t>(bytes) : 0;
}

void Connection::handle_deadline() {
  if (deadline_ == kNever || deadline_ > context_.loop.now()) {
    set_deadline(deadline_);  // moved later meanwhile
    return;
  }
  deadline_ = kNever;
  switch (state_) {
    case ConnectionState::Handshaking:
      if (!context_.draining) context_.counters.handshakes_timed_out.add();
      die(true);
      break;
    case ConnectionState::Idle:
      if (!context_.draining) context_.counters.timeout_keep_alive.add();
      wire_.end();
      die(false);
      break;
    case ConnectionState::ReadingHead:
      context_.counters.timeout_head.add();
      refuse(408, "head_timeout");
      break;
    case ConnectionState::ReadingBody:
      context_.counters.timeout_body.add();
      refuse(408, "body_timeout");
      break;
    case ConnectionState::Serving:
    case ConnectionState::Flushing:
      handle_serving_deadline();
      break;
    case ConnectionState::DrainingBody:
      context_.counters.timeout_body.add();
      start_linger(Goodbye::Said);
      break;
    case ConnectionState::Lingering:
      context_.counters.timeout_linger.add();
      die(false);
      break;
    case ConnectionState::Multiplexed:
      handle_http2_deadline();
      break;
    case ConnectionState::Closed:
      break;
  }
}

void Connection::handle_serving_deadline() {
  const bool serving = state_ == ConnectionState::Serving;
  if (serving && ended_) return;
  if (serving && !want_writable_) {
    if (!peer_closed_) return;
    context_.counters.timeout_half_close.add();
    become_gone();
    return;
  }
  // A slow client may take bytes out of the socket's buffer for a long time before the kernel calls
  // the socket writable again; that is no stall.
  const uint32_t unacknowledged = unacknowledged_bytes();
  if (unacknowledged < unacknowledged_) {
    stalled_since_ = kNever;
    start_stall_clock();
    return;
  }
  context_.counters.timeout_stall.add();
  if (serving) {
    become_gone();
  } else {
    die(true);
  }
}

void Connection::begin_body() {
  RequestMemory& memory = *memory_;
  const uint32_t bytes_max = context_.handler.body_bytes_max(memory_->parser.request());
  enter(ConnectionEvent::BodyWanted);
  // A full small buffer moves, and the head's views are made anew. In a full large one there is
  // room once the body bytes are taken out, for it is larger than any head.
  if (memory.room().empty() && memory.grow()) {
    memory.parser.reset();
    const auto parsed = memory.parser.parse(memory.bytes());
    SEGUE_ASSERT(parsed == http::RequestParser::Status::Complete);
  }
  const http::Request& request = memory.parser.request();
  if (request.body == http::Body::Chunked) memory.chunked.emplace(bytes_max);
  memory.body_left = request.body == http::Body::Length ? request.content_length : 0;
  set_deadline(request_started_ + context_.limits.head_read);
  const bool too_long = memory.body_left > bytes_max;
  if (request.expect_continue && !too_long && memory.used() == head_bytes_) {
    // Best effort: a client that gets no 100 sends its body after a while anyway.
    constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    const iovec piece{const_cast<char*>(kContinue.data()), kContinue.size()};
    [[maybe_unused]] const auto sent = wire_.write({&piece, 1}, context_.loop.now());
  }
}

Connection::BodyStep Connection::take_chunked_body(uint64_t bytes_max) {
  RequestMemory& memory = *memory_;
  while (true) {
    const http::ChunkedDecoder::Step step = memory.chunked->decode(memory.bytes(head_bytes_));
    if (bytes_max > 0) memory.body.append(step.data.data(), step.data.size());
    memory.drop(head_bytes_, step.consumed);
    switch (step.status) {
      case http::ChunkedDecoder::Status::Data:
        continue;
      case http::ChunkedDecoder::Status::NeedMore:
        return BodyStep::NeedMore;
      case http::ChunkedDecoder::Status::Complete:
        return BodyStep::Complete;
      case http::ChunkedDecoder::Status::Malformed:
        return BodyStep::Malformed;
      case http::ChunkedDecoder::Status::TooLong:
        return BodyStep::TooLong;
    }
  }
}

Connection::BodyStep Connection::take_body(uint64_t bytes_max) {
  RequestMemory& memory = *memory_;
  if (memory.chunked) return take_chunked_body(bytes_max);
  if (bytes_max > 0 && memory.body_left > bytes_max) return BodyStep::TooLong;
  const size_t here = memory.bytes(head_bytes_).size();
  const auto taken = static_cast<size_t>(std::min<uint64_t>(memory.body_left, here));
  if (bytes_max > 0) memory.body.append(memory.bytes(head_bytes_).data(), taken);
  memory.drop(head_bytes_, taken);
  memory.body_left -= taken;
  return memory.body_left == 0 ? BodyStep::Complete : BodyStep::NeedMore;
}

bool Connection::read_body() {
  const uint32_t bytes_max = context_.handler.body_bytes_max(memory_->parser.request());
  while (true) {
    switch (take_body(bytes_max)) {
      case BodyStep::Complete:
        body_follows_ = false;
        start_exchange(memory_->parser.request(), ConnectionEvent::BodyRead);
        serve();
        return true;
      case BodyStep::TooLong:
        return refuse(413, "body_too_long");
      case BodyStep::Malformed:
        return refuse(400, "malformed_body");
      case BodyStep::NeedMore:
        break;
    }
    size_t bytes = 0;
    switch (receive(memory_->room(), bytes)) {
      case Received::Nothing:
        watch_for_reading();
        return false;
      case Received::End:
      case Received::Dead:
        die(false);
        return false;
      case Received::Bytes:
        memory_->received(bytes);
        break;
    }
  }
}

bool Connection::drain_body() {
  while (body_follows_) {
    switch (take_body(0)) {
      case BodyStep::Complete:
        body_follows_ = false;
        continue;
      case BodyStep::TooLong:
        context_.counters.bodies_too_long.add();
        return start_linger(Goodbye::Said);
      case BodyStep::Malformed:
        return start_linger(Goodbye::Said);
      case BodyStep::NeedMore:
        break;
    }
    size_t bytes = 0;
    switch (receive(memory_->room(), bytes)) {
      case Received::Nothing:
        watch_for_reading();
        return false;
      case Received::End:
      case Received::Dead:
        die(false);
        return false;
      case Received::Bytes:
        memory_->received(bytes);
        break;
    }
  }
  next_request();
  ++requests_this_turn_;
  const bool had_its_turn =
      requests_this_turn_ >= kRequestsPerTurnMax || bytes_this_turn_ >= kWriteBatchBytes;
  if (unparsed_ && had_its_turn) {
    context_.loop.make_ready(node_);
    return false;
  }
  return true;
}

}  // namespace segue::edge
