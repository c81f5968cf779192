// Goal: ready nodes run in order, timers at their time, posts of many threads all arrive in order.
// Method: a loop without a driver under a virtual clock; timers against a sorted reference model.
#include "base/loop/loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/random.h"
#include "tests/support/sim_loop.h"

namespace segue {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::Random;
using testing::SimLoop;

struct LoggedNode : ReadyNode {
  LoggedNode(std::vector<int>& ran, int number)
      : ReadyNode([](ReadyNode& node) {
          auto& self = static_cast<LoggedNode&>(node);
          self.log.push_back(self.name);
        }),
        log(ran),
        name(number) {}
  std::vector<int>& log;
  int name;
};

class LoopTest : public ::testing::Test {
 protected:
  void run_all() {
    while (loop.run_one()) {
    }
  }
  VirtualClock clock;
  SimLoop loop{0, clock};
  std::vector<int> ran;
};

TEST_F(LoopTest, ReadyNodesRunInTheOrderTheyBecameReadyAndOnce) {
  LoggedNode a(ran, 1);
  LoggedNode b(ran, 2);
  LoggedNode c(ran, 3);
  loop.make_ready(b);
  loop.make_ready(a);
  loop.make_ready(b);  // queued already
  loop.make_ready(c);
  EXPECT_TRUE(b.queued());
  run_all();
  EXPECT_EQ(ran, (std::vector<int>{2, 1, 3}));
  EXPECT_FALSE(b.queued());
  EXPECT_FALSE(loop.run_one());
}

TEST_F(LoopTest, ACancelledNodeDoesNotRunWhereverItStoodInTheQueue) {
  LoggedNode a(ran, 1);
  LoggedNode b(ran, 2);
  LoggedNode c(ran, 3);
  for (LoggedNode* cancelled : {&a, &b, &c}) {
    ran.clear();
    loop.make_ready(a);
    loop.make_ready(b);
    loop.make_ready(c);
    loop.cancel_ready(*cancelled);
    loop.cancel_ready(*cancelled);  // not queued: nothing happens
    run_all();
    EXPECT_EQ(ran.size(), 2U);
    EXPECT_EQ(std::ranges::count(ran, cancelled->name), 0);
  }
  ran.clear();
  loop.make_ready(a);
  loop.cancel_ready(a);
  EXPECT_FALSE(loop.has_ready());
  loop.make_ready(b);  // the tail is sound
  run_all();
  EXPECT_EQ(ran, std::vector<int>{2});
}

struct LoggedTimer : Timer {
  LoggedTimer(std::vector<int>& fired, int number)
      : Timer([](Timer& timer) {
          auto& self = static_cast<LoggedTimer&>(timer);
          self.log.push_back(self.name);
        }),
        log(fired),
        name(number) {}
  std::vector<int>& log;
  int name;
};

TEST_F(LoopTest, ATimerFiresAtItsDeadlineAndOnce) {
  LoggedTimer timer(ran, 1);
  const MonoTime deadline = loop.now() + milliseconds{5};
  loop.arm(timer, deadline);
  EXPECT_EQ(loop.next_deadline(), deadline);
  clock.advance(milliseconds{5} - nanoseconds{1});
  loop.read_clock();
  loop.run_due_timers();
  EXPECT_TRUE(ran.empty());
  clock.advance(nanoseconds{1});
  loop.read_clock();
  loop.run_due_timers();
  loop.run_due_timers();
  EXPECT_EQ(ran, std::vector<int>{1});
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(loop.next_deadline(), kNever);
}

TEST_F(LoopTest, ArmingForNeverDisarms) {
  LoggedTimer timer(ran, 1);
  loop.arm(timer, loop.now());
  loop.arm(timer, kNever);
  EXPECT_FALSE(timer.armed());
  loop.run_due_timers();
  EXPECT_TRUE(ran.empty());
}

struct EagerTimer : Timer {
  explicit EagerTimer(Loop& on)
      : Timer([](Timer& timer) {
          auto& self = static_cast<EagerTimer&>(timer);
          ++self.fired;
          self.loop.arm(self, self.loop.now());
        }),
        loop(on) {}
  Loop& loop;
  int fired = 0;
};

TEST_F(LoopTest, ATimerThatArmsItselfForNowFiresOncePerStep) {
  EagerTimer timer(loop);
  loop.arm(timer, loop.now());
  loop.run_due_timers();
  EXPECT_EQ(timer.fired, 1);
  clock.advance(nanoseconds{1});
  loop.read_clock();
  loop.run_due_timers();
  EXPECT_EQ(timer.fired, 2);
  loop.disarm(timer);
}

// A timer that tears down its neighbours, as a closing connection does.
struct ReaperTimer : Timer {
  ReaperTimer(Loop& on, std::vector<std::unique_ptr<LoggedTimer>>& all)
      : Timer([](Timer& timer) {
          auto& self = static_cast<ReaperTimer&>(timer);
          for (auto& other : self.others) self.loop.disarm(*other);
        }),
        loop(on),
        others(all) {}
  Loop& loop;
  std::vector<std::unique_ptr<LoggedTimer>>& others;
};

TEST_F(LoopTest, ATimerDisarmedByAnotherThatIsDueTooDoesNotFire) {
  std::vector<std::unique_ptr<LoggedTimer>> others;
  ReaperTimer reaper(loop, others);
  loop.arm(reaper, loop.now());
  for (int i = 0; i < 10; ++i) {
    others.push_back(std::make_unique<LoggedTimer>(ran, i));
    loop.arm(*others.back(), loop.now() + nanoseconds{1});
  }
  clock.advance(milliseconds{1});
  loop.read_clock();
  loop.run_due_timers();
  EXPECT_TRUE(ran.empty());
}

TEST_F(LoopTest, TimersAgreeWithASortedModel) {
  constexpr int kTimers = 300;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random chance(seed);
    ran.clear();
    std::vector<std::unique_ptr<LoggedTimer>> timers;
    timers.reserve(kTimers);
    for (int i = 0; i < kTimers; ++i) timers.push_back(std::make_unique<LoggedTimer>(ran, i));
    std::set<std::pair<MonoTime, int>> model;
    const auto forget = [&](int number) {
      std::erase_if(model, [number](const auto& entry) { return entry.second == number; });
    };
    for (int step = 0; step < 2000; ++step) {
      const int number = static_cast<int>(chance.below(kTimers));
      switch (chance.below(4)) {
        case 0:
        case 1: {  // arm, or move
          const MonoTime deadline = clock.mono() + nanoseconds{chance.between(1, 1000)};
          forget(number);
          model.emplace(deadline, number);
          loop.arm(*timers[static_cast<size_t>(number)], deadline);
          break;
        }
        case 2:
          forget(number);
          loop.disarm(*timers[static_cast<size_t>(number)]);
          break;
        default:
          clock.advance(nanoseconds{chance.below(20)});
          loop.read_clock();
          std::multiset<int> due;
          while (!model.empty() && model.begin()->first <= loop.now()) {
            due.insert(model.begin()->second);
            model.erase(model.begin());
          }
          ran.clear();
          loop.run_due_timers();
          ASSERT_EQ(std::multiset<int>(ran.begin(), ran.end()), due) << "seed " << seed;
      }
      ASSERT_EQ(loop.next_deadline(), model.empty() ? kNever : model.begin()->first)
          << "seed " << seed << " step " << step;
    }
    for (auto& timer : timers) loop.disarm(*timer);
  }
}

TEST_F(LoopTest, TimersFireInTheOrderOfTheirDeadlines) {
  Random chance(5);
  std::vector<std::unique_ptr<LoggedTimer>> timers;
  std::vector<int> order(500);
  for (int i = 0; i < 500; ++i) order[static_cast<size_t>(i)] = i;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[chance.below(i)]);
  for (int number : order) {
    timers.push_back(std::make_unique<LoggedTimer>(ran, number));
    loop.arm(*timers.back(), loop.now() + nanoseconds{number});
  }
  clock.advance(milliseconds{1});
  loop.read_clock();
  loop.run_due_timers();
  EXPECT_EQ(ran.size(), 500U);
  EXPECT_TRUE(std::ranges::is_sorted(ran));
}

struct Numbered : PostNode {
  Numbered(std::vector<int>& into, int number)
      : PostNode([](PostNode& node) {
          auto& self = static_cast<Numbered&>(node);
          self.log.push_back(self.name);
        }),
        log(into),
        name(number) {}
  std::vector<int>& log;
  int name;
};

class CountingLoop final : public Loop {
 public:
  using Loop::Loop;
  std::atomic<int> wakes{0};

 protected:
  void wake() noexcept override { wakes.fetch_add(1); }
};

TEST(Posts, OneBatchWakesOnceAndKeepsItsOrder) {
  const VirtualClock clock;
  CountingLoop loop(0, clock);
  std::vector<int> got;
  Numbered a(got, 1);
  Numbered b(got, 2);
  Numbered c(got, 3);
  loop.post(a);
  loop.post(b);
  loop.post(c);
  EXPECT_EQ(loop.wakes, 1);
  EXPECT_TRUE(loop.has_posts());
  const Loop::Turn turn(loop);
  loop.run_posts();
  EXPECT_EQ(got, (std::vector<int>{1, 2, 3}));
  EXPECT_FALSE(loop.has_posts());
  loop.post(a);
  EXPECT_EQ(loop.wakes, 2);
  loop.run_posts();
}

TEST(Posts, OfManyThreadsAllArriveEachSendersInOrder) {
  constexpr int kSenders = 4;
  constexpr int kEach = 20'000;
  const VirtualClock clock;
  CountingLoop loop(0, clock);
  std::vector<int> got;
  std::vector<std::vector<std::unique_ptr<Numbered>>> messages(kSenders);
  for (int sender = 0; sender < kSenders; ++sender) {
    for (int i = 0; i < kEach; ++i) {
      messages[static_cast<size_t>(sender)].push_back(
          std::make_unique<Numbered>(got, sender * kEach + i));
    }
  }
  std::vector<std::thread> senders;
  senders.reserve(messages.size());
  for (auto& own : messages) {
    senders.emplace_back([&loop, &own] {
      for (auto& message : own) loop.post(*message);
    });
  }
  {
    const Loop::Turn turn(loop);
    while (got.size() < static_cast<size_t>(kSenders) * kEach) {
      loop.run_posts();
      std::this_thread::yield();
    }
  }
  for (auto& sender : senders) sender.join();
  std::vector<int> last(kSenders, -1);
  for (int number : got) {
    int& of_sender = last[static_cast<size_t>(number / kEach)];
    ASSERT_EQ(number % kEach, of_sender + 1);
    of_sender = number % kEach;
  }
  EXPECT_GE(loop.wakes, 1);
}

TEST(Turns, NestAndRestoreTheFormerLoop) {
  const VirtualClock clock;
  SimLoop outer(0, clock);
  SimLoop inner(1, clock);
  EXPECT_EQ(Loop::current(), nullptr);
  {
    const Loop::Turn turn(outer);
    EXPECT_EQ(Loop::current(), &outer);
    {
      const Loop::Turn nested(inner);
      EXPECT_EQ(Loop::current(), &inner);
    }
    EXPECT_EQ(Loop::current(), &outer);
  }
  EXPECT_EQ(Loop::current(), nullptr);
}

TEST(Clocks, VirtualTimeMovesOnlyForwardAndAWallJumpLeavesItAlone) {
  VirtualClock clock;
  const MonoTime start = clock.mono();
  const WallTime wall = clock.wall();
  clock.advance_to(start - milliseconds{5});
  EXPECT_EQ(clock.mono(), start);
  clock.advance(milliseconds{7});
  EXPECT_EQ(clock.mono() - start, milliseconds{7});
  EXPECT_EQ(clock.wall() - wall, milliseconds{7});
  clock.jump_wall(-milliseconds{1000});
  EXPECT_EQ(clock.wall() - wall, milliseconds{-993});
  EXPECT_EQ(clock.mono() - start, milliseconds{7});
}

TEST(Clocks, TheSystemsMonotonicTimeNeverGoesBack) {
  const SystemClock clock;
  MonoTime last = clock.mono();
  for (int i = 0; i < 1000; ++i) {
    const MonoTime now = clock.mono();
    EXPECT_GE(now, last);
    last = now;
  }
}

}  // namespace
}  // namespace segue
