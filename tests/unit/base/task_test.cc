// Goal: coroutines keep rules R1-R7: flat stacks, no lost wake-up, bounded frames, owned ends.
// Method: tasks on simulated loops under a virtual clock.
#include "base/loop/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/units.h"
#include "tests/support/sim_loop.h"

namespace segue {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::SimLoop;
using testing::SimWorld;

class TaskTest : public ::testing::Test {
 protected:
  template <class Make>
  [[nodiscard]] bool spawn(Make make) {
    const Loop::Turn turn(loop);
    return group.try_spawn(make());
  }
  SimWorld world{1, 1};
  SimLoop& loop = world.loop(0);
  TaskGroup group{loop, 8};
};

Task<Result<int>> ready_number(int number) { co_return number; }
Task<Result<int>> failing() { co_return fail(Side::Origin, Kind::Timeout, "first byte"); }

Task<void> add_up(uint64_t& sum, int count) {
  for (int i = 0; i < count; ++i) {
    auto number = co_await ready_number(1);
    if (!number) co_return;
    sum += static_cast<uint64_t>(*number);
  }
}

TEST_F(TaskTest, AMillionReadyAwaitsNeedNoStackAndNoTurn) {
  uint64_t sum = 0;
  ASSERT_TRUE(spawn([&] { return add_up(sum, 1'000'000); }));
  EXPECT_EQ(sum, 1'000'000U);  // all inside try_spawn
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(group.running(), 0U);
}

Task<void> yield_often(uint64_t& sum, int count) {
  for (int i = 0; i < count; ++i) {
    co_await Yield{};
    ++sum;
  }
}

TEST_F(TaskTest, AMillionSuspensionsNeedNoStackEither) {
  uint64_t sum = 0;
  ASSERT_TRUE(spawn([&] { return yield_often(sum, 1'000'000); }));
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(sum, 1'000'000U);
}

Task<Result<std::unique_ptr<int>>> later(int number) {
  co_await sleep_for(milliseconds{3});
  co_return std::make_unique<int>(number);
}

Task<void> keep_sum(int& sum) {
  auto first = co_await later(3);
  auto second = co_await later(4);
  sum = **first + **second;
  auto failed = co_await failing();
  EXPECT_EQ(failed.error().kind, Kind::Timeout);
}

TEST_F(TaskTest, AWaitingChildResumesItsParentWithTheResult) {
  int sum = 0;
  const MonoTime begun = world.clock().mono();
  ASSERT_TRUE(spawn([&] { return keep_sum(sum); }));
  EXPECT_EQ(sum, 0);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(sum, 7);
  EXPECT_GE(world.clock().mono() - begun, milliseconds{6});
  EXPECT_LT(world.clock().mono() - begun, milliseconds{7});
}

TEST_F(TaskTest, ATaskThatIsNeverAwaitedIsDestroyedUnstarted) {
  bool started = false;
  {
    const Loop::Turn turn(loop);
    const auto task = [](bool& ran) -> Task<void> {
      ran = true;
      co_return;
    }(started);
    EXPECT_EQ(loop.frames().frames_in_use(), 1U);
  }
  EXPECT_FALSE(started);
  EXPECT_EQ(loop.frames().frames_in_use(), 0U);
}

struct Permit {
  explicit Permit(bool& flag) : given_back(&flag) {}
  Permit(Permit&& other) noexcept : given_back(std::exchange(other.given_back, nullptr)) {}
  Permit& operator=(Permit&&) = delete;
  ~Permit() {
    if (given_back != nullptr) *given_back = true;
  }
  bool* given_back;
};

// Not inline: clang would else put this frame into its parent's, and no frame could be missing.
[[gnu::noinline]] Task<Result<Done>> hold(Permit handed) {
  const Permit permit = std::move(handed);
  co_await sleep_for(milliseconds{1});
  co_return Done{};
}

Task<void> hold_and_note(bool& given_back, Kind& kind) {
  const auto held = co_await hold(Permit(given_back));
  kind = held ? Kind::IoError : held.error().kind;
}

TEST_F(TaskTest, AFullFramePoolYieldsOverloadedAndGivesTheParametersBack) {
  bool given_back = false;
  Kind kind = Kind::IoError;
  std::vector<void*> others;
  {
    const Loop::Turn turn(loop);
    Task<void> task = hold_and_note(given_back, kind);
    void* spare = loop.frames().allocate(256);  // for the group's entry
    for (const size_t bytes : {16384U, 8192U, 4096U, 2048U, 1024U, 512U, 256U}) {
      while (void* frame = loop.frames().allocate(bytes)) others.push_back(frame);
    }
    FramePool::deallocate(spare);
    ASSERT_TRUE(group.try_spawn(std::move(task)));
  }
  EXPECT_EQ(kind, Kind::Overloaded);
  EXPECT_TRUE(given_back);
  for (void* frame : others) FramePool::deallocate(frame);
  EXPECT_TRUE(world.run_until_idle());
}

class SmallPoolLoop final : public Loop {
 public:
  SmallPoolLoop(const Clock& clock, uint64_t bytes) : Loop(0, clock, bytes) {}

 protected:
  void wake() noexcept override {}
};

Task<void> wait_long() { co_await sleep_for(seconds{1}); }

TEST(TaskGroups, RefuseToSpawnWithoutFramesAndStartNothing) {
  VirtualClock clock;
  SmallPoolLoop loop(clock, 64 * KiB);
  TaskGroup group(loop, 10'000);
  uint32_t spawned = 0;
  {
    const Loop::Turn turn(loop);
    while (group.try_spawn(wait_long())) ++spawned;
  }
  EXPECT_GT(spawned, 10U);
  EXPECT_LT(spawned, 1000U);
  EXPECT_EQ(group.running(), spawned);
  clock.advance(seconds{1});
  const Loop::Turn turn(loop);
  loop.run_due_timers();
  while (loop.run_one()) {
  }
  EXPECT_EQ(group.running(), 0U);
  EXPECT_EQ(loop.frames().frames_in_use(), 0U);
}

TEST_F(TaskTest, AGroupTakesItsLimitAndNotOneMore) {
  for (uint32_t i = 0; i < group.tasks_max(); ++i) ASSERT_TRUE(spawn([] { return wait_long(); }));
  EXPECT_FALSE(spawn([] { return wait_long(); }));
  EXPECT_EQ(group.running(), 8U);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(group.running(), 0U);
  EXPECT_TRUE(spawn([] { return wait_long(); }));
  EXPECT_TRUE(world.run_until_idle());
}

Task<void> drain_then_note(TaskGroup& group, uint32_t& left) {
  co_await group.drain();
  left = group.running();
}

TEST_F(TaskTest, DrainEndsWhenTheLastTaskIsGone) {
  TaskGroup waiters(loop, 2);
  uint32_t left = 99;
  ASSERT_TRUE(spawn([] { return wait_long(); }));
  {
    const Loop::Turn turn(loop);
    ASSERT_TRUE(waiters.try_spawn(drain_then_note(group, left)));
  }
  world.run_for(milliseconds{500});
  ASSERT_TRUE(spawn([] { return wait_long(); }));  // joins while the drain waits
  world.run_for(milliseconds{900});
  EXPECT_EQ(left, 99U);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(left, 0U);
}

TEST_F(TaskTest, DrainOfAnEmptyGroupEndsAtOnce) {
  TaskGroup waiters(loop, 1);
  uint32_t left = 99;
  {
    const Loop::Turn turn(loop);
    ASSERT_TRUE(waiters.try_spawn(drain_then_note(group, left)));
  }
  EXPECT_EQ(left, 0U);
  EXPECT_TRUE(world.run_until_idle());
}

Task<void> note_wake(Signal& signal, MonoTime deadline, std::vector<Wake>& wakes) {
  wakes.push_back(co_await signal.wait(deadline));
}

TEST_F(TaskTest, ASignalRaisedBeforeTheWaitEndsItAtOnceAndOnlyOnce) {
  Signal signal;
  std::vector<Wake> wakes;
  {
    const Loop::Turn turn(loop);
    signal.raise();
    signal.raise();  // counts once
  }
  ASSERT_TRUE(spawn([&] { return note_wake(signal, kNever, wakes); }));
  EXPECT_EQ(wakes, std::vector<Wake>{Wake::Raised});
  ASSERT_TRUE(spawn([&] { return note_wake(signal, loop.now() + milliseconds{1}, wakes); }));
  EXPECT_TRUE(signal.waiting());
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(wakes, (std::vector<Wake>{Wake::Raised, Wake::Deadline}));
}

TEST_F(TaskTest, ASignalRaisedDuringTheWaitEndsItBeforeTheDeadline) {
  Signal signal;
  std::vector<Wake> wakes;
  ASSERT_TRUE(spawn([&] { return note_wake(signal, loop.now() + seconds{5}, wakes); }));
  const MonoTime begun = world.clock().mono();
  {
    const Loop::Turn turn(loop);
    signal.raise();
    EXPECT_FALSE(signal.waiting());
  }
  EXPECT_TRUE(world.run_until_idle());  // the timer is gone: the clock need not move
  EXPECT_EQ(wakes, std::vector<Wake>{Wake::Raised});
  EXPECT_LT(world.clock().mono() - begun, milliseconds{1});
}

TEST_F(TaskTest, ARaiseBetweenTheDeadlineAndTheResumeIsKeptForTheNextWait) {
  Signal signal;
  std::vector<Wake> wakes;
  ASSERT_TRUE(spawn([&] { return note_wake(signal, loop.now() + milliseconds{1}, wakes); }));
  world.clock().advance(milliseconds{1});
  {
    const Loop::Turn turn(loop);
    loop.run_due_timers();
    signal.raise();
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(wakes, std::vector<Wake>{Wake::Deadline});
  ASSERT_TRUE(spawn([&] { return note_wake(signal, kNever, wakes); }));
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(wakes, (std::vector<Wake>{Wake::Deadline, Wake::Raised}));
}

TEST_F(TaskTest, AWaitWhoseDeadlineIsPastEndsOnTheNextStep) {
  Signal signal;
  std::vector<Wake> wakes;
  ASSERT_TRUE(spawn([&] { return note_wake(signal, loop.now() - seconds{1}, wakes); }));
  EXPECT_TRUE(wakes.empty());  // not inside the wait itself
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(wakes, std::vector<Wake>{Wake::Deadline});
}

Task<void> ping(Signal& own, Signal& other, int rounds, int& count) {
  for (int i = 0; i < rounds; ++i) {
    (void)co_await own.wait(kNever);
    ++count;
    other.raise();
  }
}

TEST_F(TaskTest, TwoTasksThatWakeEachOtherRunInTurns) {
  Signal a;
  Signal b;
  int first = 0;
  int second = 0;
  ASSERT_TRUE(spawn([&] { return ping(a, b, 1000, first); }));
  ASSERT_TRUE(spawn([&] { return ping(b, a, 1000, second); }));
  {
    const Loop::Turn turn(loop);
    a.raise();
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(first, 1000);
  EXPECT_EQ(second, 1000);
}

Task<void> raise_and_log(Signal& signal, std::vector<std::string>& log) {
  co_await Yield{};
  signal.raise();
  log.emplace_back("raised");  // the waiter has not run yet: it is only made ready
}

Task<void> wait_and_log(Signal& signal, std::vector<std::string>& log) {
  (void)co_await signal.wait(kNever);
  log.emplace_back("woken");
}

TEST_F(TaskTest, AWaiterNeverRunsInsideTheOneWhoWakesIt) {
  Signal signal;
  std::vector<std::string> log;
  ASSERT_TRUE(spawn([&] { return wait_and_log(signal, log); }));
  ASSERT_TRUE(spawn([&] { return raise_and_log(signal, log); }));
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(log, (std::vector<std::string>{"raised", "woken"}));
}

using TaskDeathTest = TaskTest;

TEST_F(TaskDeathTest, AGroupMayNotBeDestroyedWithTasksRunning) {
  EXPECT_DEATH(
      {
        TaskGroup leaked(loop, 1);
        const Loop::Turn turn(loop);
        (void)leaked.try_spawn(wait_long());
      },
      "running_ == 0");
}

TEST_F(TaskDeathTest, ASignalHasOneWaiter) {
  Signal signal;
  std::vector<Wake> wakes;
  ASSERT_TRUE(spawn([&] { return note_wake(signal, kNever, wakes); }));
  EXPECT_DEATH((void)spawn([&] { return note_wake(signal, kNever, wakes); }), "waiter_");
  const Loop::Turn turn(loop);
  signal.raise();
  while (loop.run_one()) {
  }
}

}  // namespace
}  // namespace segue
