// Goal: what followed what is learned, newer and more exact knowledge counts more, memory stays
// bounded, and a saved predictor comes back, or not at all.
// Method: plays with minutes passed in.
#include "edge/prefetch/predictor.h"

#include <gtest/gtest.h>

#include <cstring>

#include "edge/prefetch/predictor_file.h"

namespace segue::edge {
namespace {

class PredictorTest : public ::testing::Test {
 protected:
  /// A session of its own, a minute a track.
  void play(const std::vector<TrackId>& tracks, uint64_t listener = 0) {
    ++sessions;
    for (const TrackId track : tracks) (void)predictor.see(begun(track, listener));
  }
  PlayBegun begun(TrackId track, uint64_t listener = 0) {
    return {.session = sessions, .listener = listener, .track = track, .minute = ++minute};
  }
  /// What a fresh session that plays `tracks` is told after the last of them.
  std::vector<Guess> guesses(const std::vector<TrackId>& tracks, uint64_t listener = 0) {
    ++sessions;
    PlayBegun last;
    for (const TrackId track : tracks) {
      last = begun(track, listener);
      (void)predictor.see(last);
    }
    std::array<Guess, Predictor::kGuessesMax> out;
    const uint32_t count = predictor.guess(last, out);
    return {out.begin(), out.begin() + count};
  }
  double chance_of(TrackId track, const std::vector<Guess>& among) {
    for (const Guess& guess : among) {
      if (guess.track == track) return guess.probability;
    }
    return 0;
  }

  Predictor predictor{{.memory_bytes = Predictor::kMemoryMin}};
  uint64_t sessions = 0;
  uint32_t minute = 29'000'000;
};

TEST_F(PredictorTest, NothingIsGuessedOfWhatWasNeverSeen) { EXPECT_TRUE(guesses({1}).empty()); }

TEST_F(PredictorTest, WhatFollowedOftenIsProbableAndWhatFollowedOnceIsNot) {
  for (int i = 0; i < 20; ++i) play({1, 2});
  play({1, 3});
  const auto found = guesses({1});
  ASSERT_GE(found.size(), 2U);
  EXPECT_EQ(found[0].track, 2U);
  EXPECT_GT(found[0].probability, 0.7);
  EXPECT_LT(chance_of(3, found), 0.1);
  double sum = 0;
  for (const Guess& guess : found) sum += guess.probability;
  EXPECT_LE(sum, 1.0);
}

TEST_F(PredictorTest, OneObservationIsNotBelieved) {
  play({1, 2});
  EXPECT_LT(chance_of(2, guesses({1})), 0.2);
}

TEST_F(PredictorTest, TheTrackBeforeTellsTwoWaysApart) {
  for (int i = 0; i < 20; ++i) {
    play({1, 5, 2});
    play({3, 5, 4});
  }
  EXPECT_EQ(guesses({1, 5}).at(0).track, 2U);
  EXPECT_EQ(guesses({3, 5}).at(0).track, 4U);
}

TEST_F(PredictorTest, AListenersOwnHabitGoesBeforeWhatOthersDo) {
  for (int i = 0; i < 30; ++i) play({1, 2}, 100 + static_cast<uint64_t>(i));
  for (int i = 0; i < 8; ++i) play({1, 9}, 7);
  EXPECT_EQ(guesses({1}, 7).at(0).track, 9U);
  EXPECT_EQ(guesses({1}, 8).at(0).track, 2U);
}

TEST_F(PredictorTest, NewPlaysCountMoreThanOldOnes) {
  for (int i = 0; i < 10; ++i) play({1, 2});
  minute += 180 * 24 * 60;  // six half-lives
  for (int i = 0; i < 4; ++i) play({1, 3});
  EXPECT_EQ(guesses({1}).at(0).track, 3U);
}

TEST_F(PredictorTest, ALongSilenceEndsASession) {
  (void)predictor.see({.session = 1, .track = 1, .minute = 1000});
  (void)predictor.see({.session = 1, .track = 2, .minute = 1020});  // goes on
  (void)predictor.see({.session = 1, .track = 3, .minute = 1041});  // does not
  const uint64_t rows = predictor.rows();
  (void)predictor.see({.session = 2, .track = 2, .minute = 1042});
  std::array<Guess, Predictor::kGuessesMax> out;
  const uint32_t count = predictor.guess({.session = 2, .track = 2, .minute = 1042}, out);
  for (uint32_t i = 0; i < count; ++i) EXPECT_NE(out[i].track, 3U);
  EXPECT_EQ(predictor.rows(), rows);
}

TEST_F(PredictorTest, TheSameTrackAgainIsNoNewPlay) {
  EXPECT_TRUE(predictor.see({.session = 1, .track = 1, .minute = 1000}));
  EXPECT_FALSE(predictor.see({.session = 1, .track = 1, .minute = 1001}));
  EXPECT_EQ(predictor.rows(), 0U);
}

TEST_F(PredictorTest, TracksThatSoundAlikeStandInForOneNobodyHasPlayed) {
  ++sessions;
  for (uint64_t i = 0; i < 60; ++i) {
    (void)predictor.see({.session = 100 + i, .track = 1000 + i, .kin = 77, .minute = ++minute});
    (void)predictor.see({.session = 100 + i, .track = 5, .minute = ++minute});
  }
  const PlayBegun unheard{.session = 999, .track = 4242, .kin = 77, .minute = ++minute};
  (void)predictor.see(unheard);
  std::array<Guess, Predictor::kGuessesMax> out;
  ASSERT_GT(predictor.guess(unheard, out), 0U);
  EXPECT_EQ(out[0].track, 5U);
  EXPECT_GT(out[0].probability, 0.5);
}

TEST_F(PredictorTest, WhatIsPlayedFromAPlaylistIsKnownOfThePlaylist) {
  for (uint64_t i = 0; i < 60; ++i) {
    predictor.tell_context(100 + i, 31, ++minute);
    (void)predictor.see({.session = 100 + i, .track = 1000 + i, .minute = ++minute});
    (void)predictor.see({.session = 100 + i, .track = 5, .minute = ++minute});
  }
  predictor.tell_context(999, 31, ++minute);
  const PlayBegun fresh{.session = 999, .track = 4242, .minute = ++minute};
  (void)predictor.see(fresh);
  std::array<Guess, Predictor::kGuessesMax> out;
  ASSERT_GT(predictor.guess(fresh, out), 0U);
  EXPECT_EQ(out[0].track, 5U);
}

TEST_F(PredictorTest, MemoryIsBoundedAndWhatIsUsedOftenStays) {
  const uint64_t bytes = predictor.bytes();
  for (int i = 0; i < 50; ++i) play({1, 2});
  for (TrackId track = 10; track < 200'000; track += 2) play({track, track + 1});
  EXPECT_EQ(predictor.bytes(), bytes);
  EXPECT_LE(predictor.rows(), Predictor::kMemoryMin / Predictor::kRowBytes);
  EXPECT_GT(predictor.rows(), Predictor::kMemoryMin / Predictor::kRowBytes * 9 / 10);
  EXPECT_EQ(guesses({1}).at(0).track, 2U);
}

// --- the file ---

class PredictorFileTest : public PredictorTest {
 protected:
  std::vector<std::byte> saved(uint64_t owner = 7) {
    SavedPredictor file;
    for (uint64_t from = 0; (from = file.add_rows(predictor, from, 100)) != 0;) {
    }
    file.add_text("music/a.ogg");
    file.add_text(std::string(kKnownTextBytesMax, 'x'));
    file.add_text(std::string(kKnownTextBytesMax + 1, 'x'));  // left out
    return std::move(file).seal(owner);
  }
  /// With its checksum made right again, as somebody who means harm would.
  static void reseal(std::vector<std::byte>& file) {
    const uint64_t sum = checksum(std::span(file).first(file.size() - 8));
    std::memcpy(file.data() + file.size() - 8, &sum, 8);
  }
  static std::string mistake_in(const std::vector<std::byte>& file) {
    const auto opened = open_saved(file, 7);
    return opened ? "none" : opened.error();
  }
};

TEST_F(PredictorFileTest, ACopyThatHasRoomNeverMoves) {
  for (TrackId track = 10; track < 20'000; track += 2) play({track, track + 1});
  const uint64_t room = predictor.rows() * Predictor::kRowBytes + 4 * KiB;
  SavedPredictor copy(room);
  for (uint64_t from = 0; (from = copy.add_rows(predictor, from, 100)) != 0;) {
  }
  for (int i = 0; i < 10; ++i) copy.add_text("music/a.ogg");
  // A vector that had to grow would have grown by half of it at least.
  EXPECT_EQ(std::move(copy).seal(7).capacity(), room);
}

TEST_F(PredictorFileTest, WhatWasSavedIsKnownAgain) {
  for (int i = 0; i < 20; ++i) play({1, 2, 3});
  const std::vector<std::byte> file = saved();
  const auto opened = open_saved(file, 7);
  ASSERT_TRUE(opened.has_value()) << opened.error();
  ASSERT_EQ(opened->texts.size(), 2U);
  EXPECT_EQ(opened->texts[0], "music/a.ogg");
  const auto before = guesses({1});
  predictor = Predictor({.memory_bytes = 4 * Predictor::kMemoryMin});
  ASSERT_TRUE(predictor.take_rows(opened->rows, minute).has_value());
  const auto after = guesses({1});
  ASSERT_FALSE(after.empty());
  EXPECT_EQ(after[0].track, before[0].track);
  EXPECT_NEAR(after[0].probability, before[0].probability, 0.05);
}

TEST_F(PredictorFileTest, AFileThatIsNotWholeOrNotOursIsRefused) {
  play({1, 2, 3});
  const std::vector<std::byte> good = saved();
  EXPECT_EQ(mistake_in(good), "none");
  EXPECT_EQ(mistake_in({}), "too short");
  EXPECT_EQ(mistake_in(saved(8)), "it belongs to another cache");
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(mistake_in({good.begin(), good.begin() + static_cast<ptrdiff_t>(size)}), "none");
  for (size_t at = 0; at < good.size(); ++at) {
    std::vector<std::byte> flipped = good;
    flipped[at] ^= std::byte{0x10};
    EXPECT_NE(mistake_in(flipped), "none") << at;
  }
}

TEST_F(PredictorFileTest, CountsAndLengthsThatLieAreRefusedThoughTheChecksumIsRight) {
  play({1, 2, 3});
  const std::vector<std::byte> good = saved();
  const auto with = [&](size_t at, uint32_t value) {
    std::vector<std::byte> file = good;
    std::memcpy(file.data() + at, &value, sizeof value);
    reseal(file);
    return mistake_in(file);
  };
  EXPECT_EQ(with(8, 2), "version 2, 1 is known");
  EXPECT_EQ(with(12, UINT32_MAX), "its length is not that of what it holds");
  EXPECT_EQ(with(12, 0), "its length is not that of what it holds");
  EXPECT_EQ(with(28, UINT32_MAX), "its length is not that of what it holds");
  const size_t first_text = good.size() - 8 - 258 - 13;
  EXPECT_EQ(with(first_text, 0x6d750000), "a text has a length that cannot be");
  EXPECT_EQ(with(first_text, 0x6d75ffff), "a text has a length that cannot be");
  EXPECT_EQ(with(first_text, 0x6d75010e), "a text has a length that cannot be");
}

TEST_F(PredictorFileTest, RowsThatCannotBeChangeNothing) {
  play({1, 2, 3});
  const std::vector<std::byte> file = saved();
  const auto opened = open_saved(file, 7);
  ASSERT_TRUE(opened.has_value());
  const auto refused = [&](size_t at, float value) {
    std::vector<std::byte> rows(opened->rows.begin(), opened->rows.end());
    std::memcpy(rows.data() + rows.size() - Predictor::kRowBytes + at, &value, sizeof value);
    Predictor fresh({.memory_bytes = Predictor::kMemoryMin});
    const bool taken = fresh.take_rows(rows, minute).has_value();
    EXPECT_EQ(fresh.rows() > 0, taken);
    return !taken;
  };
  constexpr size_t kTotal = 8;
  constexpr size_t kWeight = 64;
  EXPECT_FALSE(refused(kTotal, 5.0F));
  EXPECT_TRUE(refused(kTotal, -1.0F));
  EXPECT_TRUE(refused(kTotal, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_TRUE(refused(kTotal, std::numeric_limits<float>::infinity()));
  EXPECT_TRUE(refused(kWeight, 1e8F));  // more than its row's total
  EXPECT_TRUE(refused(kWeight, std::numeric_limits<float>::quiet_NaN()));
  uint32_t far = minute + 24 * 60 + 1;
  float as_float = 0;
  std::memcpy(&as_float, &far, sizeof far);
  EXPECT_TRUE(refused(12, as_float));
}

}  // namespace
}  // namespace segue::edge
