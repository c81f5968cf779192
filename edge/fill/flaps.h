// edge/fill/flaps.h - keys whose origin names another version again and again: a server that makes
// an ETag of the time, or several that disagree. Every new version costs the slices of the one
// before and cuts who is listening to it, so such a key is not stored for a while: each request
// gets the whole of its own answer. A version of one slice costs nothing by its end and is not
// noted.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>

#include "base/hash.h"
#include "base/loop/clock.h"

namespace segue::edge {

/// So many new versions of one key within the window are no edits.
inline constexpr uint32_t kFlapsMax = 3;
inline constexpr std::chrono::seconds kFlapWindow{60};

/// Loop-owned. A key that is pushed out by another is counted anew, nothing else.
class Flaps {
 public:
  /// A stored version of the key turned out not to be the origin's any more.
  void note(const KeyHash& key, MonoTime now) noexcept {
    Entry& found = entries_[index(key)];
    if (found.key != key || now - found.since > kFlapWindow) found = {key, now, 0};
    ++found.count;
  }
  [[nodiscard]] bool flaps(const KeyHash& key, MonoTime now) const noexcept {
    const Entry& found = entries_[index(key)];
    return found.key == key && found.count >= kFlapsMax && now - found.since <= kFlapWindow;
  }

 private:
  static constexpr size_t kEntries = 1024;
  struct Entry {
    KeyHash key;
    MonoTime since{};
    uint32_t count = 0;
  };
  static size_t index(const KeyHash& key) noexcept { return key.low % kEntries; }
  std::array<Entry, kEntries> entries_;
};

}  // namespace segue::edge
