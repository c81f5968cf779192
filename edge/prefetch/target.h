// edge/prefetch/target.h - a track as the planner and whoever fetches for it know it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "base/limits.h"
#include "base/ref.h"
#include "edge/fill/site.h"

namespace segue::edge {

/// Low half of the cache key's hash under the node's seed: enough to tell tracks apart in tables
/// that only guide what is fetched early.
using TrackId = uint64_t;
constexpr TrackId track_of(const KeyHash& key) noexcept { return key.low; }
/// A part of a track from slice number `slice` on is held and judged apart from its beginning.
[[nodiscard]] constexpr TrackId part_of(TrackId track, uint64_t slice) noexcept {
  return slice == 0 ? track : mix(track ^ mix(slice ^ 0x70617274));
}

/// Whom an access token names, or a feed, by the hash of that text under the node's seed. Never 0.
constexpr uint64_t listener_of(const KeyHash& name) noexcept { return name.low | 1; }

/// What the targets that are alive cost, whoever holds them: texts come from feeds and clients, and
/// a track may be named ten thousand times. Of the planner's loop.
struct TargetBytes {
  uint64_t alive = 0;
};

struct PrefetchTarget final : public RefCounted {
  PrefetchTarget() = default;
  /// Counted in `counted_in`, which outlives it; null: nowhere.
  PrefetchTarget(Ref<const Site> site_in, const KeyHash& key_in, std::string_view text,
                 TargetBytes* counted_in)
      : site(std::move(site_in)), key(key_in), key_text(text), counted(counted_in) {
    if (counted != nullptr) counted->alive += bytes();
  }
  ~PrefetchTarget() override {
    if (counted != nullptr) counted->alive -= bytes();
  }
  PrefetchTarget(const PrefetchTarget&) = delete;
  PrefetchTarget& operator=(const PrefetchTarget&) = delete;

  Ref<const Site> site;
  KeyHash key;
  std::string key_text;  // "<site><path>[?query]"
  TargetBytes* const counted = nullptr;

  /// With what the allocator takes for two blocks.
  [[nodiscard]] uint64_t bytes() const noexcept {
    return sizeof(PrefetchTarget) + key_text.capacity() + 32;
  }
  [[nodiscard]] std::string_view origin_target() const noexcept {
    return std::string_view(key_text).substr(site->name.size());
  }
};

}  // namespace segue::edge
