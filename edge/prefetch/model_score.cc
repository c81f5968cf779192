#include "edge/prefetch/model_score.h"

#include <algorithm>

namespace segue::edge {

std::string_view name_of(PrefetchSource source) noexcept {
  constexpr std::string_view kNames[kPrefetchSources] = {"file", "post", "nats"};
  return kNames[static_cast<uint8_t>(source)];
}

void ModelScore::record_lead(std::chrono::nanoseconds took) noexcept {
  const auto bound =
      std::ranges::upper_bound(kLeadBounds, std::chrono::floor<std::chrono::seconds>(took).count());
  lead[static_cast<size_t>(bound - kLeadBounds.begin())].add();
  lead_ms_sum.add(static_cast<uint64_t>(std::max<int64_t>(took / std::chrono::milliseconds{1}, 0)));
}

uint32_t ModelScores::find_or_add(std::string_view name) noexcept {
  std::array<char, kNameBytesMax> clean{};
  if (name.empty()) name = "unnamed";
  name = name.substr(0, kNameBytesMax);
  std::ranges::transform(name, clean.begin(), [](char c) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.:/").find(c) != std::string_view::npos;
    return plain ? c : '_';
  });
  const std::string_view wanted(clean.data(), name.size());
  const uint32_t count = count_.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < count; ++i) {
    if (this->name(i) == wanted) return i;
  }
  if (count == kPrefetchModelsMax) return count - 1;
  Entry& entry = entries_[count];
  const std::string_view kept = count + 1 == kPrefetchModelsMax ? "other" : wanted;
  std::ranges::copy(kept, entry.name.begin());
  entry.name_bytes = static_cast<uint32_t>(kept.size());
  count_.store(count + 1, std::memory_order_release);
  return count;
}

}  // namespace segue::edge
