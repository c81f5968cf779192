// Goal: guesses are only observed until they have proved themselves, and never stand in a feed's
// way.
// Method: a planner, listeners who always play one track after the other, a time passed in.
#include "edge/prefetch/predicted_plans.h"

#include <gtest/gtest.h>

namespace segue::edge {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kHead = 256 * KiB;

class PredictedPlansTest : public ::testing::Test, public TrackSource {
 protected:
  PredictedPlansTest() { make(true); }
  void make(bool fetches) {
    Planner::Options plan{.judge_bytes = 10 * kHead};
    planner = std::make_unique<Planner>(plan, scores);
    predictor = std::make_unique<Predictor>(Predictor::Options{.memory_bytes = 1 * MiB});
    plans =
        std::make_unique<PredictedPlans>(PredictedPlans::Options{.fetches = fetches, .plan = plan},
                                         *predictor, *planner, scores, *this);
  }
  std::optional<PlanEntry> entry_of(TrackId track) override {
    if (track == unknown) return std::nullopt;
    return PlanEntry{.track = track, .due = now, .head_bytes = kHead};
  }
  uint64_t kin_of(TrackId /*track*/) const override { return 0; }

  void ask(uint64_t who, TrackId track, ByteRange range = {0, kHead}) {
    const DemandNote note{.track = track, .session = who, .range = range, .hit = false};
    planner->see(note, now);
    plans->see({.demand = note}, now, minute);
    plans->step(now);
  }
  /// `times` listeners play `first` and then `next`.
  void teach(int times, TrackId next = 2, TrackId first = 1) {
    for (int i = 0; i < times; ++i) {
      ask(++session, first);
      pass(30s);
      ask(session, next);
      pass(30s);
    }
  }
  void pass(std::chrono::seconds time) {
    now += time;
    minute = 1000 +
             static_cast<uint32_t>(
                 std::chrono::duration_cast<std::chrono::minutes>(now.time_since_epoch()).count());
  }
  std::vector<TrackId> orders() {
    std::vector<TrackId> tracks;
    while (auto order = planner->next(now)) {
      tracks.push_back(order->track);
      planner->landed(order->id, kHead);
      planner->ended(order->id, Planner::End::Complete, now);
    }
    return tracks;
  }

  ModelScores scores;
  std::unique_ptr<Planner> planner;
  std::unique_ptr<Predictor> predictor;
  std::unique_ptr<PredictedPlans> plans;
  TrackId unknown = 0;
  uint64_t session = 0;
  uint32_t minute = 1000;
  MonoTime now{1h};
};

TEST_F(PredictedPlansTest, GuessesAreObservedUntilTheyHaveProvedThemselves) {
  teach(6);
  EXPECT_FALSE(plans->is_trusted());
  EXPECT_TRUE(orders().empty());
  EXPECT_GT(scores.at(plans->observed_model()).planned.get(), 0U);
  teach(20);
  EXPECT_TRUE(plans->is_trusted());
  ask(++session, 1);
  EXPECT_EQ(orders(), std::vector<TrackId>{2});
  ask(session, 2);
  EXPECT_EQ(scores.at(plans->model()).used.get(), 1U);
}

TEST_F(PredictedPlansTest, SwitchedOffItNeverFetchesHoweverPreciseItIs) {
  make(false);
  teach(60);
  ask(++session, 1);
  EXPECT_FALSE(plans->is_trusted());
  EXPECT_TRUE(orders().empty());
  EXPECT_GT(scores.at(plans->observed_model()).precision(), 0.9);
}

TEST_F(PredictedPlansTest, GuessesThatAreWrongAreNotTrusted) {
  teach(10);
  for (TrackId other = 100; other < 400; ++other) teach(1, other);
  EXPECT_FALSE(plans->is_trusted());
  ask(++session, 1);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PredictedPlansTest, ASessionThatAFeedPlansIsLeftToIt) {
  teach(40);
  const PlanEntry named{.track = 50, .probability = 1, .due = now, .head_bytes = kHead};
  const uint32_t feed = scores.find_or_add("feed");
  ASSERT_TRUE(planner->set(
      {.session = ++session, .model = feed, .until = now + 600s, .next = {&named, 1}}, now));
  ask(session, 1);
  EXPECT_EQ(planner->model_of(session), feed);
}

TEST_F(PredictedPlansTest, AGuessThatNoLongerHoldsIsRevoked) {
  teach(40);
  teach(40, 88, 77);
  pass(1h);  // nobody else wants it any more
  planner->expire(now);
  ask(++session, 1);
  EXPECT_EQ(orders(), std::vector<TrackId>{2});
  pass(30s);
  ask(session, 77);  // another way
  EXPECT_EQ(scores.at(plans->model()).unused_revoked.get(), 1U);
}

TEST_F(PredictedPlansTest, OfAGuessedTrackOnlyTheHeadIsFetched) {
  teach(40);
  ask(++session, 1);
  EXPECT_EQ(orders(), std::vector<TrackId>{2});
  ask(session, 2);
  ask(session, 2, {kHead, 2 * kHead});  // played on: of a feed's track the rest would come now
  EXPECT_TRUE(orders().empty());
}

TEST_F(PredictedPlansTest, ATrackWhoseNameIsNotKnownIsNoPlan) {
  unknown = 2;
  teach(40);
  ask(++session, 1);
  EXPECT_TRUE(orders().empty());
}

TEST_F(PredictedPlansTest, ALookAtTheFirstBytesIsNoPlay) {
  for (int i = 0; i < 50; ++i) {
    ask(++session, 1, {0, 2});
    ask(session, 2, {0, 2});
  }
  EXPECT_EQ(predictor->rows(), 0U);
}

}  // namespace
}  // namespace segue::edge
