// edge/server/h2_shared.h - what the HTTP/2 connections of one loop share. Internal to edge/server.
#pragma once
#include <nghttp2/nghttp2.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "base/assert.h"
#include "base/counter.h"
#include "base/units.h"
#include "edge/server/h2_stream.h"
#include "edge/server/memory_pool.h"

namespace segue::edge {

/// Where one batch of frames is put together: heads and frame headers as text, payloads as pieces
/// of what is pinned. Used within one call.
class Http2Batch {
 public:
  /// nghttp2 hands out one frame of at most 16 KiB at a time.
  static constexpr size_t kFrameBytesMax = 16 * KiB + 64;

  void begin() noexcept { text_bytes_ = count_ = bytes_ = 0; }
  /// One more frame of ours, and one more of a payload, would fit.
  [[nodiscard]] bool has_room() const noexcept {
    return text_.size() - text_bytes_ >= kFrameBytesMax && pieces_.size() - count_ >= 3;
  }
  /// At most kFrameBytesMax where has_room().
  void add_text(std::string_view text) noexcept {
    SEGUE_ASSERT(text.size() <= text_.size() - text_bytes_);
    char* at = text_.data() + text_bytes_;
    std::memcpy(at, text.data(), text.size());
    text_bytes_ += text.size();
    bytes_ += text.size();
    const bool follows =
        count_ > 0 &&
        static_cast<char*>(pieces_[count_ - 1].iov_base) + pieces_[count_ - 1].iov_len == at;
    if (follows) {
      pieces_[count_ - 1].iov_len += text.size();
    } else {
      pieces_[count_++] = {at, text.size()};
    }
  }
  void add_payload(iovec payload) noexcept {
    pieces_[count_++] = payload;
    bytes_ += payload.iov_len;
  }
  [[nodiscard]] std::span<const iovec> pieces() const noexcept {
    return std::span(pieces_).first(count_);
  }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }

 private:
  std::array<char, 4 * kFrameBytesMax> text_;  // not initialised
  std::array<iovec, 64> pieces_;
  size_t text_bytes_ = 0;
  size_t count_ = 0;
  size_t bytes_ = 0;
};

struct Http2CallbacksFree {
  void operator()(nghttp2_session_callbacks* callbacks) const noexcept {
    nghttp2_session_callbacks_del(callbacks);
  }
};
struct Http2OptionFree {
  void operator()(nghttp2_option* option) const noexcept { nghttp2_option_del(option); }
};

/// Loop-owned; outlives the connections.
struct Http2Shared {
  static constexpr uint32_t kStreamsKeptMax = 256;

  Http2Shared();
  /// Where nghttp2 finds a body; its source is the Http2Stream.
  [[nodiscard]] static nghttp2_data_source_read_callback read_callback() noexcept;

  std::unique_ptr<nghttp2_session_callbacks, Http2CallbacksFree> callbacks;
  std::unique_ptr<nghttp2_option, Http2OptionFree> option;
  ObjectPool<Http2Stream> streams{kStreamsKeptMax};
  Counter memory_bytes;  // gauge: of nghttp2, all connections
  Http2Batch batch;
  std::array<char, 16 * KiB> received;  // between read and parse; not initialised
};

}  // namespace segue::edge
