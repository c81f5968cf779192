// Goal: prefetches stand aside for an origin that got slower, not for one that is as it always was.
// Method: heads with the time each took, one look after each.
#include "edge/prefetch/origin_pace.h"

#include <gtest/gtest.h>

#include <vector>

namespace segue::edge {
namespace {

using namespace std::chrono_literals;

class OriginPaceTest : public ::testing::Test {
 protected:
  bool slow_after(std::chrono::milliseconds took) {
    now += 50ms;
    ns += static_cast<uint64_t>(std::chrono::nanoseconds(took).count());
    pace.see(++heads, ns, now);
    return pace.is_slow(now);
  }
  /// How many of `count` looks said that it is slow; the times of `kinds` come in turn.
  int slow_of(int count, std::vector<std::chrono::milliseconds> kinds) {
    int slow = 0;
    for (int i = 0; i < count; ++i)
      slow += slow_after(kinds[static_cast<size_t>(i) % kinds.size()]);
    return slow;
  }
  OriginPace pace;
  MonoTime now{1h};
  uint64_t heads = 0, ns = 0;
};

TEST_F(OriginPaceTest, AnOriginThatIsAsItAlwaysWasIsNotSlow) {
  EXPECT_EQ(slow_of(200, {300ms}), 0);
}

TEST_F(OriginPaceTest, QuickAnswersBesideDoNotMakeTheOthersSlow) {
  EXPECT_EQ(slow_of(200, {20ms, 300ms}), 0);
  EXPECT_EQ(slow_of(200, {1ms, 1ms, 1ms, 300ms}), 0);
}

TEST_F(OriginPaceTest, SomeHeadsInOneLookCountAsManyAsTheyAre) {
  slow_of(50, {300ms});
  heads += 8;
  ns += 8 * 900'000'000ULL;
  pace.see(heads, ns, now);
  EXPECT_TRUE(pace.is_slow(now));
}

TEST_F(OriginPaceTest, ThriceAsLateAsUsualIsSlowAfterAFewHeadsUntilItIsOver) {
  slow_of(50, {300ms});
  EXPECT_EQ(slow_of(5, {900ms}), 0);
  EXPECT_GT(slow_of(10, {900ms}), 0);
  EXPECT_TRUE(slow_after(900ms));
  slow_of(8, {300ms});
  EXPECT_FALSE(slow_after(300ms));
}

TEST_F(OriginPaceTest, TheFloorKeepsJitterOfAQuickOriginFromBeingSlow) {
  slow_of(50, {1ms});
  EXPECT_FALSE(slow_after(15ms));
  EXPECT_TRUE(slow_after(200ms));
}

TEST_F(OriginPaceTest, AnOriginThatNobodyAsksAnyMoreIsNotSlowForEver) {
  slow_of(50, {10ms});
  ASSERT_TRUE(slow_after(500ms));
  EXPECT_TRUE(pace.is_slow(now + 900ms));
  EXPECT_FALSE(pace.is_slow(now + 1s));
}

TEST_F(OriginPaceTest, AnOriginThatStaysSlowerIsWhatIsUsualAfterAWhile) {
  slow_of(50, {100ms});
  slow_of(9, {500ms});
  ASSERT_TRUE(slow_after(500ms));
  slow_of(500, {500ms});
  EXPECT_FALSE(slow_after(500ms));
}

}  // namespace
}  // namespace segue::edge
