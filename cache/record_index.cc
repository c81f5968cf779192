#include "cache/record_index.h"

#include <bit>

#include "base/assert.h"

namespace segue::cache {

RecordIndex::RecordIndex(uint32_t records)
    : count_(records), entries_(std::make_unique<Entry[]>(records)), free_((records + 63) / 64, 0) {
  for (uint32_t record = 0; record < count_; ++record) set_free(record, true);
}

uint32_t RecordIndex::tag_of(const KeyHash& key) noexcept {
  return static_cast<uint32_t>(mix(key.high ^ mix(key.low)) >> 32) | 1;
}

void RecordIndex::set_free(uint32_t record, bool free) noexcept {
  const uint64_t bit = uint64_t{1} << (record % 64);
  uint64_t& word = free_[record / 64];
  if (((word & bit) != 0) == free) return;
  word ^= bit;
  free ? ++free_count_ : --free_count_;
}

std::optional<uint32_t> RecordIndex::find_free() noexcept {
  if (free_count_ == 0) return std::nullopt;
  // The hand goes round, so a record just written and not yet named by a slot is taken last.
  while (free_[hand_] == 0) hand_ = hand_ + 1 == free_.size() ? 0 : hand_ + 1;
  const uint32_t word = hand_;
  const auto record = word * 64 + static_cast<uint32_t>(std::countr_zero(free_[word]));
  hand_ = word + 1 == free_.size() ? 0 : word + 1;
  return record;
}

std::optional<RecordNumber> RecordIndex::claim(RecordNumber wanted, const KeyHash& key) noexcept {
  const std::lock_guard lock(mutex_);
  std::optional<uint32_t> record;
  if (wanted.value < count_ && entries_[wanted.value].tag == tag_of(key) &&
      entries_[wanted.value].writing == 0) {
    record = wanted.value;
  } else {
    record = find_free();
  }
  if (!record) return std::nullopt;
  entries_[*record].tag = tag_of(key);
  entries_[*record].writing = 1;
  set_free(*record, false);
  return RecordNumber{*record};
}

void RecordIndex::finish(RecordNumber record, bool written) noexcept {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[record.value];
  SEGUE_ASSERT(entry.writing != 0);
  entry.writing = 0;
  // What a failed write left is not known: it may be the record as it was, and its slots may be
  // back after a restart. So a record with slots stays its key's, to be read or written again.
  if (!written && entry.slots == 0) entry.tag = 0;
  if (entry.slots == 0) set_free(record.value, true);
}

bool RecordIndex::try_name(RecordNumber record, const KeyHash& key) noexcept {
  const std::lock_guard lock(mutex_);
  if (record.value >= count_ || entries_[record.value].tag != tag_of(key)) return false;
  Entry& entry = entries_[record.value];
  if (entry.slots == 0) {
    ++named_;
    set_free(record.value, false);
  }
  entry.slots = (entry.slots + 1U) & 0x7fff'ffffU;
  return true;
}

void RecordIndex::unname(RecordNumber record) noexcept {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[record.value];
  SEGUE_ASSERT(entry.slots > 0);
  entry.slots = (entry.slots - 1U) & 0x7fff'ffffU;
  if (entry.slots > 0) return;
  --named_;
  if (entry.writing == 0) set_free(record.value, true);
}

bool RecordIndex::readable(RecordNumber record, const KeyHash& key) const noexcept {
  const std::lock_guard lock(mutex_);
  return record.value < count_ && entries_[record.value].tag == tag_of(key) &&
         entries_[record.value].writing == 0;
}

void RecordIndex::forget_keys() noexcept {
  const std::lock_guard lock(mutex_);
  for (uint32_t record = 0; record < count_; ++record) {
    if (entries_[record].writing == 0) entries_[record].tag = 0;
  }
}

void RecordIndex::restore(RecordNumber record, const KeyHash& key) noexcept {
  Entry& entry = entries_[record.value];
  entry.tag = tag_of(key);
  if (entry.slots == 0) {
    ++named_;
    set_free(record.value, false);
  }
  entry.slots = (entry.slots + 1U) & 0x7fff'ffffU;
}

uint32_t RecordIndex::named() const noexcept {
  const std::lock_guard lock(mutex_);
  return named_;
}

uint64_t RecordIndex::bytes() const noexcept {
  return sizeof(*this) + uint64_t{count_} * sizeof(Entry) + free_.size() * sizeof(uint64_t);
}

}  // namespace segue::cache
