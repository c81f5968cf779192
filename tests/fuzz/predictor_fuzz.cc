// The file of a predictor, its checksum made right: what is taken gives guesses that are
// probabilities, and comes out as rows again.
#include <cmath>
#include <cstring>
#include <vector>

#include "edge/prefetch/predictor_file.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace segue;
  constexpr uint64_t kOwner = 7;
  constexpr uint32_t kMinute = 29'000'000;
  const auto body = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(body.begin(), body.end());
  const uint64_t sum = checksum(file);
  file.resize(size + sizeof sum);
  std::memcpy(file.data() + size, &sum, sizeof sum);
  const auto opened = edge::open_saved(file, kOwner);
  if (!opened) {
    SEGUE_ASSERT(!opened.error().empty());
    return 0;
  }
  for (const std::string_view text : opened->texts)
    SEGUE_ASSERT(!text.empty() && text.size() <= edge::kKnownTextBytesMax);
  edge::Predictor predictor({.memory_bytes = 16 * KiB});
  if (!predictor.take_rows(opened->rows, kMinute)) {
    SEGUE_ASSERT(predictor.rows() == 0);
    return 0;
  }
  edge::PlayBegun play{.session = 1, .listener = 2, .track = 3, .kin = 4, .minute = kMinute};
  (void)predictor.see(play);
  play.track = 5;
  play.minute += 1;
  (void)predictor.see(play);
  std::array<edge::Guess, edge::Predictor::kGuessesMax> guesses;
  const uint32_t count = predictor.guess(play, guesses);
  for (uint32_t i = 0; i < count; ++i) {
    SEGUE_ASSERT(guesses[i].probability >= 0);
    SEGUE_ASSERT(guesses[i].probability <= 1.01);
  }
  edge::SavedPredictor saved;
  SEGUE_ASSERT(saved.add_rows(predictor, 0, UINT32_MAX) == 0);
  const std::vector<std::byte> again = std::move(saved).seal(kOwner);
  const auto reopened = edge::open_saved(again, kOwner);
  SEGUE_ASSERT(reopened.has_value());
  edge::Predictor second({.memory_bytes = 16 * KiB});
  SEGUE_ASSERT(second.take_rows(reopened->rows, kMinute).has_value());
  return 0;
}
