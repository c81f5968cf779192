#include "edge/server/response_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace segue::edge {

namespace {

/// The most pieces one writev gets: a range lies in a few buffers, a multipart body in at most
/// twice kRangesMax pieces.
constexpr size_t kPiecesMax = 64;

[[nodiscard]] size_t bytes_of(std::span<const iovec> pieces) noexcept {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

}  // namespace

void ResponseWriter::begin(Asked asked) noexcept {
  SEGUE_ASSERT(flushed());
  asked_ = asked;
  framing_ = Framing::None;
  head_written_ = false;
  chunk_open_ = false;
  blocked_ = false;
  body_left_ = 0;
  chunk_left_ = 0;
}

Result<Done> ResponseWriter::render(const ResponseHead& head, WallTime now) {
  framing_ = framing_of(head, asked_.version_minor, asked_.to_head);
  if (head.close || framing_ == Framing::UntilClose) asked_.close = true;
  const HeadFacts facts{framing_, asked_.version_minor, asked_.close, shared_.date.at(now)};
  const std::span<char> room = std::span(shared_.scratch).first(kResponseHeadBytesMax);
  const auto written = write_head(head, facts, room);
  if (!written) return fail(written.error());
  scratch_bytes_ = written->size();
  head_written_ = true;
  if (framing_ == Framing::Length) body_left_ = *head.content_length;
  return Done{};
}

Result<ResponseWriter::Sent> ResponseWriter::try_send(Wire& wire, Now now, const ResponseHead* head,
                                                      std::span<const iovec> body) {
  if (!head_written_) {
    SEGUE_ASSERT(head != nullptr);
    if (auto rendered = render(*head, now.wall); !rendered) return fail(rendered.error());
  }
  return write_pieces(wire, body, now.mono);
}

std::string_view ResponseWriter::text() const noexcept {
  if (unsent_ != nullptr) return unsent_->view();
  return {shared_.scratch.data(), scratch_bytes_};
}

void ResponseWriter::append_text(std::string_view text) noexcept {
  char* memory = unsent_ != nullptr ? unsent_->text.data() : shared_.scratch.data();
  size_t& used = unsent_ != nullptr ? unsent_->end : scratch_bytes_;
  SEGUE_ASSERT(text.size() <= UnsentText::kBytes - used);
  std::memcpy(memory + used, text.data(), text.size());
  used += text.size();
}

void ResponseWriter::open_chunk(size_t bytes) noexcept {
  if (chunk_open_) append_text("\r\n");
  std::array<char, 20> line;
  const auto end = fmt::format_to_n(line.data(), line.size(), "{:x}\r\n", bytes);
  append_text({line.data(), end.size});
  chunk_open_ = true;
  chunk_left_ = bytes;
}

void ResponseWriter::keep_text(size_t taken) noexcept {
  const std::string_view left = text().substr(taken);
  if (left.empty()) {
    scratch_bytes_ = 0;
    drop_unsent();
    return;
  }
  if (unsent_ == nullptr) {
    unsent_ = shared_.unsent.make();
    std::memcpy(unsent_->text.data(), left.data(), left.size());
    unsent_->end = left.size();
    scratch_bytes_ = 0;
    return;
  }
  unsent_->begin += taken;
}

void ResponseWriter::drop_unsent() noexcept {
  if (unsent_ == nullptr) return;
  shared_.unsent.destroy(unsent_);
  unsent_ = nullptr;
}

Result<ResponseWriter::Sent> ResponseWriter::write_once(Wire& wire, std::span<const iovec> body,
                                                        size_t skip, size_t bytes, MonoTime now) {
  std::array<iovec, kPiecesMax> pieces;
  size_t count = 0;
  const size_t text_bytes = text().size();
  if (text_bytes != 0) pieces[count++] = {const_cast<char*>(text().data()), text_bytes};
  for (const iovec& piece : body) {
    if (bytes == 0 || count == kPiecesMax) break;
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    const size_t length = std::min(piece.iov_len - skip, bytes);
    pieces[count++] = {static_cast<char*>(piece.iov_base) + skip, length};
    bytes -= length;
    skip = 0;
  }
  const auto written = wire.write(std::span(pieces).first(count), now);
  if (!written) {
    scratch_bytes_ = 0;
    return fail(written.error());
  }
  blocked_ = written->blocked;
  const size_t text_taken = std::min(written->taken, text_bytes);
  keep_text(text_taken);
  return Sent{written->socket_bytes, written->taken - text_taken};
}

Result<ResponseWriter::Sent> ResponseWriter::write_pieces(Wire& wire, std::span<const iovec> body,
                                                          MonoTime now) {
  const size_t offered = bytes_of(body);
  // One byte too many would be read as the begin of the next response. No assertion: how long a
  // body is can be up to an origin.
  const bool too_long = (framing_ == Framing::None && offered != 0) ||
                        (framing_ == Framing::Length && offered > body_left_);
  if (too_long) {
    scratch_bytes_ = 0;
    return fail(Side::Self, Kind::Mismatch, "body longer than announced");
  }
  Sent sent;
  while (true) {
    size_t bytes = offered - sent.body_bytes;
    if (framing_ == Framing::Chunked && bytes != 0) {
      // What is offered becomes one chunk. Where the socket takes only part of it, the same chunk
      // goes on with what is offered next, which need not be the same bytes.
      if (chunk_left_ == 0) open_chunk(bytes);
      bytes = std::min(bytes, chunk_left_);
    }
    const auto written = write_once(wire, body, sent.body_bytes, bytes, now);
    if (!written) return fail(written.error());
    sent.socket_bytes += written->socket_bytes;
    sent.body_bytes += written->body_bytes;
    if (framing_ == Framing::Length) body_left_ -= written->body_bytes;
    if (framing_ == Framing::Chunked) chunk_left_ -= written->body_bytes;
    if (blocked_ || sent.body_bytes == offered) return sent;
  }
}

bool ResponseWriter::end_body() noexcept {
  if (!head_written_) return false;
  if (framing_ == Framing::Length) return body_left_ == 0;
  if (framing_ != Framing::Chunked) return true;
  if (chunk_left_ != 0) return false;
  const std::string_view last = chunk_open_ ? "\r\n0\r\n\r\n" : "0\r\n\r\n";
  if (unsent_ == nullptr) unsent_ = shared_.unsent.make();
  append_text(last);
  framing_ = Framing::None;
  return true;
}

}  // namespace segue::edge
