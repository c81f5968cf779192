// http/chunked.h - the strict decoder of the chunked transfer coding (RFC 9112 §7.1), for request
// bodies that are drained. Resumable at every byte, no allocation; sizes, extensions and trailers
// are bounded. Bare LF, signs, spaces around a size, "0x" and underscores are refused.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace segue::http {

inline constexpr uint32_t kChunkExtensionBytesMax = 4096;  // of one body, all chunks together
inline constexpr uint32_t kTrailerBytesMax = 8192;

class ChunkedDecoder {
 public:
  enum class Status : uint8_t {
    NeedMore,  // all bytes are used up, the body goes on
    Data,      // `data` holds payload; call again with what follows `consumed`
    Complete,  // the last chunk and the trailer section are in
    Malformed,
    TooLong,  // over the bound given to the constructor, or too many extension or trailer bytes
  };
  struct Step {
    Status status = Status::NeedMore;
    size_t consumed = 0;         // bytes of the input used by this step
    std::span<const char> data;  // part of the input; with Status::Data only
  };

  /// More payload than `body_bytes_max` is TooLong.
  explicit ChunkedDecoder(uint64_t body_bytes_max) noexcept : body_bytes_max_(body_bytes_max) {}

  /// Decodes from `bytes`, which continue where the last step stopped. After Complete, Malformed or
  /// TooLong every further call says the same and consumes nothing.
  [[nodiscard]] Step decode(std::span<const char> bytes) noexcept;

  /// Payload bytes decoded so far.
  [[nodiscard]] uint64_t body_bytes() const noexcept { return body_bytes_; }

 private:
  enum class State : uint8_t {
    SizeFirst,
    Size,
    Extension,
    SizeLf,
    Payload,
    PayloadCr,
    PayloadLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    Malformed,
    TooLong,
  };
  State take(char c) noexcept;
  State take_size(char c) noexcept;
  State take_trailer(char c) noexcept;

  const uint64_t body_bytes_max_;
  State state_ = State::SizeFirst;
  uint32_t size_digits_ = 0;
  uint64_t chunk_left_ = 0;
  uint64_t body_bytes_ = 0;
  uint32_t extension_bytes_ = 0;
  uint32_t trailer_bytes_ = 0;
};

}  // namespace segue::http
