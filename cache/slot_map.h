// cache/slot_map.h - finds a slot by its fingerprint: open addressing, 5 bytes per slot.
//
// An entry is 24 bits of slot number and 8 bits of fingerprint, so a probe looks at the slot's full
// fingerprint (another cache line) once in 256 places that are not it. Linear probing at a load of
// at most 0.8; deletion shifts back, so there are no tombstones to sweep. The owner's mutex guards
// it.
#pragma once
#include <cstdint>
#include <memory>

#include "base/assert.h"
#include "cache/eviction.h"

namespace segue::cache {

class SlotMap {
 public:
  /// `fingerprints[slot]` is the fingerprint of each slot that is entered; outlives the map.
  SlotMap(uint32_t slots, const uint64_t* fingerprints)
      : places_(slots + slots / 4 + 2),
        entries_(std::make_unique<uint32_t[]>(places_)),
        fingerprints_(fingerprints) {}

  /// kNoEntry if it is not here.
  [[nodiscard]] uint32_t find(uint64_t fingerprint) const noexcept {
    for (uint32_t place = home_of(fingerprint); entries_[place] != 0; place = after(place)) {
      if ((entries_[place] ^ tag_of(fingerprint)) >> kSlotBits != 0) continue;
      const uint32_t slot = slot_at(place);
      if (fingerprints_[slot] == fingerprint) return slot;
    }
    return kNoEntry;
  }

  /// Start-up: the place of `fingerprint` will be asked for soon.
  void prefetch(uint64_t fingerprint) const noexcept {
    __builtin_prefetch(&entries_[home_of(fingerprint)], 1);
  }

  /// Enters `slot` under fingerprints[slot], which is not here yet.
  void insert(uint32_t slot) noexcept {
    const uint64_t fingerprint = fingerprints_[slot];
    uint32_t place = home_of(fingerprint);
    while (entries_[place] != 0) place = after(place);
    entries_[place] = tag_of(fingerprint) | (slot + 1);
  }

  /// Takes `slot`, which is here, out.
  void erase(uint32_t slot) noexcept {
    uint32_t hole = home_of(fingerprints_[slot]);
    while (entries_[hole] == 0 || slot_at(hole) != slot) {
      SEGUE_DEBUG_ASSERT(entries_[hole] != 0);
      hole = after(hole);
    }
    for (uint32_t place = after(hole); entries_[place] != 0; place = after(place)) {
      // An entry may move back into the hole unless its home lies behind the hole.
      const uint32_t home = home_of(fingerprints_[slot_at(place)]);
      if (distance(home, place) < distance(hole, place)) continue;
      entries_[hole] = entries_[place];
      hole = place;
    }
    entries_[hole] = 0;
  }

  [[nodiscard]] uint64_t bytes() const noexcept { return uint64_t{places_} * sizeof(uint32_t); }

 private:
  static constexpr uint32_t kSlotBits = 24;

  // Low bits choose the home, bits 32..39 are the tag, the top ones chose the shard.
  [[nodiscard]] uint32_t home_of(uint64_t fingerprint) const noexcept {
    return static_cast<uint32_t>(((fingerprint & UINT32_MAX) * places_) >> 32);
  }
  [[nodiscard]] static uint32_t tag_of(uint64_t fingerprint) noexcept {
    return static_cast<uint32_t>(fingerprint >> 32) << kSlotBits;
  }
  [[nodiscard]] uint32_t slot_at(uint32_t place) const noexcept {
    return (entries_[place] & ((1U << kSlotBits) - 1)) - 1;
  }
  [[nodiscard]] uint32_t after(uint32_t place) const noexcept {
    return place + 1 == places_ ? 0 : place + 1;
  }
  [[nodiscard]] uint32_t distance(uint32_t from, uint32_t to) const noexcept {
    return to >= from ? to - from : to + places_ - from;
  }

  // constant after construction
  const uint32_t places_;
  std::unique_ptr<uint32_t[]> entries_;  // 0: empty
  const uint64_t* const fingerprints_;
};

}  // namespace segue::cache
