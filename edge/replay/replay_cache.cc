#include "edge/replay/replay_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace segue::edge {

using cache::Buffer;
using cache::Priority;
using cache::RamTier;
using cache::SliceIndex;
using cache::UseId;

namespace {
// As the node's settings have them (conf/settings.h).
constexpr uint8_t kRamShares[cache::kSizeClasses] = {4, 6, 10, 80};
constexpr uint64_t kSeed = 1;  // nobody hostile chooses tracks here
constexpr uint32_t kBuffersMin = 8;
}  // namespace

Result<std::unique_ptr<ReplayCache>> ReplayCache::create(const Options& options, const Trace& trace,
                                                         const Clock& clock) {
  std::unique_ptr<ReplayCache> made(new ReplayCache(clock));
  const std::vector<uint64_t>& bytes = trace.track_bytes();
  made->generations_.reserve(bytes.size());
  for (uint32_t track = 0; track < bytes.size(); ++track) {
    std::string text = fmt::format("replay/{}", track);
    const KeyHash key = hash_key(text, kSeed);
    made->generations_.push_back(
        make_ref<cache::Generation>(key, std::move(text), cache::Sequence{1}, bytes[track]));
  }
  if (options.ssd_bytes > 0) {
    auto geometry = cache::Geometry::plan(options.ssd_bytes, {});
    if (!geometry) return fail(geometry.error());
    made->geometry_ = *geometry;
    made->drive_ = std::make_unique<cache::DriveIndex>(
        *made->geometry_, options.policy, options.write_bytes_per_second, clock.mono());
    for (const auto& shard : made->drive_->shards()) shard->finish_restore();  // of nothing
  }
  auto ram = made->ram_.create(options.ram_bytes, kRamShares, options.policy, /*huge_pages=*/false,
                               made.get(), options.probation_percent, options.heads_percent,
                               cache::Payload::None);
  if (!ram) return fail(ram.error());
  if (made->ram_.pool().total(cache::SizeClass::K256) < kBuffersMin)
    return fail(Side::Self, Kind::Full, "RAM for a few slices");
  return made;
}

ReplayCache::~ReplayCache() = default;

uint32_t ReplayCache::now_seconds() const noexcept {
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(clock_.mono().time_since_epoch()).count());
}

ReplayCache::Found ReplayCache::where(uint32_t track, SliceIndex slice) const noexcept {
  const cache::SliceKey key = generations_[track]->slice_key(slice);
  if (ram_.peek(key) != RamTier::Peek::Absent) return Found::Ram;
  return drive_ != nullptr && drive_->contains(key) ? Found::Drive : Found::Nowhere;
}

ReplayCache::Found ReplayCache::read(uint32_t track, SliceIndex slice, UseId use) noexcept {
  const cache::SliceKey key = generations_[track]->slice_key(slice);
  if (const RamTier::Found found = ram_.find(key, use); found.buffer != nullptr) {
    ram_.pool().unpin(*found.buffer);
    return Found::Ram;
  }
  if (drive_ != nullptr) {
    const uint64_t fingerprint = cache::fingerprint_of(key);
    cache::IndexShard& shard = drive_->shard_for(fingerprint);
    if (const auto held = shard.hold(fingerprint, use, now_seconds())) {
      (void)land(track, slice, RamTier::Source::Drive, use, Priority::Demand);
      shard.release(held->local);
      return Found::Drive;
    }
  }
  (void)land(track, slice, RamTier::Source::Origin, use, Priority::Demand);
  return Found::Nowhere;
}

bool ReplayCache::prefetch(uint32_t track, SliceIndex slice) noexcept {
  return land(track, slice, RamTier::Source::Origin, UseId{}, Priority::Prefetch);
}

bool ReplayCache::land(uint32_t track, SliceIndex slice, RamTier::Source source, UseId use,
                       Priority priority) noexcept {
  Buffer* reserved = nullptr;
  if (ram_.try_reserve(1, priority, reserved) == 0) return false;
  Buffer* buffer = ram_.try_claim(generations_[track], slice, reserved, source, use, priority);
  if (buffer == nullptr) {
    ram_.give_back(*reserved);
    return false;
  }
  ram_.publish(*buffer, buffer->length);
  if (ram_.commit(*buffer) == RamTier::Landed::Wanted && !start_keep(*buffer))
    ram_.end_write(*buffer, false);
  return true;
}

void ReplayCache::drop_unasked(uint32_t track, ByteRange part) noexcept {
  const cache::Generation& generation = *generations_[track];
  part = part.clipped(generation.complete_length());
  if (part.empty()) return;
  const SliceIndex last = cache::slice_at(part.end - 1);
  for (SliceIndex slice = cache::slice_at(part.first); slice <= last; ++slice.value)
    (void)ram_.drop_unasked(generation.slice_key(slice));
}

bool ReplayCache::wants_to_keep(const Buffer& buffer, bool needed) noexcept {
  const cache::SizeClass size_class = buffer.generation->slice_class(buffer.key.slice);
  if (drive_ == nullptr || size_class == cache::SizeClass::Small16) return false;
  return needed || drive_->should_admit(buffer.key, size_class, buffer.last_use, clock_.mono());
}

/// The write is over as soon as it begins, and the table's flush likewise.
bool ReplayCache::start_keep(Buffer& buffer) noexcept {
  const cache::SliceKey key = buffer.key;
  const uint32_t length = buffer.length;
  if (!drive_->try_spend(length, clock_.mono())) {
    ++refused_writes_;
    return false;
  }
  cache::IndexShard& shard = drive_->shard_for(cache::fingerprint_of(key));
  if (shard.wants_flush()) (void)shard.take_changes();
  const cache::RecordNumber record{0};  // nothing is ever mounted from this index
  const auto taken = drive_->take(key, record, length);
  if (!taken) {
    drive_->give_back(length);
    return false;
  }
  const bool linked =
      shard.written(taken->local, {.key = key, .record = record, .length = length}, now_seconds());
  if (linked) written_bytes_ += cache::DriveIndex::write_bytes(length);
  ram_.end_write(buffer, linked);
  return true;
}

}  // namespace segue::edge
