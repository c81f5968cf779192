#include "edge/server/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/assert.h"
#include "edge/server/listen_address.h"

namespace segue::edge {

namespace {

/// What a refused request is answered as: nothing of it may be trusted.
constexpr http::Request kNoRequest{};

[[nodiscard]] bool has_hung_up(int fd) noexcept {
  pollfd socket{fd, 0, 0};
  return poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

Connection::Connection(ConnectionContext& context, int fd, const Peer& peer,
                       std::shared_ptr<const tls::ServerContext> tls, OnClosed on_closed,
                       void* owner)
    : context_(context),
      fd_(fd),
      on_closed_(on_closed),
      owner_(owner),
      peer_(peer),
      client_{{peer_.text.data(), peer_.text_bytes},
              peer_.hash,
              tls != nullptr,
              peer_.network,
              &guest_},
      node_(&Connection::on_ready),
      watch_(context.loop, fd, node_),
      timer_(&Connection::on_timer),
      wire_(fd),
      writer_(context.writer) {
  node_.connection = this;
  timer_.connection = this;
  context_.counters.active.add();
  if (tls != nullptr) {
    state_ = ConnectionState::Handshaking;
    handshake_ = std::make_unique<Handshake>(*this, std::move(tls));
    context_.handshakes.add(*handshake_);
    set_deadline(context_.loop.now() + context_.limits.tls_handshake);
  } else {
    set_deadline(context_.loop.now() +
                 (context_.draining ? context_.limits.drain_fresh : context_.limits.keep_alive));
  }
  watch_for_reading();
}

Connection::~Connection() {
  SEGUE_ASSERT(exchange_ == nullptr);
  end_handshake();
  context_.batch_holders.remove(batch_holder_);
  leave_wide();
  give_back_memory();
  context_.loop.disarm(timer_);
  if (node_.queued()) context_.loop.cancel_ready(node_);
  watch_.want(Readiness::None);
  if (reset_on_close_) {
    // The kernel would keep what the client did not take for minutes.
    constexpr struct linger kReset{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &kReset, sizeof kReset);
  }
  close(fd_);
  context_.counters.active.sub();
}

void Connection::on_ready(ReadyNode& node) { static_cast<StepNode&>(node).connection->step(); }

void Connection::on_timer(Timer& timer) {
  Connection& self = *static_cast<DeadlineTimer&>(timer).connection;
  if (self.deadline_ == kNever) return;
  if (self.deadline_ > self.context_.loop.now()) {
    self.context_.loop.arm(self.timer_, self.deadline_);
    return;
  }
  self.timed_out_ = true;
  self.context_.loop.make_ready(self.node_);
}

void Connection::enter(ConnectionEvent event) noexcept {
  const auto to = next(state_, event);
  SEGUE_ASSERT(to.has_value());
  state_ = *to;
}

void Connection::step() {
  in_step_ = true;
  requests_this_turn_ = 0;
  bytes_this_turn_ = 0;
  handle_events();
  advance();
  if (!wire_.flushed()) flush_records();
  note_batch(0);
  in_step_ = false;
  if (state_ == ConnectionState::Closed) on_closed_(*this, owner_);
}

/// What no response took with it: the tickets of a handshake, an answer to a key update, the end of
/// what was sent so far. A client that waits for an origin would else wait for those too, and keep
/// a batch for as long.
void Connection::flush_records() noexcept {
  const bool reading = state_ == ConnectionState::Idle || state_ == ConnectionState::ReadingHead ||
                       state_ == ConnectionState::ReadingBody;
  const bool waiting = state_ == ConnectionState::Serving && !want_writable_ && !ended_;
  if (!reading && !waiting) return;
  const auto written = wire_.flush(context_.loop.now());
  if (!written && waiting) return become_gone();
  if (!written) return die(true);
  context_.counters.bytes_sent.add(written->socket_bytes);
  note_batch(written->socket_bytes);
  if (waiting) watch_while_serving();
}

void Connection::handle_events() {
  const Readiness happened = watch_.take();
  if (has(happened, Readiness::Read)) readable_ = true;
  if (has(happened, Readiness::Closed)) handle_peer_closed();
  if (has(happened, Readiness::Write)) {
    if (state_ == ConnectionState::Serving && want_writable_) {
      want_writable_ = false;
      exchange_->signal.raise();
    } else if (state_ == ConnectionState::Serving) {
      watch_while_serving();  // nobody asked again
    }
  }
  if (std::exchange(timed_out_, false)) handle_deadline();
  if (cut_asked_ && state_ != ConnectionState::Closed) {
    if (state_ == ConnectionState::Serving) {
      become_gone();
    } else if (state_ == ConnectionState::Multiplexed) {
      leave_http2();
    } else {
      die(true);
    }
  }
}

void Connection::advance() {
  bool more = true;
  while (more) {
    switch (state_) {
      case ConnectionState::Handshaking:
        more = shake_hands();
        break;
      case ConnectionState::Idle:
      case ConnectionState::ReadingHead:
        more = read_head();
        break;
      case ConnectionState::ReadingBody:
        more = read_body();
        break;
      case ConnectionState::Serving:
        more = end_exchange();
        break;
      case ConnectionState::Flushing:
        more = flush();
        break;
      case ConnectionState::DrainingBody:
        more = drain_body();
        break;
      case ConnectionState::Lingering:
        more = linger();
        break;
      case ConnectionState::Multiplexed:
        more = multiplex();
        break;
      case ConnectionState::Closed:
        more = false;
        break;
    }
  }
}

Connection::Received Connection::receive(std::span<char> into, size_t& bytes) noexcept {
  SEGUE_ASSERT(!into.empty());
  if (!readable_) return Received::Nothing;
  // One read per event: the watch is level-triggered, so what is left comes with the next one, and
  // a complete request costs no second read that only finds nothing.
  readable_ = false;
  const Received received = wire_.receive(into, bytes);
  if (received != Received::Bytes) return received;
  // Of a record that was read whole and not taken whole nobody tells again.
  readable_ = wire_.has_pending();
  context_.counters.bytes_received.add(bytes);
  return received;
}

void Connection::end_handshake() noexcept {
  if (handshake_ == nullptr) return;
  context_.handshakes.remove(*handshake_);
  handshake_.reset();
}

void Connection::turn_away() noexcept {
  constexpr std::string_view kBusy =
      "HTTP/1.1 503 Service Unavailable\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: 38\r\n"
      "Cache-Control: no-store\r\n"
      "Retry-After: 1\r\n"
      "Connection: close\r\n\r\n"
      "503 too many connections to this node\n";
  turned_away_ = true;
  // Best effort: the buffer of a new socket takes it.
  (void)send(fd_, kBusy.data(), kBusy.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)start_linger(Goodbye::Said);
}

void Connection::expect_proxy_header() {
  proxy_ = std::make_unique<ProxyInput>();
  if (state_ == ConnectionState::Idle)
    set_deadline(context_.loop.now() + context_.limits.head_read);
}

/// True: it is read, and the connection is its client's.
bool Connection::read_proxy_header() {
  if (!readable_) return watch_for_reading(), false;
  readable_ = false;
  const ProxyHeader header = proxy_->receive(fd_);
  if (header.status == ProxyHeader::Status::NeedMore) return watch_for_reading(), false;
  if (header.status == ProxyHeader::Status::Malformed) {
    context_.counters.refused_proxy.add();
    return die(true), false;
  }
  if (header.has_source) {
    peer_ = peer_of(header.source, context_.peer_seed);
    client_.address = {peer_.text.data(), peer_.text_bytes};
    client_.address_hash = peer_.hash;
    client_.network = peer_.network;
    auto lease = context_.lease(peer_.network);
    if (!lease) {
      context_.counters.refused_client.add();
      return die(true), false;
    }
    keep(std::move(*lease));
  }
  proxy_.reset();
  readable_ = true;  // what came behind it was seen, and is not announced again
  return true;
}

bool Connection::shake_hands() {
  if (proxy_ != nullptr && !read_proxy_header()) return false;
  if (!wire_.flushed()) {
    const auto sent = wire_.flush(context_.loop.now());
    if (!sent) return die(true), false;
    note_batch(sent->socket_bytes);
    if (sent->blocked) return watch_.want(Readiness::Write), false;
  }
  if (!readable_ && !wire_.has_more_of_flight()) return watch_for_reading(), false;
  readable_ = false;
  if (!wire_.is_tls()) wire_.start_tls(std::move(handshake_->context), context_.sealed);
  const auto end = wire_.handshake();
  if (!end) {
    if (wire_.flushed()) {
      watch_for_reading();
    } else {
      watch_.want(Readiness::Write);
    }
    return false;
  }
  context_.counters.handshakes[static_cast<size_t>(*end)].add();
  switch (*end) {
    case tls::HandshakeEnd::Full:
    case tls::HandshakeEnd::Resumed:
      break;
    case tls::HandshakeEnd::Closed:
    case tls::HandshakeEnd::NoMemory:
      return die(false), false;
    case tls::HandshakeEnd::NoCommonProtocol:
    case tls::HandshakeEnd::UnknownName:
    case tls::HandshakeEnd::ClientCertificate:
    case tls::HandshakeEnd::Malformed:
      end_handshake();
      return start_linger(Goodbye::Cut);  // the alert is to be read
  }
  end_handshake();
  if (wire_.session().is_http2()) {
    start_http2();
  } else {
    enter(ConnectionEvent::ShakenHands);
    set_deadline(context_.loop.now() +
                 (context_.draining ? context_.limits.drain_fresh : context_.limits.keep_alive));
  }
  readable_ = wire_.has_pending();  // a request that came with the last flight
  return true;
}

bool Connection::read_head() {
  if (proxy_ != nullptr && !read_proxy_header()) return false;
  if (!unparsed_) {
    if (!readable_) {
      watch_for_reading();
      return false;
    }
    if (memory_ == nullptr) memory_ = context_.request_memories.make(context_.large_buffers);
    size_t bytes = 0;
    switch (receive(memory_->room(), bytes)) {
      case Received::Nothing:
        if (state_ == ConnectionState::Idle) {
          give_back_memory();
          wire_.release_buffers();
        }
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
  unparsed_ = false;
  if (state_ == ConnectionState::Idle) {
    enter(ConnectionEvent::Bytes);
    request_started_ = context_.loop.now();
  }
  return take_head();
}

bool Connection::take_head() {
  RequestMemory& memory = *memory_;
  switch (memory.parser.parse(memory.bytes())) {
    case http::RequestParser::Status::Error: {
      const http::RequestError error = memory.parser.error();
      return refuse(http::status_of(error), http::name_of(error));
    }
    case http::RequestParser::Status::NeedMore:
      // The parser refuses a head that would not fit the large buffer before that is full.
      if (memory.room().empty() && !memory.grow()) return refuse(431, "head");
      // Absolute, from the first byte: a client that drips its head gains nothing by it.
      set_deadline(request_started_ + context_.limits.head_read);
      watch_for_reading();
      return readable_;
    case http::RequestParser::Status::Complete:
      break;
  }
  const http::Request& request = memory.parser.request();
  context_.counters.requests.add();
  head_bytes_ = memory.parser.consumed();
  body_follows_ = request.has_body();
  keep_alive_ = request.keep_alive && !context_.draining;
  // RFC 9110 §15.5.20: whoever shares this connection with another host is told to open another.
  if (wire_.is_tls() && !request.host.empty() && !wire_.session().covers(request.host))
    return refuse(request, 421, "not_in_certificate");
  if (body_follows_ && context_.handler.body_bytes_max(request) > 0) {
    begin_body();
    return true;
  }
  // Whether a body follows a final answer to "Expect: 100-continue" is up to the client, so the
  // next request could not be told from a body (RFC 9110 §10.1.1).
  if (request.expect_continue) keep_alive_ = false;
  if (request.body == http::Body::Length &&
      request.content_length > context_.limits.body_drain_bytes_max) {
    context_.counters.bodies_too_long.add();
    keep_alive_ = false;
  }
  start_exchange(request, ConnectionEvent::HeadRead);
  serve();
  return true;
}

void Connection::start_exchange(const http::Request& request, ConnectionEvent event) {
  deadline_ = kNever;
  stalled_since_ = kNever;
  exchange_ = context_.exchanges.make(*this, client_, request);
  exchange_->started = request_started_;
  writer_.begin({.version_minor = request.version_minor,
                 .to_head = request.method == http::Method::Head,
                 .close = !keep_alive_});
  ended_.reset();
  want_writable_ = false;
  enter(event);
}

void Connection::serve() { context_.handler.serve(*exchange_, memory_->body); }

bool Connection::refuse(int status, std::string_view reason) {
  return refuse(kNoRequest, status, reason);
}

bool Connection::refuse(const http::Request& request, int status, std::string_view reason) {
  if (Counter* counter = context_.counters.refused(status)) counter->add();
  keep_alive_ = false;
  const bool in_body = state_ == ConnectionState::ReadingBody;
  start_exchange(request, in_body ? ConnectionEvent::BodyRead : ConnectionEvent::HeadRead);
  context_.handler.refuse(*exchange_, status, reason);
  return true;
}

bool Connection::end_exchange() {
  if (!ended_) {
    // Pipelined bytes stay in the socket: taking the interest away is cheaper than asking before
    // every response whether there are any.
    if (std::exchange(readable_, false)) watch_while_serving();
    return false;
  }
  const End end = *ended_;
  context_.exchanges.destroy(exchange_);
  exchange_ = nullptr;
  const bool gone = gone_ || end == End::Gone;
  if (gone) {
    context_.counters.clients_gone.add();
    die(true);
    return false;
  }
  if (end == End::Complete && writer_.end_body()) {
    enter(ConnectionEvent::ResponseEnded);
    return true;
  }
  // Cut. A body whose end is told by the close alone would look complete after a FIN.
  const bool reset = writer_.framing() == Framing::UntilClose && writer_.head_written();
  writer_.drop_unsent();
  if (reset) {
    die(true);
    return false;
  }
  wire_.drop_unsent();
  return start_linger(Goodbye::Cut);
}

bool Connection::flush() {
  if (!flushed()) {
    const auto sent = writer_.flush(wire_, context_.loop.now());
    if (!sent) {
      die(true);
      return false;
    }
    context_.counters.bytes_sent.add(sent->socket_bytes);
    note_batch(sent->socket_bytes);
    if (!flushed()) {
      if (sent->socket_bytes != 0) note_progress();
      start_stall_clock();
      watch_.want(Readiness::Write);
      return false;
    }
  }
  if (writer_.closes() || context_.draining) return start_linger(Goodbye::Said);
  enter(ConnectionEvent::Flushed);
  memory_->drop(0, head_bytes_);
  head_bytes_ = 0;
  if (body_follows_) {
    const http::Request& request = memory_->parser.request();
    memory_->body_left = request.body == http::Body::Length ? request.content_length : 0;
    if (request.body == http::Body::Chunked) {
      memory_->chunked.emplace(context_.limits.body_drain_bytes_max);
    }
    set_deadline(context_.loop.now() + context_.limits.head_read);
  }
  return true;
}

void Connection::next_request() {
  RequestMemory& memory = *memory_;
  memory.parser.reset();
  memory.chunked.reset();
  memory.body_left = 0;
  memory.body.clear();
  body_follows_ = false;
  enter(ConnectionEvent::BodyRead);
  set_deadline(context_.loop.now() + context_.limits.keep_alive);
  unparsed_ = memory.used() != 0;
  if (wire_.has_pending()) readable_ = true;
  if (!unparsed_ && !readable_) {
    give_back_memory();
    wire_.release_buffers();
  }
}

bool Connection::start_linger(Goodbye goodbye) noexcept {
  enter(ConnectionEvent::Linger);
  if (goodbye == Goodbye::Said) wire_.end();
  give_back_memory();
  // A close(2) with bytes unread, or with bytes still to come, sends a reset, which can destroy the
  // response before the client has read it (RFC 9112 §9.6).
  shutdown(fd_, SHUT_WR);
  lingered_bytes_ = 0;
  set_deadline(context_.loop.now() + context_.limits.linger);
  watch_.want(Readiness::Read);
  return true;
}

bool Connection::linger() {
  size_t bytes = 0;
  if (!std::exchange(readable_, false)) return false;
  switch (wire_.receive_raw(context_.writer.scratch, bytes)) {
    case Received::Nothing:
      return false;
    case Received::End:
    case Received::Dead:
      die(false);
      return false;
    case Received::Bytes:
      break;
  }
  lingered_bytes_ += static_cast<uint32_t>(bytes);
  if (lingered_bytes_ > context_.limits.linger_bytes_max) die(true);
  return false;
}

void Connection::die(bool reset) noexcept {
  writer_.drop_unsent();
  wire_.drop_unsent();
  give_back_memory();
  reset_on_close_ = reset;
  enter(ConnectionEvent::Dead);
}

void Connection::give_back_memory() noexcept {
  if (memory_ == nullptr) return;
  context_.request_memories.destroy(memory_);
  memory_ = nullptr;
}

void Connection::handle_peer_closed() {
  peer_closed_ = true;
  switch (state_) {
    case ConnectionState::Serving:
      if (has_hung_up(fd_)) {
        become_gone();
      } else {
        watch_while_serving();
        if (!want_writable_) {
          set_deadline(context_.loop.now() + context_.limits.half_close_grace);
        }
      }
      break;
    case ConnectionState::Handshaking:
    case ConnectionState::Idle:
    case ConnectionState::ReadingHead:
    case ConnectionState::ReadingBody:
    case ConnectionState::DrainingBody:
      watch_for_reading();  // what it sent before is still to be read; then comes the end
      break;
    case ConnectionState::Multiplexed:  // reads to the end anyway
    case ConnectionState::Flushing:
    case ConnectionState::Lingering:
    case ConnectionState::Closed:
      break;
  }
}

void Connection::start_drain() noexcept {
  // A response under way, or to a request that is here already, closes by context_.draining.
  const MonoTime fresh_until = context_.loop.now() + context_.limits.drain_fresh;
  if (state_ == ConnectionState::Handshaking)
    return set_deadline(std::min(deadline_, fresh_until));  // its first request is yet to come
  if (state_ == ConnectionState::Multiplexed) return drain_http2();
  if (state_ != ConnectionState::Idle || unparsed_ || readable_) return;
  const bool is_fresh = request_started_ == MonoTime{};
  if (is_fresh) {
    set_deadline(fresh_until);
  } else {
    start_linger(Goodbye::Said);
  }
}

void Connection::cut() noexcept {
  cut_asked_ = true;
  context_.loop.make_ready(node_);
}

}  // namespace segue::edge
