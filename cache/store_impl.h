// cache/store_impl.h - what a Store is made of; shared by the files that implement it.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "cache/drive.h"
#include "cache/purge_table.h"
#include "cache/ram_tier.h"
#include "cache/representations.h"
#include "cache/store.h"

namespace segue::cache {

struct Store::Impl {
  Impl(const Options& options_in, const FactsCodec& codec_in, const Clock& clock_in,
       std::vector<std::unique_ptr<Drive>> drives_in);

  /// Seconds for the access order: the current loop's clock is read once a turn.
  [[nodiscard]] uint32_t now_seconds() const noexcept;

  // constant after construction
  const Options options;
  const FactsCodec& codec;
  const Clock& clock;
  const std::vector<std::unique_ptr<Drive>> drives;
  uint64_t hash_seed = 0;
  // shared
  PurgeTable purges;
  Representations representations;
  RamTier ram;
  // atomic, any thread
  std::atomic<uint64_t> next_sequence{1};
};

}  // namespace segue::cache
