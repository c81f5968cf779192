// What nghttp2 tells an HTTP/2 connection about the frames of its client, and asks for the
// connection's own. Nothing here may call nghttp2_session_mem_send() or serve a request: both wait
// for advance().
#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "edge/server/h2_connection.h"

namespace segue::edge {

namespace {

/// A field block unpacked to so much is no mistake: two kinds of bytes a client must send for it.
constexpr size_t kFieldBytesMax = 4 * size_t{kHeaderBytesMax};
constexpr size_t kFieldOverhead = 32;  // RFC 9113 §6.5.2

constexpr size_t kFrameHeadBytes = 9;

}  // namespace

struct Http2Callbacks {
  static Http2Connection& of(void* connection) {
    return *static_cast<Http2Connection*>(connection);
  }

  static int on_begin_frame(nghttp2_session* /*session*/, const nghttp2_frame_hd* head,
                            void* connection) {
    Http2Connection& self = of(connection);
    if (self.is_over()) return 0;
    if (head->type == NGHTTP2_RST_STREAM) self.context_.counters.http2_resets_received.add();
    // nghttp2 skips PRIORITY where RFC 9218 stands in for it, without a look (RFC 9113 §6.3).
    if (head->type == NGHTTP2_PRIORITY && head->stream_id == 0)
      return self.terminate(NGHTTP2_PROTOCOL_ERROR), 0;
    if (head->type == NGHTTP2_PRIORITY && head->length != 5)
      return self.terminate(NGHTTP2_FRAME_SIZE_ERROR), 0;
    if (head->type == NGHTTP2_HEADERS) {
      self.fields_bytes_ = 0;
      // Of a block that nghttp2 found malformed no end is told: what follows is not that request's.
      (void)self.end_block();
      self.request_text_.clear();
      if (self.is_stale_number(static_cast<uint32_t>(head->stream_id)))
        return self.terminate(NGHTTP2_PROTOCOL_ERROR), 0;
    }
    // Here, because nghttp2 tells nobody of those of streams that are over.
    if (head->type == NGHTTP2_DATA && head->length == 0 &&
        (head->flags & NGHTTP2_FLAG_END_STREAM) == 0 &&
        !self.guard_.allow(Flood::EmptyFrame, self.context_.loop.now()))
      return self.calm(Flood::EmptyFrame), 0;
    if (const auto flood = self.guard_.on_frame(head->type, self.context_.loop.now()))
      self.calm(*flood);
    return 0;
  }

  static int on_begin_headers(nghttp2_session* /*session*/, const nghttp2_frame* frame,
                              void* connection) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    of(connection).begin_request(static_cast<uint32_t>(frame->hd.stream_id));
    return 0;
  }

  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame,
                       nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t /*flags*/,
                       void* connection) {
    Http2Connection& self = of(connection);
    if (self.is_over()) return 0;
    self.fields_bytes_ +=
        nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len + kFieldOverhead;
    if (self.fields_bytes_ > kFieldBytesMax) {
      self.calm(Flood::FieldBytes);
      return 0;
    }
    const bool is_request =
        frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    if (is_request && self.reading_ != nullptr) self.request_text_.add(name, value);
    return 0;
  }

  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* connection) {
    Http2Connection& self = of(connection);
    if (self.is_over()) return 0;
    const bool ends_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_DATA:
        if (!ends_stream && frame->hd.length != 0 && frame->hd.length == frame->data.padlen &&
            !self.guard_.allow(Flood::EmptyFrame, self.context_.loop.now()))
          self.calm(Flood::EmptyFrame);
        break;
      case NGHTTP2_HEADERS:
        if (Http2Stream* stream = self.end_block()) return self.end_head(*stream, ends_stream), 0;
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 &&
            self.drain_ == Http2Connection::Drain::Noticed)
          self.send_final_goaway();
        break;
      case NGHTTP2_PRIORITY_UPDATE: {
        const auto* update = static_cast<nghttp2_ext_priority_update*>(frame->ext.payload);
        self.update_priority(
            static_cast<uint32_t>(update->stream_id),
            {reinterpret_cast<const char*>(update->field_value), update->field_value_len});
        break;
      }
      default:
        break;
    }
    if (!ends_stream) return 0;
    if (Http2Stream* stream = self.find(frame->hd.stream_id)) self.end_request(*stream);
    return 0;
  }

  static int on_data(nghttp2_session* session, uint8_t /*flags*/, int32_t id, const uint8_t* data,
                     size_t bytes, void* connection) {
    Http2Connection& self = of(connection);
    // The connection's window is for all streams, whatever becomes of this one.
    if (nghttp2_session_consume_connection(session, bytes) != 0)
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    Http2Stream* stream = self.is_over() ? nullptr : self.find(id);
    if (stream != nullptr) self.take_body(*stream, {data, bytes});
    return 0;
  }

  static int on_close(nghttp2_session* /*session*/, int32_t id, uint32_t /*error_code*/,
                      void* connection) {
    Http2Connection& self = of(connection);
    Http2Stream* stream = self.find(id);
    if (stream == nullptr) return 0;
    stream->closed = true;
    if (self.reading_ == stream) {
      (void)self.end_block();
      self.request_text_.clear();
    }
    if (stream->step == Http2Stream::Step::Serving) {
      if (!stream->ended && !stream->end_sent) self.become_gone(*stream);
    } else if (stream->step != Http2Stream::Step::Over) {
      stream->step = Http2Stream::Step::Over;
      --self.open_;
    }
    return 0;
  }

  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* connection) {
    Http2Connection& self = of(connection);
    const int32_t id = frame->hd.stream_id;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA:
        break;
      case NGHTTP2_RST_STREAM:
        self.context_.counters.http2_resets_sent.add();
        if (self.is_clients_fault(frame->rst_stream.error_code) && !self.is_over() &&
            !self.guard_.allow(Flood::Reset, self.context_.loop.now()))
          self.calm(Flood::Reset);
        return 0;
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR &&
            frame->goaway.error_code != NGHTTP2_ENHANCE_YOUR_CALM)
          self.context_.counters.http2_errors.add();
        return 0;
      default:
        return 0;
    }
    if (frame->hd.type == NGHTTP2_DATA) self.guard_.on_data_sent(frame->hd.length);
    const bool ends_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (Http2Stream* stream = self.find(id)) {
      if (ends_stream) stream->end_sent = true;
      stream->batch = self.batch_;
      if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_RESPONSE)
        stream->head_sent = true;
    }
    // RFC 9113 §8.1: the response is whole; what is left of the request is not wanted.
    if (ends_stream && nghttp2_session_get_stream_remote_close(session, id) == 0)
      self.expect_memory(
          nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR));
    return 0;
  }

  /// How many bytes of a body go into the next DATA frame: of what is offered, as much as the batch
  /// has room for, from one piece.
  static ssize_t read_body(nghttp2_session* /*session*/, int32_t /*id*/, uint8_t* /*into*/,
                           size_t bytes_max, uint32_t* flags, nghttp2_data_source* source,
                           void* connection) {
    Http2Connection& self = of(connection);
    const auto& stream = *static_cast<Http2Stream*>(source->ptr);
    if (stream.body_ended) {
      *flags = NGHTTP2_DATA_FLAG_EOF;
      return 0;
    }
    auto& offer = self.offer_;
    const Http2Batch& batch = self.context_.http2.batch;
    const size_t used = batch.bytes() + kFrameHeadBytes;
    const bool nothing = offer.stream != &stream || offer.left == 0 || used >= self.room_;
    if (nothing || !batch.has_room()) return NGHTTP2_ERR_DEFERRED;
    while (offer.skip == offer.pieces.front().iov_len) {
      offer.pieces = offer.pieces.subspan(1);
      offer.skip = 0;
    }
    const size_t bytes =
        std::min({bytes_max, self.room_ - used, offer.pieces.front().iov_len - offer.skip});
    *flags = NGHTTP2_DATA_FLAG_NO_COPY;
    if (stream.framing == Framing::Length && bytes == stream.body_left)
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(bytes);
  }

  static int send_body(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/,
                       const uint8_t* frame_head, size_t bytes, nghttp2_data_source* source,
                       void* connection) {
    Http2Connection& self = of(connection);
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    auto& offer = self.offer_;
    Http2Batch& batch = self.context_.http2.batch;
    SEGUE_ASSERT(offer.stream == &stream);
    SEGUE_ASSERT(bytes <= offer.pieces.front().iov_len - offer.skip);
    batch.add_text({reinterpret_cast<const char*>(frame_head), kFrameHeadBytes});
    batch.add_payload({static_cast<char*>(offer.pieces.front().iov_base) + offer.skip, bytes});
    offer.skip += bytes;
    offer.left -= bytes;
    offer.taken += bytes;
    if (stream.framing == Framing::Length) stream.body_left -= bytes;
    return 0;
  }
};

nghttp2_data_source_read_callback Http2Shared::read_callback() noexcept {
  return &Http2Callbacks::read_body;
}

Http2Shared::Http2Shared() {
  nghttp2_session_callbacks* made = nullptr;
  nghttp2_option* set = nullptr;
  const bool good = nghttp2_session_callbacks_new(&made) == 0 && nghttp2_option_new(&set) == 0;
  if (!good) end_out_of_memory("nghttp2");  // at the start
  callbacks.reset(made);
  option.reset(set);
  nghttp2_session_callbacks_set_on_begin_frame_callback(made, &Http2Callbacks::on_begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(made, &Http2Callbacks::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback2(made, &Http2Callbacks::on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(made, &Http2Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, &Http2Callbacks::on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(made, &Http2Callbacks::on_close);
  nghttp2_session_callbacks_set_on_frame_send_callback(made, &Http2Callbacks::on_sent);
  nghttp2_session_callbacks_set_send_data_callback(made, &Http2Callbacks::send_body);
  nghttp2_option_set_builtin_recv_extension_type(set, NGHTTP2_PRIORITY_UPDATE);
  // Bodies that nobody wants must not be sent for ever: windows are opened by hand.
  nghttp2_option_set_no_auto_window_update(set, 1);
  nghttp2_option_set_no_closed_streams(set, 1);
  // Ours (h2_guard.h) come first; these stand behind them.
  nghttp2_option_set_max_continuations(set, 2 * kHttp2ContinuationsMax);
  nghttp2_option_set_stream_reset_rate_limit(set, 1000, 1000);
}

/// Whether what the client did made us reset a stream. One that is refused because others have all
/// of the loop, or because of a drain, was asked for in good faith; nghttp2 refuses by itself what
/// is beyond settings that the client has not acknowledged.
bool Http2Connection::is_clients_fault(uint32_t error_code) const noexcept {
  return error_code == NGHTTP2_PROTOCOL_ERROR || error_code == NGHTTP2_FLOW_CONTROL_ERROR ||
         error_code == NGHTTP2_STREAM_CLOSED || error_code == NGHTTP2_FRAME_SIZE_ERROR ||
         (error_code == NGHTTP2_REFUSED_STREAM && is_full());
}

Http2Stream* Http2Connection::find(int32_t id) const noexcept {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

void Http2Connection::calm(Flood flood) noexcept {
  if (terminated_ || broken_) return;
  context_.counters.http2_calmed[static_cast<size_t>(flood)].add();
  terminate(NGHTTP2_ENHANCE_YOUR_CALM);
}

/// RFC 9113 §5.1.1: numbers only rise. nghttp2 takes a lower one for a late frame of a stream that
/// is over, which trailers behind a reset are; those numbers were seen before.
bool Http2Connection::is_stale_number(uint32_t id) const noexcept {
  const bool lower = id % 2 == 1 && id < last_opened_;
  return lower && find(static_cast<int32_t>(id)) == nullptr &&
         std::ranges::find(opened_, id) == opened_.end();
}

Http2Stream* Http2Connection::end_block() noexcept {
  block_since_ = kNever;
  return std::exchange(reading_, nullptr);
}

void Http2Connection::begin_request(uint32_t id) {
  if (is_over()) return;
  last_opened_ = id;
  opened_[opened_next_] = id;
  opened_next_ = static_cast<uint8_t>((opened_next_ + 1) % opened_.size());
  // Streams that the client has reset count until their exchange has ended: resetting them does
  // not let it have more work under way than anybody else.
  // Those of all connections together are bounded too: each costs as much as a client. The first
  // one of each is that client, whatever the others have.
  const bool none_left =
      open_ > 0 && context_.http2.streams.in_use() >= context_.limits.http2_streams_per_loop_max;
  if (is_full() || none_left || drain_ == Drain::Final) {
    context_.counters.http2_refused_streams.add();
    expect_memory(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(id),
                                            NGHTTP2_REFUSED_STREAM));
    return;
  }
  Http2Stream& stream = *context_.http2.streams.make(*this, id);
  stream.started = context_.loop.now();
  stream.memory = context_.request_memories.make(context_.large_buffers);
  stream.following = first_;
  if (first_ != nullptr) first_->previous = &stream;
  first_ = &stream;
  schedule_.add(stream.claim);
  ++streams_;
  ++open_;
  reading_ = &stream;
  block_since_ = stream.started;
  request_text_.begin(*stream.memory);
  // nghttp2 would never tell of a stream that it cannot find.
  if (nghttp2_session_set_stream_user_data(session_, static_cast<int32_t>(id), &stream) != 0)
    abandon();
}

void Http2Connection::end_head(Http2Stream& stream, bool ends_stream) {
  const Http2RequestText::End end = request_text_.finish();
  request_text_.clear();
  RequestMemory& memory = *stream.memory;
  const auto refuse = [&](uint16_t status, std::string_view why) {
    stream.refused = status;
    stream.refused_why = why;
    stream.step = Http2Stream::Step::Asked;
  };
  stream.head_done = true;
  if (end == Http2RequestText::End::Malformed) {
    stream.step = Http2Stream::Step::Over;
    --open_;
    return reset(stream, NGHTTP2_PROTOCOL_ERROR);
  }
  if (end == Http2RequestText::End::TooLong) return refuse(431, "head");
  const auto parsed = memory.parser.parse(memory.bytes());
  if (parsed == http::RequestParser::Status::Error) {
    const http::RequestError error = memory.parser.error();
    return refuse(http::status_of(error), http::name_of(error));
  }
  const bool whole =
      parsed == http::RequestParser::Status::Complete && memory.parser.consumed() == memory.used();
  if (!whole) return refuse(400, "malformed_field");
  stream.good_request = true;
  const http::Request& request = memory.parser.request();
  const auto early = std::ranges::find(early_priorities_, stream.id, &EarlyPriority::stream);
  if (early != early_priorities_.end()) {
    schedule_.set_priority(stream.claim, early->priority);
  } else if (const auto value = request.fields.find("priority")) {
    schedule_.set_priority(stream.claim, parse_priority(*value));
  }
  if (!request.host.empty() && !host_.covers(request.host))
    return refuse(421, "not_in_certificate");
  const uint32_t bytes_max = ends_stream ? 0 : context_.handler.body_bytes_max(request);
  if (bytes_max == 0) {
    stream.step = Http2Stream::Step::Asked;
    return;
  }
  if (request.content_length > bytes_max) return refuse(413, "body_too_long");
  stream.collects_body = true;
  if (!request.expect_continue) return;
  static constexpr std::string_view kName = ":status";
  static constexpr std::string_view kContinue = "100";
  const auto bytes_of = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  const nghttp2_nv status{bytes_of(kName), bytes_of(kContinue), kName.size(), kContinue.size(),
                          NGHTTP2_NV_FLAG_NONE};
  const int submitted = nghttp2_submit_headers(
      session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(stream.id), nullptr, &status, 1, nullptr);
  if (submitted < 0) expect_memory(submitted);
}

void Http2Connection::end_request(Http2Stream& stream) {
  if (stream.step == Http2Stream::Step::Reading && stream.head_done)
    stream.step = Http2Stream::Step::Asked;
}

void Http2Connection::take_body(Http2Stream& stream, std::span<const uint8_t> bytes) {
  stream.request_body += bytes.size();
  if (!stream.collects_body || stream.step != Http2Stream::Step::Reading) return;
  if (stream.request_body > context_.handler.body_bytes_max(stream.memory->parser.request())) {
    stream.refused = 413;
    stream.refused_why = "body_too_long";
    stream.step = Http2Stream::Step::Asked;
    return;
  }
  stream.memory->body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  expect_memory(
      nghttp2_session_consume_stream(session_, static_cast<int32_t>(stream.id), bytes.size()));
}

void Http2Connection::update_priority(uint32_t id, std::string_view value) noexcept {
  const Http2Priority priority = parse_priority(value);
  if (Http2Stream* stream = find(static_cast<int32_t>(id))) {
    schedule_.set_priority(stream->claim, priority);
    return;
  }
  // A stream that is over keeps its number for ever, so it costs one of four places, no more.
  const auto same = std::ranges::find(early_priorities_, id, &EarlyPriority::stream);
  if (same != early_priorities_.end()) {
    same->priority = priority;
    return;
  }
  early_priorities_[early_next_] = {id, priority};
  early_next_ = static_cast<uint8_t>((early_next_ + 1) % early_priorities_.size());
}

}  // namespace segue::edge
