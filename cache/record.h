// cache/record.h - the stored facts of one representation in one page. Pure; layout:
// cache/FORMAT.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/format.h"
#include "cache/types.h"

namespace segue::cache {

/// What a record keeps of one representation.
struct RecordFacts {
  KeyHash key;
  std::string key_text;
  Sequence generation;
  uint64_t complete_length = 0;
  std::vector<uint64_t> tag_hashes;  // at most kTagsPerRecordMax
  std::vector<std::byte> facts;      // StoredFacts::encode()
};

/// Whether `facts` fit a record.
[[nodiscard]] bool fits_record(const RecordFacts& facts) noexcept;

/// Writes the page of `record`; `facts` fit.
void encode_record(const RecordFacts& facts, uint64_t device_id, RecordNumber record,
                   format::PageBytes page) noexcept;

/// Errors: {Disk, NotFound}: never written, or by an earlier format; {Disk, ChecksumMismatch}: torn
/// or rotten; {Disk, Malformed}: sealed, but not a record. May throw bad_alloc only.
[[nodiscard]] Result<RecordFacts> decode_record(format::PageView page, uint64_t device_id,
                                                RecordNumber record);

}  // namespace segue::cache
