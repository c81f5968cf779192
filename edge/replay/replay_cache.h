// edge/replay/replay_cache.h - the two tiers of a node without bytes, drives or loops: the RAM tier
// and a drive's index as they are, under a virtual clock. A read or a write is done at once.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/byte_range.h"
#include "base/result.h"
#include "cache/drive_index.h"
#include "cache/ram_tier.h"
#include "edge/prefetch/target.h"
#include "edge/replay/trace.h"

namespace segue::edge {

class ReplayCache final : public cache::SliceKeeper {
 public:
  struct Options {
    uint64_t ram_bytes = 0;  // of buffers
    uint64_t ssd_bytes = 0;  // of the drive's file; 0: no drive
    uint8_t probation_percent = 10;
    uint8_t heads_percent = 0;  // for heads of tracks that start often
    uint64_t write_bytes_per_second = 0;
    cache::EvictionPolicy policy = cache::EvictionPolicy::Lru;
  };
  /// Both outlive it. Errors: sizes that cannot be.
  [[nodiscard]] static Result<std::unique_ptr<ReplayCache>> create(const Options& options,
                                                                   const Trace& trace,
                                                                   const Clock& clock);
  ~ReplayCache();
  ReplayCache(const ReplayCache&) = delete;
  ReplayCache& operator=(const ReplayCache&) = delete;

  enum class Found : uint8_t { Ram, Drive, Nowhere };
  [[nodiscard]] Found where(uint32_t track, cache::SliceIndex slice) const noexcept;
  /// A client reads the slice: it is in RAM afterwards, wherever it came from.
  Found read(uint32_t track, cache::SliceIndex slice, cache::UseId use) noexcept;
  /// Brings it for nobody yet. False: it was in RAM, or no buffer could be had.
  bool prefetch(uint32_t track, cache::SliceIndex slice) noexcept;
  /// Lets go of what was brought so of `part`, whose end may lie beyond the track's, and not asked
  /// for.
  void drop_unasked(uint32_t track, ByteRange part) noexcept;

  [[nodiscard]] uint32_t slice_bytes(uint32_t track, cache::SliceIndex slice) const noexcept {
    return generations_[track]->slice_bytes(slice);
  }
  [[nodiscard]] uint32_t slices(uint32_t track) const noexcept {
    return generations_[track]->slices();
  }
  [[nodiscard]] TrackId id_of(uint32_t track) const noexcept {
    return track_of(generations_[track]->key());
  }
  [[nodiscard]] uint64_t written_bytes() const noexcept { return written_bytes_; }
  /// Of a drive that cannot take what RAM sends it: its budget is spent.
  [[nodiscard]] uint64_t refused_writes() const noexcept { return refused_writes_; }

  bool wants_to_keep(const cache::Buffer& buffer, bool needed) noexcept override;
  bool start_keep(cache::Buffer& buffer) noexcept override;

 private:
  explicit ReplayCache(const Clock& clock) : clock_(clock), ram_(clock) {}
  [[nodiscard]] uint32_t now_seconds() const noexcept;
  [[nodiscard]] bool land(uint32_t track, cache::SliceIndex slice, cache::RamTier::Source source,
                          cache::UseId use, cache::Priority priority) noexcept;

  const Clock& clock_;
  std::vector<Ref<cache::Generation>> generations_;  // by track
  std::optional<cache::Geometry> geometry_;
  std::unique_ptr<cache::DriveIndex> drive_;  // null: there is none
  cache::RamTier ram_;
  uint64_t written_bytes_ = 0;
  uint64_t refused_writes_ = 0;
};

}  // namespace segue::edge
