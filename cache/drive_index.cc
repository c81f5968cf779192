#include "cache/drive_index.h"

namespace segue::cache {

DriveIndex::DriveIndex(const Geometry& geometry, EvictionPolicy policy,
                       uint64_t write_bytes_per_second, MonoTime now)
    : geometry_(geometry), budget_(write_bytes_per_second, now) {
  for (uint32_t shard = 0; shard < geometry.shards(); ++shard)
    shards_.push_back(std::make_unique<IndexShard>(geometry, shard, policy));
}

bool DriveIndex::contains(const SliceKey& key) const noexcept {
  const uint64_t fingerprint = fingerprint_of(key);
  return shards_[shard_of(fingerprint, geometry_.shards())]->contains(fingerprint);
}

bool DriveIndex::should_admit(const SliceKey& key, SizeClass size_class, UseId use,
                              MonoTime now) noexcept {
  if (size_class == SizeClass::Small16) return false;
  const auto area = geometry_.class_for(bytes_of(size_class));
  if (!area) return false;
  const uint64_t fingerprint = fingerprint_of(key);
  return shard_for(fingerprint).should_admit(fingerprint, *area, use, budget_.has_to_spare(now));
}

Result<IndexShard::Taken> DriveIndex::take(const SliceKey& key, RecordNumber record,
                                           uint32_t length) noexcept {
  const auto area = geometry_.class_for(length);
  if (!area) return fail(Side::Self, Kind::Full, "no slot so large");
  const uint64_t fingerprint = fingerprint_of(key);
  return shard_for(fingerprint).take(fingerprint, *area, record, length);
}

}  // namespace segue::cache
