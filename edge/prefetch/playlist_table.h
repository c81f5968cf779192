// edge/prefetch/playlist_table.h - which segments follow which, out of the HLS playlists that went
// through: each version is read once while it is remembered, by whichever loop served it, and asked
// by all.
//
// Shared by all loops: one mutex, held for a look-up, for some entries of the index or for some
// playlists that make room; for what is no segment of a playlist it is not taken at all. Memory is
// bounded; the playlist that was used longest ago goes first.
//
// What is remembered was read by the present rules, which are the sites of one settings snapshot,
// and is nothing to requests by others: those that began before a reload, or whose loop was told
// of it first.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/byte_range.h"
#include "base/counter.h"
#include "base/ref.h"
#include "cache/types.h"
#include "edge/prefetch/target.h"

namespace segue::edge {

/// What became of playlists that were looked at; of the loop that served them.
struct PlaylistCounters {
  Counter read, multivariant, malformed, too_large, put_off;
};

/// What one playlist names, as keys of the cache: what was refused is not in it. Immutable once it
/// is shared.
class PlaylistItems final : public RefCounted {
 public:
  static constexpr uint32_t kNoMap = UINT32_MAX;
  struct Item {
    TrackId track = 0;
    ByteRange range;  // empty: all of it
    uint32_t text_at = 0;
    uint32_t text_bytes = 0;
    uint32_t map = kNoMap;  // in `maps`; of segments only
  };
  std::vector<Item> segments;
  std::vector<Item> maps;
  std::string texts;
  bool is_live = false;

  [[nodiscard]] std::string_view key_text(const Item& item) const noexcept {
    return std::string_view(texts).substr(item.text_at, item.text_bytes);
  }
  /// The segment that byte `first` of `track` lies in, looked for from segment `from` on, which is
  /// of that track. Nothing if the playlist names no such part.
  [[nodiscard]] std::optional<uint32_t> find(TrackId track, uint64_t first,
                                             uint32_t from) const noexcept;
  /// With what the allocator takes.
  [[nodiscard]] uint64_t bytes() const noexcept;
};

class PlaylistTable {
 public:
  /// A quarter of `bytes_max` is for the index of segments.
  explicit PlaylistTable(uint64_t bytes_max);

  /// What was remembered of that version; null: nothing.
  [[nodiscard]] Ref<const PlaylistItems> find(TrackId playlist, cache::Sequence version,
                                              const RefCounted& rules) noexcept;
  /// Remembers a version instead of the one before; not by other rules than the present ones.
  /// False: it is larger than the table.
  bool put(TrackId playlist, cache::Sequence version, const RefCounted& rules,
           const Ref<const PlaylistItems>& items);

  struct Place {
    TrackId playlist = 0;
    Ref<const PlaylistItems> items;
    uint32_t index = 0;  // of the first segment of that track
  };
  /// Where a playlist names `track` as a segment: the one read last, if several do. Cannot wait,
  /// cannot allocate.
  [[nodiscard]] std::optional<Place> find_segment(TrackId track, const RefCounted& rules) noexcept;
  /// Keys are made by these rules from here on, and all that is remembered goes. Until the first
  /// ones nothing is remembered.
  void renew(Ref<const RefCounted> rules);
  /// Another snapshot, by whose rules keys are the same: what is remembered stays.
  void keep(Ref<const RefCounted> rules);

  /// Any thread.
  [[nodiscard]] uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Remembered {
    TrackId playlist = 0;
    cache::Sequence version;
    Ref<const PlaylistItems> items;
  };
  using Order = std::list<Remembered>;  // the one used last in front
  // An entry may be of what is not remembered any more; who finds it looks there.
  struct Entry {
    std::atomic<TrackId> segment{0};  // written under the mutex, read by any thread
    TrackId playlist = 0;
    uint32_t index = 0;
  };
  static constexpr uint32_t kWays = 4;
  static constexpr uint32_t kEntriesAtOnce = 64;
  static constexpr uint32_t kForgottenAtOnce = 16;
  using Set = std::array<Entry, kWays>;

  [[nodiscard]] static uint64_t cost_of(const PlaylistItems& items) noexcept;
  [[nodiscard]] Set& set_of(TrackId segment) noexcept;
  [[nodiscard]] static Entry* find_entry(Set& set, TrackId segment) noexcept;
  bool try_enter(Order& fresh, Order& gone);
  void forget(Order::iterator at, Order& gone);
  void enter(TrackId playlist, const PlaylistItems& items, uint32_t from, uint32_t end) noexcept;

  // constant after construction
  const uint64_t items_bytes_max_;
  std::vector<Set> sets_;  // as many
  // under the mutex
  std::mutex mutex_;
  Ref<const RefCounted> rules_;
  Order order_;
  std::unordered_map<TrackId, Order::iterator> by_playlist_;
  uint32_t next_way_ = 0;
  // atomic: written under the mutex, read by any thread
  std::atomic<uint64_t> count_{0}, bytes_{0};
};

}  // namespace segue::edge
