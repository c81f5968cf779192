// edge/prefetch/target.h - a track as the planner and whoever fetches for it know it.
#pragma once
#include <string>
#include <string_view>

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

struct PrefetchTarget final : public RefCounted {
  Ref<const Site> site;
  KeyHash key;
  std::string key_text;  // "<site><path>[?query]"
  [[nodiscard]] std::string_view origin_target() const noexcept {
    return std::string_view(key_text).substr(site->name.size());
  }
};

}  // namespace segue::edge
