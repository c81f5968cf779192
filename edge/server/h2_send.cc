// The sending side of an HTTP/2 connection: what streams are given to send, put into batches of
// frames.
#include <algorithm>

#include "base/assert.h"
#include "edge/server/h2_connection.h"

namespace segue::edge {

namespace {

[[nodiscard]] size_t bytes_of(std::span<const iovec> pieces) noexcept {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

}  // namespace

Result<size_t> Http2Stream::try_send(const ResponseHead* head, std::span<const iovec> body) {
  return connection.try_send(*this, head, body);
}

void Http2Stream::want_writable() noexcept { connection.want_writable(*this); }

bool Http2Stream::flushed() const noexcept { return connection.flushed(*this); }

void Http2Stream::pace(uint64_t bytes_per_second) noexcept {
  connection.host_.pace(bytes_per_second);
}

void Http2Stream::finished(End how) noexcept {
  SEGUE_ASSERT(step == Step::Serving);
  SEGUE_ASSERT(!ended.has_value());
  ended = how;
  // The caller still stands in the exchange's code, so it is taken down on a later turn, or by the
  // advance() that called serve().
  if (!connection.in_advance_) connection.host_.wake();
}

Result<Done> Http2Connection::submit_head(Http2Stream& stream, const ResponseHead& head) {
  const bool to_head =
      stream.good_request && stream.memory->parser.request().method == http::Method::Head;
  Http2ResponseFields fields;
  const auto written = fields.write(head, context_.writer.date.at(context_.loop.wall_now()));
  if (!written) return fail(written.error());
  stream.framing = framing_of(head, 1, to_head);
  stream.body_left = stream.framing == Framing::Length ? *head.content_length : 0;
  const bool has_body = stream.framing == Framing::Chunked || stream.body_left > 0;
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = Http2Shared::read_callback();
  if (nghttp2_submit_response(session_, static_cast<int32_t>(stream.id), written->data(),
                              written->size(), has_body ? &provider : nullptr) != 0)
    return fail(Side::Self, Kind::Overloaded, "http2 memory");
  stream.head_submitted = true;
  return Done{};
}

Result<size_t> Http2Connection::try_send(Http2Stream& stream, const ResponseHead* head,
                                         std::span<const iovec> body) {
  SEGUE_ASSERT(stream.step == Http2Stream::Step::Serving);
  if (stream.is_gone) return fail(Side::Client, Kind::Closed, "client gone");
  if (!stream.head_submitted) {
    SEGUE_ASSERT(head != nullptr);
    // nghttp2 copies a head and keeps it until it is in a batch, so it gets one when that can be at
    // once: those of a hundred streams would be more than it may hold (kHttp2MemoryBytesMax).
    const bool can_go = write_kept();
    if (stream.is_gone) return fail(Side::Client, Kind::Closed, "client gone");
    stream.claim.is_head = stream.starved = !can_go;
    if (!can_go) return 0;
    if (auto submitted = submit_head(stream, *head); !submitted) return fail(submitted.error());
    if (!schedule_.may_send(stream.claim)) write_frames();
    if (stream.is_gone) return fail(Side::Client, Kind::Closed, "client gone");
  }
  const size_t offered = bytes_of(body);
  const bool too_long = (stream.framing == Framing::None && offered != 0) ||
                        (stream.framing == Framing::Length && offered > stream.body_left);
  if (too_long) return fail(Side::Self, Kind::Mismatch, "body longer than announced");
  if (schedule_.floor() == &stream.claim) floor_looks_ = 0;
  offer_ = {&stream, body, 0, offered, 0};
  // Its turn ends with the first batch where others of its rank wait.
  while (!broken_ && (offer_.left > 0 || !stream.head_sent) && schedule_.may_send(stream.claim)) {
    const size_t before = offer_.taken;
    const bool had_head = stream.head_sent;
    if (offer_.left > 0)
      expect_memory(nghttp2_session_resume_data(session_, static_cast<int32_t>(stream.id)));
    const bool more = write_frames();
    if (offer_.taken > before) schedule_.count_batch(stream.claim, offer_.taken - before);
    if (!more || (offer_.taken == before && stream.head_sent == had_head)) break;
  }
  const size_t taken = offer_.taken;
  offer_ = {};
  if (stream.is_gone) return fail(Side::Client, Kind::Closed, "client gone");
  stream.starved = taken < offered || !stream.head_sent;
  return taken;
}

void Http2Connection::want_writable(Http2Stream& stream) noexcept {
  SEGUE_ASSERT(stream.step == Http2Stream::Step::Serving);
  if (stream.is_gone) {
    stream.exchange->signal.raise();
    return;
  }
  stream.claim.waiting = stream.starved;
  stream.wants_flush = !stream.starved;
  if (schedule_.floor() == &stream.claim) schedule_.end_floor();
  host_.wake();
}

bool Http2Connection::flushed(const Http2Stream& stream) const noexcept {
  // A batch is begun when the one before it is out.
  const bool all_out = host_.flushed() && carry_.empty();
  return stream.head_sent && (all_out || stream.batch + 1 < batch_);
}

bool Http2Connection::is_sendable(const Http2Stream& stream) const noexcept {
  if (!stream.head_sent || stream.framing == Framing::None) return true;
  return nghttp2_session_get_remote_window_size(session_) > 0 &&
         nghttp2_session_get_stream_remote_window_size(session_, static_cast<int32_t>(stream.id)) >
             0;
}

bool Http2Connection::write_pieces(std::span<const iovec> pieces) {
  const auto written = host_.write(pieces);
  if (!written) {
    abandon();
    return false;
  }
  if (written->taken == bytes_of(pieces)) return true;
  // The host took less than it had said it would; no frame may be left half-way.
  std::vector<char> left;
  size_t skip = written->taken;
  for (const iovec& piece : pieces) {
    const size_t skipped = std::min(skip, piece.iov_len);
    const char* from = static_cast<const char*>(piece.iov_base);
    left.insert(left.end(), from + skipped, from + piece.iov_len);
    skip -= skipped;
  }
  carry_ = std::move(left);
  return true;
}

bool Http2Connection::write_kept() {
  if (!host_.flushed() && !write_pieces({})) return false;
  while (!carry_.empty() && host_.flushed()) {
    const std::vector<char> kept = std::move(carry_);
    carry_.clear();
    const iovec piece{const_cast<char*>(kept.data()), kept.size()};
    if (!write_pieces({&piece, 1})) return false;
    if (carry_.size() == kept.size()) break;
  }
  return host_.flushed() && carry_.empty();
}

bool Http2Connection::write_frames() {
  while (!broken_) {
    if (!write_kept()) return false;
    if (!compose()) return !broken_;
    if (!write_pieces(context_.http2.batch.pieces())) return false;
    ++batch_;
    if (offer_.stream != nullptr) break;  // the next batch may be another's
  }
  return !broken_ && host_.flushed() && carry_.empty();
}

bool Http2Connection::compose() {
  Http2Batch& batch = context_.http2.batch;
  batch.begin();
  room_ = host_.room();
  while (batch.has_room() && batch.bytes() < room_) {
    const uint8_t* frame = nullptr;
    const ssize_t bytes = nghttp2_session_mem_send(session_, &frame);
    if (bytes < 0) {
      fail_session();
      return false;
    }
    if (bytes == 0) break;
    batch.add_text({reinterpret_cast<const char*>(frame), static_cast<size_t>(bytes)});
  }
  return batch.bytes() > 0;
}

}  // namespace segue::edge
