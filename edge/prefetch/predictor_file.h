// edge/prefetch/predictor_file.h - what a predictor has learned, as bytes and back.
//
//   "SEGUEPRD" | version u32 | rows u32 | owner u64 | text bytes u64 | rows of 88 bytes |
//   texts (length u16, bytes) | XXH3 of all before it
//
// In this machine's byte order: the file never leaves it. On load it is hostile.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edge/prefetch/predictor.h"

namespace segue::edge {

inline constexpr uint32_t kKnownTextBytesMax = 256;  // as kNoteTextBytesMax
inline constexpr uint64_t kPredictorFileBytesMax = Predictor::kMemoryMax + 64 * MiB;

/// Grows in pieces: rows first, then texts, then sealed.
class SavedPredictor {
 public:
  /// `bytes_max`: room for what will come, so that growing copies nothing; pages of it that are
  /// never written cost nothing. More is right, and slower.
  explicit SavedPredictor(uint64_t bytes_max = 0);
  /// See Predictor::append_rows().
  [[nodiscard]] uint64_t add_rows(const Predictor& predictor, uint64_t from, uint64_t most);
  /// The key text of a track that rows name; one that is too long is left out.
  void add_text(std::string_view text);
  /// `owner`: rows are of no use where tracks have other ids.
  [[nodiscard]] std::vector<std::byte> seal(uint64_t owner) &&;

 private:
  std::vector<std::byte> bytes_;
  uint64_t text_bytes_ = 0;
};

struct OpenedPredictor {
  std::span<const std::byte> rows;      // of the file
  std::vector<std::string_view> texts;  // likewise; not canonical until checked
};
/// The parts of a sealed file, whole and of this owner; views into `file`. The error is a sentence.
[[nodiscard]] std::expected<OpenedPredictor, std::string> open_saved(
    std::span<const std::byte> file, uint64_t owner);

}  // namespace segue::edge
