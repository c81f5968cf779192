#include "edge/metrics/byte_coverage.h"

#include <algorithm>

namespace segue::edge {

uint64_t ByteCoverage::add(uint64_t first, uint64_t end) noexcept {
  if (first >= end) return 0;
  const uint64_t added = end - first - within(first, end);
  uint32_t kept = 0;
  uint32_t before = 0;  // spans that lie wholly in front of the new one
  Span whole{first, end};
  for (uint32_t i = 0; i < count_; ++i) {
    const Span span = spans_[i];
    if (span.end < whole.first || span.first > whole.end) {
      if (span.end < whole.first) ++before;
      spans_[kept++] = span;
    } else {
      whole = {std::min(whole.first, span.first), std::max(whole.end, span.end)};
    }
  }
  std::move_backward(spans_.begin() + before, spans_.begin() + kept, spans_.begin() + kept + 1);
  spans_[before] = whole;
  count_ = kept + 1;
  if (count_ > kSpansMax) join_nearest();
  return added;
}

uint64_t ByteCoverage::within(uint64_t first, uint64_t end) const noexcept {
  uint64_t covered = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    const uint64_t from = std::max(first, spans_[i].first);
    const uint64_t to = std::min(end, spans_[i].end);
    if (from < to) covered += to - from;
  }
  return covered;
}

void ByteCoverage::join_nearest() noexcept {
  uint32_t best = 0;
  for (uint32_t i = 1; i + 1 < count_; ++i) {
    const auto gap_behind = [this](uint32_t at) { return spans_[at + 1].first - spans_[at].end; };
    if (gap_behind(i) < gap_behind(best)) best = i;
  }
  spans_[best].end = spans_[best + 1].end;
  std::move(spans_.begin() + best + 2, spans_.begin() + count_, spans_.begin() + best + 1);
  --count_;
}

}  // namespace segue::edge
