// edge/fill/troubles.h - keys whose origin request has just failed: for a second nobody asks for
// them again, so that a failing origin is not hammered by those who waited for the failure.
#pragma once
#include <array>
#include <chrono>
#include <optional>

#include "base/hash.h"
#include "base/loop/clock.h"
#include "base/result.h"

namespace segue::edge {

/// How long a failure is remembered. Longer would keep a listener from an origin that is back; the
/// breaker of the Fetcher watches whole servers.
inline constexpr std::chrono::seconds kTroubleFor{1};

/// Loop-owned. A key that is pushed out by another costs one more request, nothing else.
class Troubles {
 public:
  struct Trouble {
    Error error;
    /// The origin answered, but with nothing to keep: go there each on one's own.
    bool pass = false;
  };
  void note(const KeyHash& key, MonoTime now, Trouble trouble) noexcept {
    const uint32_t before = count(key);
    entry(key) = {key, now + kTroubleFor, trouble, before + 1};
  }
  void forget(const KeyHash& key) noexcept {
    if (entry(key).key == key) entry(key).until = {};
  }
  [[nodiscard]] std::optional<Trouble> find(const KeyHash& key, MonoTime now) const noexcept {
    const Entry& found = entries_[index(key)];
    if (found.key != key || now >= found.until) return std::nullopt;
    return found.trouble;
  }
  /// How many were noted of this key so far: grows, or falls to 0 when another key took its place.
  [[nodiscard]] uint32_t count(const KeyHash& key) const noexcept {
    const Entry& found = entries_[index(key)];
    return found.key == key ? found.count : 0;
  }

 private:
  static constexpr size_t kEntries = 1024;
  struct Entry {
    KeyHash key;
    MonoTime until{};
    Trouble trouble;
    uint32_t count = 0;
  };
  static size_t index(const KeyHash& key) noexcept { return key.low % kEntries; }
  Entry& entry(const KeyHash& key) noexcept { return entries_[index(key)]; }
  std::array<Entry, kEntries> entries_;
};

}  // namespace segue::edge
