// Waiters: who is called, who has given up before or after being called, and where nodes go.
#include "cache/wait_list.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

class CountingQueue final : public WaitQueue {
 public:
  void pass_on() noexcept override { ++passed_on; }
  int passed_on = 0;
};

class WaitListTest : public testing::Test {
 protected:
  VirtualClock clock;
  TestLoop loop{0, clock};
  WaitSlab slab{loop, 4};
  WaitList list;
};

TEST_F(WaitListTest, AWokenWaiterHearsItOnItsLoop) {
  Signal signal;
  WaitTicket ticket(slab, signal);
  ASSERT_TRUE(list.try_enqueue(ticket));
  EXPECT_TRUE(ticket.waiting());
  EXPECT_EQ(slab.in_use(), 1);
  list.take().wake();
  EXPECT_TRUE(list.empty());
  EXPECT_TRUE(ticket.waiting());  // its loop has not run yet
  loop.run();
  EXPECT_FALSE(ticket.waiting());
  EXPECT_EQ(slab.in_use(), 0);
}

TEST_F(WaitListTest, ATicketStandsInOneListOnly) {
  Signal signal;
  WaitTicket ticket(slab, signal);
  ASSERT_TRUE(list.try_enqueue(ticket));
  EXPECT_FALSE(list.try_enqueue(ticket));
  list.wake();
  loop.run();
  EXPECT_TRUE(list.try_enqueue(ticket));  // and again after its call
  list.wake();
  loop.run();
}

TEST_F(WaitListTest, AFullSlabRefusesTheNextWaiter) {
  Signal signals[5];
  std::vector<std::unique_ptr<WaitTicket>> tickets;
  for (Signal& signal : signals) tickets.push_back(std::make_unique<WaitTicket>(slab, signal));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(list.try_enqueue(*tickets[static_cast<size_t>(i)]));
  EXPECT_FALSE(list.try_enqueue(*tickets[4]));
  list.wake();
  loop.run();
  EXPECT_TRUE(list.try_enqueue(*tickets[4]));
  list.wake();
  loop.run();
}

TEST_F(WaitListTest, AWaiterThatGivesUpBeforeItsCallIsNotSignalled) {
  Signal signal;
  {
    WaitTicket ticket(slab, signal);
    ASSERT_TRUE(list.try_enqueue(ticket));
  }
  EXPECT_EQ(slab.in_use(), 1);  // the node is the list's until it is taken
  list.wake();
  loop.run();
  EXPECT_EQ(slab.in_use(), 0);
}

TEST_F(WaitListTest, AWaiterThatGivesUpAfterItsCallStillGetsItsNodeBack) {
  Signal signal;
  {
    WaitTicket ticket(slab, signal);
    ASSERT_TRUE(list.try_enqueue(ticket));
    list.wake();  // posted, not yet run
  }
  EXPECT_EQ(slab.in_use(), 1);
  loop.run();
  EXPECT_EQ(slab.in_use(), 0);
}

TEST_F(WaitListTest, OneIsCalledAtATimeOldestFirst) {
  Signal signals[2];
  WaitTicket first(slab, signals[0]);
  WaitTicket second(slab, signals[1]);
  ASSERT_TRUE(list.try_enqueue(first));
  ASSERT_TRUE(list.try_enqueue(second));
  list.take_one().wake();
  loop.run();
  EXPECT_FALSE(first.waiting());
  EXPECT_TRUE(second.waiting());
  list.take_one().wake();
  loop.run();
  EXPECT_FALSE(second.waiting());
  EXPECT_TRUE(list.empty());
}

TEST_F(WaitListTest, ACallSkipsThoseWhoGaveUp) {
  Signal signals[2];
  auto gone = std::make_unique<WaitTicket>(slab, signals[0]);
  WaitTicket here(slab, signals[1]);
  ASSERT_TRUE(list.try_enqueue(*gone));
  ASSERT_TRUE(list.try_enqueue(here));
  gone.reset();
  WaitList called = list.take_one();
  EXPECT_TRUE(called.calls());
  EXPECT_EQ(called.length(), 2);
  called.wake();
  loop.run();
  EXPECT_FALSE(here.waiting());
}

TEST_F(WaitListTest, ACallToNobodySaysSo) {
  Signal signal;
  auto gone = std::make_unique<WaitTicket>(slab, signal);
  ASSERT_TRUE(list.try_enqueue(*gone));
  gone.reset();
  WaitList called = list.take_one();
  EXPECT_FALSE(called.calls());
  called.wake();
  loop.run();
}

TEST_F(WaitListTest, ACallThatMissesItsWaiterIsPassedOn) {
  CountingQueue queue;
  Signal signal;
  auto ticket = std::make_unique<WaitTicket>(slab, signal);
  ASSERT_TRUE(list.try_enqueue(*ticket, 0, &queue));
  list.take_one().wake();
  ticket.reset();  // its deadline passed in the same turn
  EXPECT_EQ(queue.passed_on, 0);
  loop.run();
  EXPECT_EQ(queue.passed_on, 1);
}

TEST_F(WaitListTest, ACallThatWasUsedIsPassedOnWhenItsWaiterIsDone) {
  CountingQueue queue;
  Signal signal;
  {
    WaitTicket ticket(slab, signal);
    ASSERT_TRUE(list.try_enqueue(ticket, 0, &queue));
    list.take_one().wake();
    loop.run();
    EXPECT_FALSE(ticket.waiting());
  }
  EXPECT_EQ(queue.passed_on, 0);  // on a later turn: it may still take what it was called for
  loop.run();
  EXPECT_EQ(queue.passed_on, 1);
  EXPECT_EQ(slab.in_use(), 0);
}

TEST_F(WaitListTest, OnlyThoseWhoseBytesHaveLandedAreTaken) {
  Signal signals[3];
  WaitTicket near(slab, signals[0]);
  WaitTicket far(slab, signals[1]);
  WaitTicket nearer(slab, signals[2]);
  ASSERT_TRUE(list.try_enqueue(near, 99));
  ASSERT_TRUE(list.try_enqueue(far, 100));
  ASSERT_TRUE(list.try_enqueue(nearer, 0));
  list.take_beyond(100).wake();
  loop.run();
  EXPECT_FALSE(near.waiting());
  EXPECT_TRUE(far.waiting());
  EXPECT_FALSE(nearer.waiting());
  list.take_beyond(101).wake();
  loop.run();
  EXPECT_FALSE(far.waiting());
}

}  // namespace
}  // namespace segue::cache::test
