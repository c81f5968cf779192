// cache/store_impl.h - what a Store is made of; shared by the files that implement it.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "cache/drive.h"
#include "cache/purge_table.h"
#include "cache/ram_tier.h"
#include "cache/representations.h"
#include "cache/store.h"
#include "cache/turnstile.h"

namespace segue::cache {

/// Sequences made durable at a time, and how many must be left when upkeep takes more: at 100,000
/// contacts a second there are ten passes of upkeep in the half that is left.
inline constexpr uint64_t kSequenceLease = 2'000'000;

/// Which of `drives` holds a key that has no record yet: rendezvous hashing (Thaler, Ravishankar
/// 1998) over their ids, so that a drive that comes or goes moves its own share only.
[[nodiscard]] uint8_t drive_of(const KeyHash& key,
                               std::span<const std::unique_ptr<Drive>> drives) noexcept;

struct Store::Impl final : public SliceKeeper {
  Impl(const Options& options_in, const FactsCodec& codec_in, const Clock& clock_in,
       std::vector<std::unique_ptr<Drive>> drives_in);

  [[nodiscard]] bool wants_to_keep(const Buffer& buffer, bool needed) noexcept override;
  [[nodiscard]] bool start_keep(Buffer& buffer) noexcept override;

  /// Takes over what the drives remember. Start-up.
  void take_over_drives();
  /// Seconds for the access order: the current loop's clock is read once a turn.
  [[nodiscard]] uint32_t now_seconds() const noexcept;
  /// Null: there are no drives.
  [[nodiscard]] Drive* drive_for(const Generation& generation) const noexcept {
    return drives.empty() ? nullptr : drives[generation.drive()].get();
  }
  /// Whether the current loop can read it from there.
  [[nodiscard]] bool on_drive(const Generation& generation, SliceIndex slice) const noexcept;
  /// The door of the loop this thread runs now; null outside of one.
  [[nodiscard]] LocalStore* local() const noexcept;
  /// One writer, judge or forgetter of a key's record at a time.
  [[nodiscard]] Turnstile& record_turn(const KeyHash& key) noexcept {
    return record_turns[mix(key.high) % record_turns.size()];
  }

  // constant after construction
  const Options options;
  const FactsCodec& codec;
  const Clock& clock;
  const std::vector<std::unique_ptr<Drive>> drives;
  uint64_t hash_seed = 0;
  // Found on a drive, while a newer one stands on another: to be forgotten by upkeep (loop 0).
  struct Misplaced {
    KeyHash key;
    Sequence generation;
    RecordNumber record;
    uint8_t drive = 0;
  };
  std::vector<Misplaced> misplaced;
  // shared
  PurgeTable purges;
  Representations representations;
  RamTier ram;
  std::array<Turnstile, 64> record_turns;
  // atomic, any thread
  std::array<std::atomic<LocalStore*>, kLoopsMax> locals = {};
  std::atomic<uint64_t> next_sequence{1};
  // Sequences below it are durable as used; what has a higher one is not written to a drive yet.
  std::atomic<uint64_t> leased_end{UINT64_MAX};
  std::atomic<uint32_t> sweeps_running{0};
};

}  // namespace segue::cache
