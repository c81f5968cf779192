// http/byte_scan.h - tests eight bytes of text at a time. The parsers look at every byte a client
// sends, so this is where their time goes; plain 64-bit arithmetic, no special instructions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace segue::http {

inline constexpr uint64_t kEachByte = 0x0101010101010101ULL;
inline constexpr uint64_t kHighBits = 0x8080808080808080ULL;

/// High bit set in at least one byte iff some byte of `word` is below `limit` (1..128). Bytes above
/// the first such one may be flagged wrongly, which is why callers only ask "is there any".
[[nodiscard]] constexpr uint64_t any_below(uint64_t word, uint8_t limit) noexcept {
  return (word - kEachByte * limit) & ~word & kHighBits;
}
[[nodiscard]] constexpr uint64_t any_equal(uint64_t word, uint8_t byte) noexcept {
  return any_below(word ^ (kEachByte * byte), 1);
}

/// True if every byte of `text` is good. `word_is_good` may say no to a word whose bytes are all
/// good, never yes to one with a bad byte; `is_good` decides then, and at the end of the text.
template <class WordIsGood, class IsGood>
[[nodiscard]] bool all_bytes(std::string_view text, WordIsGood word_is_good,
                             IsGood is_good) noexcept {
  const char* at = text.data();
  size_t left = text.size();
  while (left >= sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    if (!word_is_good(word)) {
      for (size_t i = 0; i < sizeof word; ++i) {
        if (!is_good(at[i])) return false;
      }
    }
    at += sizeof word;
    left -= sizeof word;
  }
  for (size_t i = 0; i < left; ++i) {
    if (!is_good(at[i])) return false;
  }
  return true;
}

}  // namespace segue::http
