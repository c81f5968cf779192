#include "cache/ghost_list.h"

#include <algorithm>

namespace segue::cache {

GhostList::GhostList(uint32_t capacity)
    : sets_((capacity + kWays - 1) / kWays),
      entries_(std::make_unique<uint64_t[]>(size_t{sets_} * kWays)) {}

// The fingerprint's own low and high bits choose the shard and the index bucket, so within one
// shard they are not free to choose a set: mix again.
uint64_t* GhostList::set_of(uint64_t mixed) const noexcept {
  const uint64_t set = ((mixed & UINT32_MAX) * sets_) >> 32;
  return entries_.get() + set * kWays;
}

uint64_t GhostList::tag_of(uint64_t mixed) noexcept {
  // 39 bits of the hash and one that is always set, so that no ghost looks like an empty place.
  return (mixed >> kUseBits | 1) << kUseBits;
}

uint64_t GhostList::use_tag(UseId use) noexcept { return mix(use.value) >> (64 - kUseBits); }

GhostList::Seen GhostList::find(uint64_t fingerprint, UseId use) const noexcept {
  if (sets_ == 0) return Seen::Never;
  const uint64_t mixed = mix(fingerprint);
  const uint64_t* set = set_of(mixed);
  for (uint32_t way = 0; way < kWays; ++way) {
    if ((set[way] ^ tag_of(mixed)) >> kUseBits != 0) continue;
    const uint64_t seen_use = set[way] & ((uint64_t{1} << kUseBits) - 1);
    return seen_use == use_tag(use) ? Seen::SameUse : Seen::AnotherUse;
  }
  return Seen::Never;
}

void GhostList::add(uint64_t fingerprint, UseId use) noexcept {
  if (sets_ == 0) return;
  take(fingerprint);
  const uint64_t mixed = mix(fingerprint);
  uint64_t* set = set_of(mixed);
  if (set[kWays - 1] == 0) ++size_;
  std::copy_backward(set, set + kWays - 1, set + kWays);
  set[0] = tag_of(mixed) | use_tag(use);
}

bool GhostList::take(uint64_t fingerprint) noexcept {
  if (sets_ == 0) return false;
  const uint64_t mixed = mix(fingerprint);
  uint64_t* set = set_of(mixed);
  for (uint32_t way = 0; way < kWays; ++way) {
    if ((set[way] ^ tag_of(mixed)) >> kUseBits != 0) continue;
    std::copy(set + way + 1, set + kWays, set + way);
    set[kWays - 1] = 0;
    --size_;
    return true;
  }
  return false;
}

}  // namespace segue::cache
