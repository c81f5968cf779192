// cache/types.h - the words of the storage engine: sequences, slices, size classes.
#pragma once
#include <compare>
#include <cstdint>

#include "base/assert.h"
#include "base/byte_range.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/strong_id.h"

namespace segue::cache {

/// A point in this node's history, growing across restarts (leased from the superblocks, never
/// stepping back). A generation's id is the sequence taken *before* its first origin request was
/// sent; a purge statement's is taken when it is made. So "asked before the purge" is one
/// comparison.
using Sequence = StrongId<struct SequenceTag, uint64_t>;
/// Slice i covers bytes [i * kSliceBytes, min((i + 1) * kSliceBytes, complete length)).
using SliceIndex = StrongId<struct SliceIndexTag, uint32_t>;
/// One play's many ranges are one use: hash of listener x representation x 10 minutes, made by
/// delivery.
using UseId = StrongId<struct UseIdTag, uint64_t>;
using RecordNumber = StrongId<struct RecordNumberTag, uint32_t>;
inline constexpr RecordNumber kNoRecord{UINT32_MAX};

/// Who asks for a buffer: demand goes before prefetch when none is free.
enum class Priority : uint8_t { Demand, Prefetch };

struct SliceKey {
  KeyHash key;
  Sequence generation;
  SliceIndex slice;
  constexpr auto operator<=>(const SliceKey&) const = default;
};

/// Buffers and slots come in these sizes; a slice takes the smallest that holds it. Small16 exists
/// in RAM only.
enum class SizeClass : uint8_t { Small16, K64, K128, K256 };
inline constexpr uint32_t kSizeClasses = 4;

constexpr uint32_t bytes_of(SizeClass size_class) noexcept {
  constexpr uint32_t kBytes[kSizeClasses] = {16 * KiB, 64 * KiB, 128 * KiB, 256 * KiB};
  return kBytes[static_cast<uint8_t>(size_class)];
}
/// `whole`: the slice is a complete representation; only those may be Small16.
constexpr SizeClass class_of(uint32_t length, bool whole) noexcept {
  SEGUE_ASSERT(length <= kSliceBytes);
  if (whole && length <= kSmallAnswerBytesMax) return SizeClass::Small16;
  if (length <= 64 * KiB) return SizeClass::K64;
  return length <= 128 * KiB ? SizeClass::K128 : SizeClass::K256;
}

constexpr SliceIndex slice_at(uint64_t offset) noexcept {
  return SliceIndex{static_cast<uint32_t>(offset / kSliceBytes)};
}
constexpr uint64_t first_byte_of(SliceIndex slice) noexcept {
  return uint64_t{slice.value} * kSliceBytes;
}
/// Length of `slice` in a representation of `complete_length` bytes; 0 past its end.
constexpr uint32_t slice_length(SliceIndex slice, uint64_t complete_length) noexcept {
  const uint64_t first = first_byte_of(slice);
  if (first >= complete_length) return 0;
  const uint64_t rest = complete_length - first;
  return rest < kSliceBytes ? static_cast<uint32_t>(rest) : kSliceBytes;
}
/// Slices of a representation; 0 for an empty one.
constexpr uint32_t slice_count(uint64_t complete_length) noexcept {
  return static_cast<uint32_t>((complete_length + kSliceBytes - 1) / kSliceBytes);
}
/// Representations beyond this are passed through. No audio is as long, and what is done once per
/// slice (a generation forgotten) stays within some 50 ms whatever length an origin claims.
inline constexpr uint64_t kCompleteLengthMax = uint64_t{256} * GiB;

}  // namespace segue::cache
