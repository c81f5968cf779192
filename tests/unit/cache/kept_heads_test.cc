// Goal: beginnings of what starts often outlive the rest of RAM, up to their share; how often is
// counted in bounded memory. Method: a tier of 16 buffers, uses by hand.
#include "cache/start_counts.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

class KeptHeadsTest : public StoreTest {
 protected:
  static Store::Options with_share(uint8_t share) {
    Store::Options options = small_options();  // 16 buffers of 256 KiB
    options.heads_share = share;
    return options;
  }
  explicit KeptHeadsTest(uint8_t share = 25) : StoreTest(with_share(share)) {}  // 4 of them

  Ref<Generation> track(uint32_t number) {
    return install("/track/" + std::to_string(number), 100 * uint64_t{kSliceBytes});
  }
  /// Another listener each time.
  void start(const Ref<Generation>& generation) {
    clock.advance(std::chrono::seconds{2});
    if (!find(generation, 0, ++listeners).buffer) ASSERT_TRUE(fill(generation, 0));
    ASSERT_TRUE(find(generation, 0, ++listeners).buffer);
  }
  /// Prefetches slices that are then asked for: what heads live on.
  void earn(uint32_t slices = 16) {
    for (uint32_t i = 1; i <= slices; ++i) {
      clock.advance(std::chrono::seconds{2});
      auto reservation = store->try_reserve(1, Priority::Prefetch);
      ASSERT_TRUE(reservation.has_value());
      FillPermit permit =
          store->try_start_fill(guessed, SliceIndex{earned + i}, *reservation, Priority::Prefetch);
      ASSERT_TRUE(permit);
      land(permit, guessed->id().value, permit.length());
      std::move(permit).commit(*local);
      ASSERT_TRUE(find(guessed, earned + i, ++listeners).buffer);
    }
    earned += slices;
  }
  /// So many slices that nobody asks for twice, none a beginning.
  void flood(uint32_t slices = 30) {
    for (uint32_t i = 1; i <= slices; ++i) {
      clock.advance(std::chrono::seconds{2});
      ASSERT_TRUE(fill(other, flooded + i));
    }
    flooded += slices;
  }
  [[nodiscard]] bool is_here(const Ref<Generation>& generation, uint32_t slice = 0) {
    return where(generation, slice) == Where::Resident;
  }

  uint64_t listeners = 1000;
  uint32_t flooded = 0, earned = 0;
  Ref<Generation> guessed = install("/guessed", 4000 * uint64_t{kSliceBytes});
  Ref<Generation> other = install("/other", 4000 * uint64_t{kSliceBytes});
};

class NoHeadsKeptTest : public KeptHeadsTest {
 protected:
  NoHeadsKeptTest() : KeptHeadsTest(0) {}
};

TEST_F(KeptHeadsTest, TheBeginningOfWhatStartsOftenOutlivesAFlood) {
  const auto often = track(1);
  earn();
  start(often);
  start(often);
  flood();
  EXPECT_TRUE(is_here(often));
  EXPECT_EQ(store->usage().resident, 16u);
}

TEST_F(KeptHeadsTest, HowManyStayIsToldAndWhatTheyWereGoodFor) {
  std::vector<Ref<Generation>> tracks;
  for (uint32_t i = 0; i < 3; ++i) {
    tracks.push_back(track(i));
    start(tracks.back());
    start(tracks.back());
  }
  EXPECT_EQ(store->usage().kept_heads, 0u);  // none had to leave yet
  earn();
  flood();
  EXPECT_EQ(store->usage().kept_heads, 3u);
  EXPECT_EQ(store->usage().kept_head_bytes, 3 * uint64_t{kSliceBytes});
  EXPECT_EQ(store->usage().kept_head_hits, 0u);
  const uint64_t listener = ++listeners;
  for (int range = 0; range < 3; ++range) ASSERT_TRUE(find(tracks[0], 0, listener).buffer);
  ASSERT_TRUE(find(tracks[1], 0, ++listeners).buffer);
  EXPECT_EQ(store->usage().kept_head_hits, 2u);  // of two listeners, whatever ranges they ask for
  store->check_invariants(true);
  flood(400);  // what prefetch earned is spent
  EXPECT_EQ(store->usage().kept_heads, 0u);
  EXPECT_EQ(store->usage().kept_head_bytes, 0u);
  EXPECT_EQ(store->usage().kept_head_hits, 2u);
}

TEST_F(KeptHeadsTest, WithoutAPrefetchThatWasOfUseItLeavesAsAllOthersDo) {
  const auto often = track(1);
  start(often);
  start(often);
  flood();
  EXPECT_FALSE(is_here(often));
}

TEST_F(KeptHeadsTest, WhatPrefetchEarnedIsSpentInTheEnd) {
  const auto often = track(1);
  earn();
  start(often);
  start(often);
  flood(100);
  EXPECT_TRUE(is_here(often));
  flood(300);
  EXPECT_FALSE(is_here(often));
}

TEST_F(NoHeadsKeptTest, WithoutAShareItLeavesAsAllOthersDo) {
  const auto often = track(1);
  earn();
  start(often);
  start(often);
  flood();
  EXPECT_FALSE(is_here(often));
}

TEST_F(KeptHeadsTest, OtherSlicesOfItAndWhatStartedOnceLeave) {
  const auto often = track(1);
  earn();
  start(often);
  start(often);
  ASSERT_TRUE(fill(often, 1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(find(often, 1, ++listeners).buffer);
  const auto once = track(2);
  ASSERT_TRUE(fill(once, 0));
  flood();
  EXPECT_TRUE(is_here(often));
  EXPECT_FALSE(is_here(often, 1));
  EXPECT_FALSE(is_here(once));
}

TEST_F(KeptHeadsTest, TheyKeepToTheirShareAndTheMostPopularStay) {
  std::vector<Ref<Generation>> tracks;
  for (uint32_t i = 0; i < 8; ++i) {
    tracks.push_back(track(i));
    for (uint32_t starts = 0; starts < (i < 4 ? 6U : 1U); ++starts) start(tracks.back());
  }
  earn();
  flood();
  uint32_t kept = 0;
  for (uint32_t i = 0; i < 8; ++i) {
    kept += is_here(tracks[i]);
    EXPECT_EQ(is_here(tracks[i]), i < 4) << i;
  }
  EXPECT_EQ(kept, 4u);
}

TEST_F(KeptHeadsTest, WhatIsForgottenMakesRoomForWhatStartsNow) {
  earn();
  for (uint32_t i = 0; i < 4; ++i) {
    const auto old = track(i);
    start(old);
    start(old);
  }
  flood();
  earn();
  const auto fresh = track(10);
  for (int i = 0; i < 6; ++i) start(fresh);
  flood();
  EXPECT_TRUE(is_here(fresh));
}

TEST_F(KeptHeadsTest, APurgedOneGoes) {
  const auto often = track(1);
  earn();
  start(often);
  start(often);
  flood();
  ASSERT_TRUE(is_here(often));
  store->detach(often);
  flood(400);
  EXPECT_FALSE(is_here(often));
}

TEST(KeptHeadsOptions, MoreThanMostOfRamIsRefused) {
  Store::Options options;
  options.heads_share = 75;
  EXPECT_FALSE(options.invalid());
  options.heads_share = 76;
  EXPECT_TRUE(options.invalid());
}

TEST(StartCounts, AreNeverLessThanWhatWasCountedLately) {
  StartCounts counts(1000);
  for (uint64_t track = 1; track <= 200; ++track) {
    for (uint64_t i = 0; i < track % 7; ++i) counts.add(mix(track));
  }
  uint32_t too_many = 0;
  for (uint64_t track = 1; track <= 200; ++track) {
    EXPECT_GE(counts.of(mix(track)), track % 7);
    too_many += counts.of(mix(track)) > track % 7;
  }
  EXPECT_LE(too_many, 2u);
}

TEST(StartCounts, WhatWasOnceOftenIsForgotten) {
  StartCounts counts(100);
  for (int i = 0; i < 100; ++i) counts.add(mix(1));
  for (uint64_t track = 2; track < 20'000; ++track) counts.add(mix(track));
  EXPECT_LT(counts.of(mix(1)), 30u);
}

TEST(StartCounts, OfNothingCountNothing) {
  StartCounts counts(0);
  counts.add(mix(1));
  EXPECT_EQ(counts.of(mix(1)), 0u);
}

}  // namespace
}  // namespace segue::cache::test
