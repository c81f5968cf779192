// Goal: why a key's last request was a miss is remembered within a fixed memory, latest first.
#include <gtest/gtest.h>

#include "edge/delivery/miss_notes.h"

namespace segue::edge {
namespace {

MissNote note_at(uint64_t second, std::string_view reason = "uri-miss") {
  return {.when = WallTime{std::chrono::seconds{second}},
          .status = 206,
          .result = CacheResult::Miss,
          .reason = reason};
}

TEST(MissNotes, TheLatestNoteOfAKeyIsTold) {
  MissNotes notes;
  EXPECT_FALSE(notes.find({1, 1}));
  EXPECT_FALSE(notes.find({}));
  notes.add({1, 1}, note_at(1));
  notes.add({1, 1}, note_at(2, "stale"));
  ASSERT_TRUE(notes.find({1, 1}));
  EXPECT_EQ(notes.find({1, 1})->reason, "stale");
  EXPECT_FALSE(notes.find({2, 1}));  // of the same set, another key
}

TEST(MissNotes, WhereItIsFullTheOldestNoteGoes) {
  MissNotes notes;
  // Keys of one set: as many as fit, then one more.
  for (uint64_t key = 1; key <= 5; ++key) notes.add({key, 7}, note_at(100 - key));
  EXPECT_FALSE(notes.find({4, 7}));
  for (const uint64_t kept : {1U, 2U, 3U, 5U}) EXPECT_TRUE(notes.find({kept, 7})) << kept;
}

TEST(MissNotes, AMillionKeysTakeNoMoreMemoryThanTheTableHas) {
  MissNotes notes;
  uint32_t kept = 0;
  for (uint64_t key = 1; key <= 1'000'000; ++key) notes.add({key, key * 977}, note_at(key));
  for (uint64_t key = 1; key <= 1'000'000; ++key) kept += notes.find({key, key * 977}) ? 1 : 0;
  EXPECT_EQ(kept, kMissNotesPerLoop);
}

}  // namespace
}  // namespace segue::edge
