// edge/delivery/miss_notes.h - why the last request for a key was no hit, for `segue explain`. One
// for each loop, of fixed size: a newer note takes the place of an older one of another key.
#pragma once
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/loop/clock.h"
#include "edge/metrics/access_record.h"

namespace segue::edge {

struct Exchange;

/// Remembered per loop, 64 bytes each; allocated at start.
inline constexpr uint32_t kMissNotesPerLoop = 4096;

struct MissNote {
  WallTime when{};  // it ended
  int status = 0;
  CacheResult result = CacheResult::None;
  /// Why the origin was asked (RFC 9211), or the kind of the error; static storage.
  std::string_view reason;
  uint32_t slices_hit = 0;
  uint32_t slices_needed = 0;
};

class MissNotes {
 public:
  MissNotes() : entries_(kMissNotesPerLoop) {}
  /// Of the loop that owns the notes. Cannot wait for more than one look, cannot allocate.
  void add(KeyHash key, const MissNote& note) noexcept;
  /// The latest note of `key` that is still here. Any thread.
  [[nodiscard]] std::optional<MissNote> find(KeyHash key) const noexcept;

 private:
  struct Entry {
    KeyHash key;
    MissNote note;  // the oldest of all while none was made
  };
  static_assert(sizeof(Entry) <= 64);
  /// A key can only be in these: the first of them.
  [[nodiscard]] static size_t set_of(KeyHash key) noexcept;

  mutable std::mutex mutex_;  // held for a look at one set
  std::vector<Entry> entries_;
};

/// What is to be remembered of a request that ends now; nothing if it was a hit, or if its key was
/// not what failed (a method, a host).
[[nodiscard]] std::optional<MissNote> miss_note_of(const Exchange& exchange, WallTime now) noexcept;

}  // namespace segue::edge
