// Goal: the table says what follows a segment, of the version read last, within its memory, to any
// loop. Method: playlists by hand; in the last test two threads, for ThreadSanitizer.
#include "edge/prefetch/playlist_table.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/hint_limits.h"
#include "base/units.h"

namespace segue::edge {
namespace {

using cache::Sequence;

/// Segments are tracks `first`, `first` + 1, ...
Ref<PlaylistItems> items_from(TrackId first, uint32_t count) {
  auto items = make_ref<PlaylistItems>();
  for (uint32_t i = 0; i < count; ++i) items->segments.push_back({.track = first + i, .range = {}});
  return items;
}

struct Rules final : public RefCounted {};

class PlaylistTableTest : public ::testing::Test {
 protected:
  /// Where `rules` hold.
  struct Table : public PlaylistTable {
    Table(uint64_t bytes_max, const Rules& rules) : PlaylistTable(bytes_max) {
      renew(Ref<const RefCounted>(&rules));
    }
  };

  const Ref<Rules> held = make_ref<Rules>();
  const Rules& rules = *held;
};

TEST_F(PlaylistTableTest, KnowsWhereASegmentStands) {
  Table table(MiB, rules);
  EXPECT_FALSE(table.find_segment(11, rules));
  const auto items = items_from(10, 3);
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items));
  const auto place = table.find_segment(11, rules);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->playlist, 1U);
  EXPECT_EQ(place->index, 1U);
  EXPECT_EQ(place->items.get(), items.get());
  EXPECT_FALSE(table.find_segment(13, rules));
}

TEST_F(PlaylistTableTest, RemembersOneVersionOfAPlaylist) {
  Table table(MiB, rules);
  EXPECT_FALSE(table.find(1, Sequence{5}, rules));
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items_from(10, 3)));
  EXPECT_TRUE(table.find(1, Sequence{5}, rules));
  EXPECT_FALSE(table.find(1, Sequence{6}, rules));
  EXPECT_FALSE(table.find(2, Sequence{5}, rules));
  // A live playlist has moved on: 10 is gone, 11 stands first, 13 is new.
  EXPECT_TRUE(table.put(1, Sequence{6}, rules, items_from(11, 3)));
  EXPECT_FALSE(table.find(1, Sequence{5}, rules));
  EXPECT_FALSE(table.find_segment(10, rules));
  ASSERT_TRUE(table.find_segment(11, rules));
  EXPECT_EQ(table.find_segment(11, rules)->index, 0U);
  ASSERT_TRUE(table.find_segment(13, rules));
  EXPECT_EQ(table.count(), 1U);
}

TEST_F(PlaylistTableTest, OfPartsOfOneFileThePartIsFoundByItsBytes) {
  auto items = items_from(10, 1);
  items->segments.push_back({.track = 11, .range = {0, 100}});
  items->segments.push_back({.track = 11, .range = {100, 300}});
  items->segments.push_back({.track = 12, .range = {}});
  Table table(MiB, rules);
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items));
  const auto place = table.find_segment(11, rules);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->index, 1U);
  EXPECT_EQ(items->find(11, 99, place->index), 1U);
  EXPECT_EQ(items->find(11, 100, place->index), 2U);
  EXPECT_FALSE(items->find(11, 300, place->index));
  EXPECT_EQ(items->find(12, 5000, 3), 3U);
}

TEST_F(PlaylistTableTest, ThePlaylistUsedLongestAgoMakesRoom) {
  Table table(128 * KiB, rules);  // three quarters of it for what playlists name
  const auto put = [&](TrackId playlist) {
    const auto items = items_from(playlist * 1000, 10);
    items->texts.assign(31'000, 'x');
    EXPECT_TRUE(table.put(playlist, Sequence{1}, rules, items));
  };
  for (TrackId playlist = 1; playlist <= 3; ++playlist) put(playlist);
  const uint64_t full = table.bytes();
  EXPECT_EQ(table.count(), 3U);
  EXPECT_TRUE(table.find_segment(1001, rules));  // the first one is used again
  put(4);
  EXPECT_TRUE(table.find(1, Sequence{1}, rules));
  EXPECT_FALSE(table.find(2, Sequence{1}, rules));
  EXPECT_FALSE(table.find_segment(2001, rules));
  EXPECT_TRUE(table.find_segment(4001, rules));
  EXPECT_EQ(table.bytes(), full);
}

TEST_F(PlaylistTableTest, NeverHoldsMoreThanItMay) {
  Table table(128 * KiB, rules);
  EXPECT_FALSE(
      table.put(1, Sequence{1}, rules, items_from(1, 128 * KiB / sizeof(PlaylistItems::Item))));
  EXPECT_EQ(table.count(), 0U);
  for (TrackId playlist = 1; playlist < 3000; ++playlist) {
    EXPECT_TRUE(table.put(playlist, Sequence{1}, rules, items_from(playlist * 10, 5)));
    EXPECT_LE(table.bytes(), 128 * KiB / 4 * 3);
  }
  EXPECT_GT(table.count(), 100U);
}

TEST_F(PlaylistTableTest, RemembersNoMorePlaylistsThanTheLimit) {
  Table table(64 * MiB, rules);
  for (TrackId playlist = 1; playlist <= kPlaylistsMax + 1; ++playlist)
    EXPECT_TRUE(table.put(playlist, Sequence{1}, rules, items_from(playlist * 10, 1)));
  EXPECT_EQ(table.count(), kPlaylistsMax);
  EXPECT_FALSE(table.find(1, Sequence{1}, rules));
  EXPECT_TRUE(table.find(2, Sequence{1}, rules));
}

TEST_F(PlaylistTableTest, ForgetsAllWhereKeysAreMadeByOtherRules) {
  Table table(MiB, rules);
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items_from(10, 3)));
  table.renew(Ref<const RefCounted>(&rules));
  EXPECT_FALSE(table.find(1, Sequence{5}, rules));
  EXPECT_FALSE(table.find_segment(10, rules));
  EXPECT_EQ(table.count(), 0U);
  EXPECT_EQ(table.bytes(), 0U);
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items_from(10, 3)));
  EXPECT_TRUE(table.find_segment(10, rules));
}

TEST_F(PlaylistTableTest, KeepsAllWhereAnotherSnapshotMakesTheSameKeys) {
  Table table(MiB, rules);
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items_from(10, 3)));
  const auto others = make_ref<Rules>();
  table.keep(others);
  EXPECT_FALSE(table.find_segment(10, rules)) << "of a request that began before the reload";
  EXPECT_TRUE(table.find(1, Sequence{5}, *others));
  EXPECT_TRUE(table.find_segment(10, *others));
  EXPECT_TRUE(table.put(2, Sequence{6}, *others, items_from(20, 3)));
  EXPECT_EQ(table.count(), 2U);
}

TEST_F(PlaylistTableTest, WhatWasReadByOtherRulesIsNeitherRememberedNorFound) {
  Table table(MiB, rules);
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items_from(10, 3)));
  const auto others = make_ref<Rules>();
  // Of a loop that has been told of a reload before the one that plans.
  EXPECT_FALSE(table.find(1, Sequence{5}, *others));
  EXPECT_FALSE(table.find_segment(10, *others));
  EXPECT_TRUE(table.put(1, Sequence{6}, *others, items_from(20, 3)));
  EXPECT_TRUE(table.find(1, Sequence{5}, rules));
  EXPECT_FALSE(table.find_segment(20, *others));
  table.renew(others);
  // Of a request that began before the reload and ends after it.
  EXPECT_TRUE(table.put(1, Sequence{5}, rules, items_from(10, 3)));
  EXPECT_EQ(table.count(), 0U);
  EXPECT_FALSE(table.find_segment(10, rules));
  EXPECT_TRUE(table.put(1, Sequence{5}, *others, items_from(20, 3)));
  EXPECT_TRUE(table.find(1, Sequence{5}, *others));
  EXPECT_TRUE(table.find_segment(20, *others));
}

TEST_F(PlaylistTableTest, ALargePlaylistTakesTheRoomOfHundreds) {
  Table table(256 * KiB, rules);
  TrackId playlist = 1;
  for (; table.count() == playlist - 1; ++playlist)
    ASSERT_TRUE(table.put(playlist, Sequence{1}, rules, items_from(playlist * 10, 1)));
  const uint64_t full = table.count();
  ASSERT_GT(full, 200U);
  const auto items = items_from(1'000'000, 1);
  items->texts.assign(150 * KiB, 'x');
  EXPECT_TRUE(table.put(playlist, Sequence{1}, rules, items));
  EXPECT_TRUE(table.find_segment(1'000'000, rules));
  EXPECT_LT(table.count(), full / 2);
  EXPECT_TRUE(table.find(playlist - 1, Sequence{1}, rules)) << "the youngest stay";
}

TEST_F(PlaylistTableTest, IsAskedByOneLoopWhileAnotherReads) {
  Table table(128 * KiB, rules);
  constexpr uint32_t kRounds = 200;
  std::thread other([&] {
    for (uint32_t round = 1; round <= kRounds; ++round)
      (void)table.put(1 + round % 5, Sequence{round}, rules,
                      items_from(1000 * (round % 5) + 1, 300));
  });
  for (uint32_t round = 0; round < kRounds * 10; ++round) {
    const TrackId track = 1 + round % 5000;
    const auto place = table.find_segment(track, rules);
    if (place) EXPECT_EQ(place->items->segments[place->index].track, track);
  }
  other.join();
  EXPECT_LE(table.count(), 5U);
}

}  // namespace
}  // namespace segue::edge
