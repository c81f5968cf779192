#include "edge/server/h2_priority.h"

#include <tuple>

#include "http/structured.h"

namespace segue::edge {

Http2Priority parse_priority(std::string_view value) noexcept {
  Http2Priority priority;
  const auto dictionary = http::parse_dictionary(value);
  if (!dictionary || dictionary->empty()) return priority;
  priority.incremental = false;  // whoever says something means RFC 9218's defaults
  const http::DictionaryMember* urgency = dictionary->find("u");
  const bool in_range = urgency != nullptr &&
                        urgency->value.type == http::BareItem::Type::Integer &&
                        urgency->value.integer >= 0 && urgency->value.integer <= 7;
  if (in_range) priority.urgency = static_cast<uint8_t>(urgency->value.integer);
  const http::DictionaryMember* incremental = dictionary->find("i");
  if (incremental != nullptr && incremental->value.type == http::BareItem::Type::Boolean)
    priority.incremental = incremental->value.boolean;
  return priority;
}

/// Those that are to be whole go first, in the order they were asked for (RFC 9218 §10); the others
/// share by turns.
bool Http2Schedule::goes_before(const Http2Claim& a, const Http2Claim& b) noexcept {
  const auto rank = [](const Http2Claim& claim) {
    const bool shares = claim.priority.incremental;
    return std::tuple(claim.priority.urgency, shares, shares ? claim.served : uint64_t{0},
                      claim.stream);
  };
  return rank(a) < rank(b);
}

bool Http2Schedule::may_send(const Http2Claim& claim) const noexcept {
  if (floor_ == &claim && alms_) return true;
  if (floor_ != nullptr && floor_ != &claim && !goes_before(claim, *floor_)) return false;
  for (const Http2Claim* other : claims_) {
    if (other != &claim && other->waiting && other->sendable && goes_before(*other, claim))
      return false;
  }
  return true;
}

Http2Claim* Http2Schedule::give_floor() noexcept {
  Http2Claim* first = nullptr;
  Http2Claim* longest = nullptr;
  for (Http2Claim* claim : claims_) {
    if (!claim->waiting || !claim->sendable) continue;
    if (first == nullptr || goes_before(*claim, *first)) first = claim;
    if (longest == nullptr || claim->served < longest->served) longest = claim;
  }
  alms_ = since_alms_ >= kBatchesPerAlms && longest != first;
  if (alms_) {
    since_alms_ = 0;
    first = longest;
  }
  floor_ = first;
  if (floor_ != nullptr) floor_->waiting = false;
  return floor_;
}

void Http2Schedule::count_batch(Http2Claim& claim) noexcept {
  claim.served = ++batches_;
  ++since_alms_;
  if (floor_ == &claim && alms_) alms_ = false;  // that was it
}

}  // namespace segue::edge
