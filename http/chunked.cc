#include "http/chunked.h"

#include <algorithm>

#include "http/header_fields.h"

namespace segue::http {
namespace {

constexpr uint32_t kSizeDigitsMax = 16;  // as many as 64 bits take

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool is_text(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::decode(std::span<const char> bytes) noexcept {
  size_t used = 0;
  while (true) {
    switch (state_) {
      case State::Done:
        return {.status = Status::Complete, .consumed = used, .data = {}};
      case State::Malformed:
        return {.status = Status::Malformed, .consumed = used, .data = {}};
      case State::TooLong:
        return {.status = Status::TooLong, .consumed = used, .data = {}};
      case State::Payload: {
        if (used == bytes.size()) break;
        const size_t take =
            static_cast<size_t>(std::min<uint64_t>(chunk_left_, bytes.size() - used));
        chunk_left_ -= take;
        body_bytes_ += take;
        if (chunk_left_ == 0) state_ = State::PayloadCr;
        return {.status = Status::Data, .consumed = used + take, .data = bytes.subspan(used, take)};
      }
      default:
        break;
    }
    if (used == bytes.size()) return {.status = Status::NeedMore, .consumed = used, .data = {}};
    state_ = take(bytes[used]);
    if (state_ != State::Malformed && state_ != State::TooLong) ++used;
  }
}

ChunkedDecoder::State ChunkedDecoder::take(char c) noexcept {
  switch (state_) {
    case State::SizeFirst:
    case State::Size:
      return take_size(c);
    case State::Extension:
      if (c == '\r') return State::SizeLf;
      if (!is_text(c)) return State::Malformed;
      return ++extension_bytes_ > kChunkExtensionBytesMax ? State::TooLong : State::Extension;
    case State::SizeLf:
      if (c != '\n') return State::Malformed;
      if (chunk_left_ == 0) return State::TrailerStart;
      // Judged by what is announced: nothing of a chunk that cannot fit is taken.
      return chunk_left_ > body_bytes_max_ - body_bytes_ ? State::TooLong : State::Payload;
    case State::PayloadCr:
      return c == '\r' ? State::PayloadLf : State::Malformed;
    case State::PayloadLf:
      return c == '\n' ? State::SizeFirst : State::Malformed;
    case State::EndLf:
      return c == '\n' ? State::Done : State::Malformed;
    default:
      return take_trailer(c);
  }
}

ChunkedDecoder::State ChunkedDecoder::take_size(char c) noexcept {
  const bool is_first = state_ == State::SizeFirst;
  const int digit = hex_digit(c);
  if (digit >= 0) {
    if (is_first) size_digits_ = 0;
    if (is_first) chunk_left_ = 0;
    if (++size_digits_ > kSizeDigitsMax) return State::Malformed;
    chunk_left_ = chunk_left_ * 16 + static_cast<uint64_t>(digit);
    return State::Size;
  }
  if (is_first) return State::Malformed;
  if (c == '\r') return State::SizeLf;
  return c == ';' ? State::Extension : State::Malformed;
}

ChunkedDecoder::State ChunkedDecoder::take_trailer(char c) noexcept {
  if (++trailer_bytes_ > kTrailerBytesMax) return State::TooLong;
  switch (state_) {
    case State::TrailerStart:
      if (c == '\r') return State::EndLf;
      return is_token_char(c) ? State::TrailerName : State::Malformed;
    case State::TrailerName:
      if (c == ':') return State::TrailerValue;
      return is_token_char(c) ? State::TrailerName : State::Malformed;
    case State::TrailerValue:
      if (c == '\r') return State::TrailerLf;
      return is_text(c) ? State::TrailerValue : State::Malformed;
    case State::TrailerLf:
      return c == '\n' ? State::TrailerStart : State::Malformed;
    default:
      return State::Malformed;
  }
}

}  // namespace segue::http
