// Goal: the simulation's world is deterministic by its seed, tries different orders, and lets time
// pass only when all loops are at rest.
// Method: small tasks on two loops that write down the order in which they ran.
#include "tests/support/sim_loop.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace segue::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Task<void> log_often(std::string& log, char name, int times) {
  for (int i = 0; i < times; ++i) {
    log += name;
    co_await Yield{};
  }
}

std::string order_of(uint64_t seed) {
  SimWorld world(seed, 2);
  TaskGroup first(world.loop(0), 1);
  TaskGroup second(world.loop(1), 1);
  std::string log;
  {
    const Loop::Turn turn(world.loop(0));
    EXPECT_TRUE(first.try_spawn(log_often(log, 'a', 10)));
  }
  {
    const Loop::Turn turn(world.loop(1));
    EXPECT_TRUE(second.try_spawn(log_often(log, 'b', 10)));
  }
  EXPECT_TRUE(world.run_until_idle());
  return log;
}

TEST(SimWorlds, OneSeedIsOneOrder) { EXPECT_EQ(order_of(7), order_of(7)); }

TEST(SimWorlds, ManySeedsAreManyOrders) {
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 100; ++seed) orders.insert(order_of(seed));
  EXPECT_GT(orders.size(), 90U);
}

Task<void> tick(int& ticks, int times) {
  for (int i = 0; i < times; ++i) {
    co_await sleep_for(seconds{1});
    ++ticks;
  }
}

class SimWorldTest : public ::testing::Test {
 protected:
  void spawn_ticks(int times) {
    const Loop::Turn turn(world.loop(0));
    ASSERT_TRUE(group.try_spawn(tick(ticks, times)));
  }
  SimWorld world{3, 2};
  TaskGroup group{world.loop(0), 4};
  int ticks = 0;
};

TEST_F(SimWorldTest, TimeJumpsToTheNextDeadline) {
  spawn_ticks(3600);
  const uint64_t before = world.steps();
  EXPECT_TRUE(world.run_until_idle(seconds{4000}));
  EXPECT_EQ(ticks, 3600);
  EXPECT_LT(world.steps() - before, 3600U * 4);
}

TEST_F(SimWorldTest, RunForStopsAtItsEndAndTheClockStandsThere) {
  spawn_ticks(10);
  const MonoTime begun = world.clock().mono();
  world.run_for(milliseconds{2500});
  EXPECT_EQ(ticks, 2);
  EXPECT_EQ(world.clock().mono() - begun, milliseconds{2500});
  EXPECT_TRUE(world.run_until_idle());
}

TEST_F(SimWorldTest, RunUntilStopsAsSoonAsItHoldsOrTheBudgetIsSpent) {
  spawn_ticks(10);
  EXPECT_TRUE(world.run_until([&] { return ticks == 4; }, seconds{100}));
  EXPECT_EQ(ticks, 4);
  EXPECT_FALSE(world.run_until([&] { return ticks == 10; }, seconds{2}));
  EXPECT_LT(ticks, 7);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_FALSE(world.run_until([] { return false; }, seconds{1}));  // at rest: nothing can change
}

TEST_F(SimWorldTest, RestIsNotReportedWhileATimerIsArmed) {
  spawn_ticks(10);
  EXPECT_FALSE(world.run_until_idle(seconds{3}));
  EXPECT_TRUE(world.run_until_idle());
}

struct CountingHook final : StepHook {
  void after_step() override {
    ++calls;
    EXPECT_EQ(Loop::current(), nullptr);
  }
  uint64_t calls = 0;
};

TEST_F(SimWorldTest, TheHookIsCalledAfterEveryStepOutsideOfAnyTurn) {
  CountingHook hook;
  world.set_hook(&hook);
  spawn_ticks(5);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(hook.calls, world.steps());
  EXPECT_GT(hook.calls, 5U);
}

struct Reply : PostNode {
  explicit Reply(Signal& raised)
      : PostNode([](PostNode& node) { static_cast<Reply&>(node).signal.raise(); }),
        signal(raised) {}
  Signal& signal;
};

Task<void> wait_for_reply(Signal& signal, Wake& wake) { wake = co_await signal.wait(kNever); }

TEST_F(SimWorldTest, APostReachesTheOtherLoop) {
  Signal signal;
  Reply reply(signal);
  Wake wake = Wake::Deadline;
  {
    const Loop::Turn turn(world.loop(0));
    ASSERT_TRUE(group.try_spawn(wait_for_reply(signal, wake)));
  }
  {
    const Loop::Turn turn(world.loop(1));
    world.loop(0).post(reply);
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(wake, Wake::Raised);
}

TEST(RandomNumbers, StayWithinTheirBoundsAndReachThem) {
  Random chance(1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(chance.between(3, 9));
  EXPECT_EQ(seen, (std::set<uint64_t>{3, 4, 5, 6, 7, 8, 9}));
  EXPECT_FALSE(chance.one_in(0));
  EXPECT_TRUE(chance.one_in(1));
  Random again(1);
  EXPECT_EQ(again.between(3, 9), Random(1).between(3, 9));
  Random forked = again.fork();
  EXPECT_NE(forked.next(), again.next());
}

}  // namespace
}  // namespace segue::testing
