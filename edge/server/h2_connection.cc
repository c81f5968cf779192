#include "edge/server/h2_connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.h"

namespace segue::edge {

namespace {

/// What a refused request is answered as: nothing of it may be trusted.
constexpr http::Request kNoRequest{};

/// A stream that has the floor and was not heard of for so many turns waits for something else.
constexpr uint8_t kFloorLooksMax = 2;

/// The least frames are 9 bytes; what one piece of them makes nghttp2 allocate stays small.
constexpr size_t kPieceBytes = 1024;

constexpr std::array<uint8_t, 8> kDrainPing{'s', 'e', 'g', 'u', 'e', '-', 'd', 'r'};

}  // namespace

Http2Connection::Http2Connection(ConnectionContext& context, Http2Host& host, const Client& client)
    : context_(context),
      host_(host),
      client_(client),
      memory_({.of_one_max = context.limits.http2_memory_bytes_max,
               .total_max = context.limits.http2_memory_per_loop_max},
              context.http2.memory_bytes),
      idle_since_(context.loop.now()) {
  context_.counters.http2_connections.add();
  if (nghttp2_session_server_new3(&session_, context_.http2.callbacks.get(), this,
                                  context_.http2.option.get(), memory_.functions()) != 0) {
    session_ = nullptr;
    broken_ = true;
    return;
  }
  const std::array<nghttp2_settings_entry, 3> settings{
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, context_.limits.http2_streams_max},
       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderBytesMax},
       {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}}};
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0)
    broken_ = true;
  if (context_.draining) start_drain();
}

Http2Connection::~Http2Connection() {
  SEGUE_ASSERT(open_ == 0);
  request_text_.clear();
  while (first_ != nullptr) destroy(*first_);
  nghttp2_session_del(session_);
  context_.counters.http2_connections.sub();
}

void Http2Connection::receive(std::span<const char> bytes) {
  // What is answered is written before the next piece is read: answers do not pile up.
  while (!bytes.empty() && !broken_ && !terminated_) {
    const size_t piece = std::min(bytes.size(), kPieceBytes);
    count_unknown(bytes.first(piece));
    if (!terminated_) feed(bytes.first(piece));
    bytes = bytes.subspan(piece);
    if (!bytes.empty() && !broken_) write_frames();
  }
}

/// nghttp2 skips frames of types it does not know and tells nobody.
void Http2Connection::count_unknown(std::span<const char> bytes) noexcept {
  while (!bytes.empty()) {
    const size_t skipped = std::min(unscanned_, bytes.size());
    unscanned_ -= skipped;
    bytes = bytes.subspan(skipped);
    if (bytes.empty()) return;
    frame_head_[frame_head_bytes_++] = static_cast<uint8_t>(bytes.front());
    bytes = bytes.subspan(1);
    if (frame_head_bytes_ < frame_head_.size()) continue;
    frame_head_bytes_ = 0;
    unscanned_ = size_t{frame_head_[0]} << 16 | size_t{frame_head_[1]} << 8 | frame_head_[2];
    const uint8_t type = frame_head_[3];
    const bool is_known = type <= NGHTTP2_CONTINUATION || type == NGHTTP2_PRIORITY_UPDATE;
    if (!is_known && !guard_.allow(Flood::Unknown, context_.loop.now()))
      return calm(Flood::Unknown);
  }
}

/// nghttp2 cannot say it any more, so these bytes are ours.
void Http2Connection::give_up_memory() noexcept {
  context_.counters.http2_memory_spent.add();
  std::array<uint8_t, 17> goaway{0, 0, 8, NGHTTP2_GOAWAY};
  for (size_t i = 0; i < 4; ++i) goaway[9 + i] = static_cast<uint8_t>(last_opened_ >> (24 - 8 * i));
  goaway[16] = NGHTTP2_ENHANCE_YOUR_CALM;
  if (host_.flushed() && carry_.empty()) {
    const iovec piece{goaway.data(), goaway.size()};
    // Best effort: the connection ends either way.
    [[maybe_unused]] const auto written = host_.write({&piece, 1});
  }
  abandon();
}

/// nghttp2 could not do what it was asked for. It may go on with the bytes it was at and say so
/// again.
void Http2Connection::fail_session() noexcept {
  if (broken_) return;
  memory_.spent() ? give_up_memory() : abandon();
}

/// Else a stream would wait for ever for what nghttp2 has not taken note of.
void Http2Connection::expect_memory(int status) noexcept {
  if (nghttp2_is_fatal(status) != 0) fail_session();
}

void Http2Connection::feed(std::span<const char> bytes) {
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken >= 0 || broken_) return;
  if (memory_.spent()) return give_up_memory();
  // The rest of what nghttp2 calls fatal is the client's doing: no preface, or a limit of nghttp2
  // that ours did not come before.
  if (taken != NGHTTP2_ERR_BAD_CLIENT_MAGIC) context_.counters.http2_errors.add();
  terminate(taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? NGHTTP2_PROTOCOL_ERROR
                                                  : NGHTTP2_ENHANCE_YOUR_CALM);
}

void Http2Connection::advance() {
  in_advance_ = true;
  if (!broken_) {
    write_frames();
    serve_asked();
  }
  take_down_ended();
  if (!broken_) {
    write_frames();
    // nghttp2 has said GOAWAY to a client that broke the protocol.
    if (open_ > 0 && nghttp2_session_want_read(session_) == 0) leave_streams();
    give_floor();
  }
  take_down_ended();
  note_idle();
  in_advance_ = false;
}

Http2Stream* Http2Connection::next_asked() const noexcept {
  Http2Stream* next = nullptr;
  for (Http2Stream* each = first_; each != nullptr; each = each->following) {
    if (each->step != Http2Stream::Step::Asked) continue;
    // The list has the newest in front: of equals the oldest is served first.
    if (next == nullptr || each->claim.priority.urgency <= next->claim.priority.urgency)
      next = each;
  }
  return next;
}

void Http2Connection::serve_asked() {
  for (uint32_t served = 0; !broken_; ++served) {
    Http2Stream* stream = next_asked();
    if (stream == nullptr) return;
    if (served == kRequestsPerTurnMax) return host_.wake();
    serve(*stream);
  }
}

void Http2Connection::serve(Http2Stream& stream) {
  stream.step = Http2Stream::Step::Serving;
  const http::Request& request = stream.good_request ? stream.memory->parser.request() : kNoRequest;
  if (stream.good_request) {
    context_.counters.requests.add();
    context_.counters.http2_requests.add();
  }
  stream.exchange = context_.exchanges.make(stream, client_, request);
  stream.exchange->started = stream.started;
  if (stream.refused != 0) {
    if (Counter* counter = context_.counters.refused(stream.refused)) counter->add();
    context_.handler.refuse(*stream.exchange, stream.refused, stream.refused_why);
  } else {
    context_.handler.serve(*stream.exchange, stream.memory->body);
  }
}

void Http2Connection::take_down_ended() {
  for (Http2Stream* each = first_; each != nullptr;) {
    Http2Stream& stream = *std::exchange(each, each->following);
    if (stream.step == Http2Stream::Step::Serving && stream.ended) end_stream(stream);
    if (stream.step == Http2Stream::Step::Over && (stream.closed || session_ == nullptr))
      destroy(stream);
  }
}

void Http2Connection::end_stream(Http2Stream& stream) {
  const Stream::End how = *stream.ended;
  context_.exchanges.destroy(stream.exchange);
  stream.exchange = nullptr;
  context_.request_memories.destroy(stream.memory);
  stream.memory = nullptr;
  stream.step = Http2Stream::Step::Over;
  stream.claim.waiting = false;
  --open_;
  if (stream.is_gone || how == Stream::End::Gone) context_.counters.clients_gone.add();
  if (stream.closed) return;
  const bool whole = how == Stream::End::Complete && stream.head_submitted &&
                     (stream.framing != Framing::Length || stream.body_left == 0);
  if (!whole)
    return reset(stream, how == Stream::End::Gone ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR);
  if (stream.framing != Framing::Chunked) return;
  stream.body_ended = true;
  expect_memory(nghttp2_session_resume_data(session_, static_cast<int32_t>(stream.id)));
}

void Http2Connection::destroy(Http2Stream& stream) noexcept {
  SEGUE_ASSERT(stream.exchange == nullptr);
  if (stream.memory != nullptr) context_.request_memories.destroy(stream.memory);
  if (!stream.closed && session_ != nullptr)
    (void)nghttp2_session_set_stream_user_data(session_, static_cast<int32_t>(stream.id), nullptr);
  schedule_.remove(stream.claim);
  if (stream.previous != nullptr) stream.previous->following = stream.following;
  if (stream.following != nullptr) stream.following->previous = stream.previous;
  if (first_ == &stream) first_ = stream.following;
  --streams_;
  context_.http2.streams.destroy(&stream);
}

void Http2Connection::give_floor() {
  if (!host_.flushed() || !carry_.empty()) return;
  for (Http2Stream* each = first_; each != nullptr; each = each->following) {
    if (each->step != Http2Stream::Step::Serving || each->ended) continue;
    if (std::exchange(each->wants_flush, each->wants_flush && !flushed(*each)) != each->wants_flush)
      each->exchange->signal.raise();
    each->claim.sendable = is_sendable(*each);
  }
  if (schedule_.floor() != nullptr) {
    if (++floor_looks_ <= kFloorLooksMax) return host_.wake();
    schedule_.end_floor();
  }
  const Http2Claim* claim = schedule_.give_floor();
  if (claim == nullptr) return;
  floor_looks_ = 0;
  for (Http2Stream* each = first_; each != nullptr; each = each->following) {
    if (&each->claim == claim) each->exchange->signal.raise();
  }
  host_.wake();
}

void Http2Connection::note_idle() noexcept {
  if (open_ > 0) {
    idle_since_ = kNever;
  } else if (idle_since_ == kNever) {
    idle_since_ = context_.loop.now();
  }
}

bool Http2Connection::idle() const noexcept {
  return streams_ == 0 && host_.flushed() && carry_.empty();
}

Http2Connection::Status Http2Connection::status() const noexcept {
  if (open_ > 0) return Status::Open;
  if (broken_) return Status::Broken;
  const bool said = nghttp2_session_want_read(session_) == 0 &&
                    nghttp2_session_want_write(session_) == 0 && host_.flushed() && carry_.empty();
  return said ? Status::Ended : Status::Open;
}

void Http2Connection::become_gone(Http2Stream& stream) noexcept {
  if (stream.is_gone) return;
  stream.is_gone = true;
  stream.claim.waiting = false;
  if (schedule_.floor() == &stream.claim) schedule_.end_floor();
  if (!stream.ended) stream.exchange->signal.raise();
}

void Http2Connection::leave_streams() noexcept {
  reading_ = nullptr;
  request_text_.clear();
  block_since_ = kNever;
  for (Http2Stream* each = first_; each != nullptr; each = each->following) {
    if (each->step == Http2Stream::Step::Serving) {
      become_gone(*each);
    } else if (each->step != Http2Stream::Step::Over) {
      each->step = Http2Stream::Step::Over;
      --open_;
    }
  }
}

void Http2Connection::abandon() noexcept {
  broken_ = true;
  leave_streams();
}

void Http2Connection::terminate(uint32_t error_code) noexcept {
  if (terminated_ || broken_) return;
  terminated_ = true;
  if (nghttp2_session_terminate_session(session_, error_code) != 0) return fail_session();
  leave_streams();
}

void Http2Connection::reset(Http2Stream& stream, uint32_t error_code) noexcept {
  if (stream.closed || broken_) return;
  if (nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(stream.id),
                                error_code) != 0)
    fail_session();
}

/// RFC 9113 §6.8: first a notice, so that what is on its way to us is still served, then, a round
/// trip later, the last stream that was.
void Http2Connection::start_drain() {
  if (broken_ || terminated_ || drain_ != Drain::None) return;
  drain_ = Drain::Noticed;
  noticed_at_ = context_.loop.now();
  if (nghttp2_submit_shutdown_notice(session_) != 0 ||
      nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing.data()) != 0)
    fail_session();
}

void Http2Connection::send_final_goaway() {
  if (broken_ || drain_ == Drain::Final) return;
  drain_ = Drain::Final;
  noticed_at_ = kNever;
  const int32_t last = nghttp2_session_get_last_proc_stream_id(session_);
  if (nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0) != 0)
    fail_session();
}

MonoTime Http2Connection::deadline() const noexcept {
  if (broken_) return kNever;
  MonoTime first = kNever;
  const auto add = [&](MonoTime since, std::chrono::nanoseconds after) {
    if (since != kNever) first = std::min(first, since + after);
  };
  add(noticed_at_, context_.limits.http2_drain_notice);
  add(block_since_, context_.limits.head_read);
  for (const Http2Stream* each = first_; each != nullptr; each = each->following) {
    if (each->step == Http2Stream::Step::Reading) add(each->started, context_.limits.head_read);
  }
  add(idle_since_, context_.limits.keep_alive);
  return first;
}

void Http2Connection::on_deadline() {
  const MonoTime now = context_.loop.now();
  const auto over = [&](MonoTime since, std::chrono::nanoseconds after) {
    return since != kNever && since + after <= now;
  };
  if (over(noticed_at_, context_.limits.http2_drain_notice)) send_final_goaway();
  if (over(block_since_, context_.limits.head_read)) {
    // No stream can go on before this block has ended, so there is nobody to answer 408.
    context_.counters.timeout_head.add();
    return terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  }
  for (Http2Stream* each = first_; each != nullptr; each = each->following) {
    const bool late =
        each->step == Http2Stream::Step::Reading && over(each->started, context_.limits.head_read);
    if (!late) continue;
    context_.counters.timeout_body.add();
    each->refused = 408;
    each->refused_why = "body_timeout";
    each->step = Http2Stream::Step::Asked;
  }
  if (over(idle_since_, context_.limits.keep_alive)) {
    if (!context_.draining) context_.counters.timeout_keep_alive.add();
    terminate(NGHTTP2_NO_ERROR);
  }
}

}  // namespace segue::edge
