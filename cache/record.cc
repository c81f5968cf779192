#include "cache/record.h"

#include <algorithm>

#include "base/assert.h"

namespace segue::cache {

bool fits_record(const RecordFacts& facts) noexcept {
  if (facts.key_text.size() > kKeyBytesMax) return false;
  if (facts.tag_hashes.size() > kTagsPerRecordMax) return false;
  return facts.key_text.size() + facts.tag_hashes.size() * sizeof(uint64_t) + facts.facts.size() <=
         format::kRecordPayloadBytes;
}

void encode_record(const RecordFacts& facts, uint64_t device_id, RecordNumber record,
                   format::PageBytes page) noexcept {
  SEGUE_ASSERT(fits_record(facts));
  std::memset(page.data(), 0, page.size());
  const format::RecordHeader header{.checksum = 0,
                                    .magic = format::kRecordMagic,
                                    .record = record.value,
                                    .device_id = device_id,
                                    .key_high = facts.key.high,
                                    .key_low = facts.key.low,
                                    .generation = facts.generation.value,
                                    .complete_length = facts.complete_length,
                                    .key_bytes = static_cast<uint16_t>(facts.key_text.size()),
                                    .tags = static_cast<uint16_t>(facts.tag_hashes.size()),
                                    .facts_bytes = static_cast<uint16_t>(facts.facts.size()),
                                    .reserved = 0};
  format::store(std::span<std::byte>(page), header);
  std::byte* out = page.data() + sizeof(header);
  const auto append = [&out](const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(out, from, bytes);
    out += bytes;
  };
  append(facts.key_text.data(), facts.key_text.size());
  append(facts.tag_hashes.data(), facts.tag_hashes.size() * sizeof(uint64_t));
  append(facts.facts.data(), facts.facts.size());
  format::seal_page(page);
}

Result<RecordFacts> decode_record(format::PageView page, uint64_t device_id, RecordNumber record) {
  const auto header = format::load<format::RecordHeader>(page);
  if (header.magic != format::kRecordMagic) return fail(Side::Disk, Kind::NotFound, "record magic");
  if (!format::page_is_sealed(page)) return fail(Side::Disk, Kind::ChecksumMismatch, "record");
  if (header.device_id != device_id || header.record != record.value) {
    return fail(Side::Disk, Kind::NotFound, "record of another place");
  }
  const size_t tag_bytes = size_t{header.tags} * sizeof(uint64_t);
  if (header.key_bytes > kKeyBytesMax || header.tags > kTagsPerRecordMax ||
      header.key_bytes + tag_bytes + header.facts_bytes > format::kRecordPayloadBytes) {
    return fail(Side::Disk, Kind::Malformed, "record lengths");
  }
  if (header.complete_length > kCompleteLengthMax) {
    return fail(Side::Disk, Kind::Malformed, "record complete length");
  }
  RecordFacts facts;
  facts.key = {.high = header.key_high, .low = header.key_low};
  facts.generation = Sequence{header.generation};
  facts.complete_length = header.complete_length;
  std::span<const std::byte> rest = page.subspan(sizeof(header));
  facts.key_text.assign(reinterpret_cast<const char*>(rest.data()), header.key_bytes);
  rest = rest.subspan(header.key_bytes);
  facts.tag_hashes.resize(header.tags);
  if (tag_bytes > 0) std::memcpy(facts.tag_hashes.data(), rest.data(), tag_bytes);
  rest = rest.subspan(tag_bytes);
  facts.facts.assign(rest.begin(), rest.begin() + header.facts_bytes);
  return facts;
}

}  // namespace segue::cache
