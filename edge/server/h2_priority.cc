#include "edge/server/h2_priority.h"

#include <algorithm>
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

uint64_t Http2Schedule::served(const Http2Claim& claim) const noexcept {
  return std::max(claim.served, reached_[claim.priority.urgency]);
}

/// Those that are to be whole go first, in the order they were asked for (RFC 9218 §10); the others
/// share.
bool Http2Schedule::goes_before(const Http2Claim& a, const Http2Claim& b) const noexcept {
  const auto rank = [this](const Http2Claim& claim) {
    const bool shares = claim.priority.incremental;
    return std::tuple(!claim.is_head, claim.priority.urgency, shares,
                      shares ? served(claim) : uint64_t{0}, claim.stream);
  };
  return rank(a) < rank(b);
}

void Http2Schedule::set_priority(Http2Claim& claim, Http2Priority priority) noexcept {
  if (claim.priority == priority) return;
  claim.priority = priority;
  claim.served = 0;
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
    if (longest == nullptr || claim->batch < longest->batch) longest = claim;
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

void Http2Schedule::count_batch(Http2Claim& claim, size_t bytes) noexcept {
  const bool was_alms = floor_ == &claim && alms_;
  const uint64_t began = served(claim);
  // Alms come out of turn: they say nothing of how far the others are.
  if (claim.priority.incremental && !was_alms) reached_[claim.priority.urgency] = began;
  claim.served = began + bytes;
  claim.batch = ++batches_;
  ++since_alms_;
  if (was_alms) alms_ = false;  // that was it
}

}  // namespace segue::edge
