// Goal: what a node tells its service manager and its loops. Method: loops on this thread, a socket
// of the test in place of the manager's.
#include "edge/node/node.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <semaphore>

#include "base/limits.h"
#include "base/loop/event_loop.h"
#include "edge/metrics/registry.h"
#include "edge/node/descriptors.h"
#include "edge/node/handed_over.h"
#include "edge/node/loop_health.h"
#include "edge/node/memory_trimmer.h"
#include "edge/node/service_manager.h"

namespace segue::edge {
namespace {

/// Runs what was posted to a loop, as a turn does.
void take_posts(Loop& loop) {
  const Loop::Turn turn(loop);
  loop.run_posts();
}

class LoopHealthTest : public testing::Test {
 protected:
  LoopHealthTest() {
    for (uint32_t i = 0; i < 3; ++i) loops_.push_back(*EventLoop::create(i, clock_, {}));
  }
  std::vector<Loop*> loops() {
    std::vector<Loop*> pointers;
    for (auto& loop : loops_) pointers.push_back(loop.get());
    return pointers;
  }
  SystemClock clock_;
  std::vector<std::unique_ptr<EventLoop>> loops_;
};

TEST_F(LoopHealthTest, LoopsThatTakeTheirMessageAreHealthy) {
  LoopHealth health(loops());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(health.check());
    for (auto& loop : loops_) take_posts(*loop);
  }
  EXPECT_EQ(health.stuck(), "");
}

TEST_F(LoopHealthTest, ALoopThatDoesNotIsNamedUntilItDoes) {
  LoopHealth health(loops());
  EXPECT_TRUE(health.check());
  take_posts(*loops_[0]);
  EXPECT_FALSE(health.check());
  EXPECT_EQ(health.stuck(), "1, 2");
  take_posts(*loops_[0]);
  take_posts(*loops_[1]);
  EXPECT_FALSE(health.check());
  EXPECT_EQ(health.stuck(), "2");
  for (auto& loop : loops_) take_posts(*loop);
  EXPECT_TRUE(health.check());
}

TEST(ServiceManager, TakesItsVariablesOutOfTheEnvironment) {
  setenv("NOTIFY_SOCKET", "/nowhere", 1);
  setenv("WATCHDOG_USEC", "10000000", 1);
  const auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager.has_value());
  EXPECT_EQ(manager->watchdog(), std::chrono::seconds{10});
  EXPECT_TRUE(manager->listeners().empty());
  EXPECT_EQ(getenv("NOTIFY_SOCKET"), nullptr);
  EXPECT_EQ(getenv("WATCHDOG_USEC"), nullptr);
  manager->notify("READY=1");  // nobody is there: nothing happens
}

TEST(ServiceManager, WhatIsMeantForAnotherProcessIsNotTaken) {
  setenv("WATCHDOG_USEC", "10000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  setenv("LISTEN_FDS", "1", 1);
  setenv("LISTEN_PID", "1", 1);
  const auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager.has_value());
  EXPECT_EQ(manager->watchdog().count(), 0);
  EXPECT_TRUE(manager->listeners().empty());
}

TEST(ServiceManager, NonsenseIsRefused) {
  for (const char* text : {"0", "-1", "10s", "99999999999999999999"}) {
    setenv("WATCHDOG_USEC", text, 1);
    EXPECT_FALSE(ServiceManager::from_environment().has_value()) << text;
  }
  const std::string own_pid = std::to_string(getpid());
  for (const char* text : {"257", "-1", "one"}) {
    setenv("LISTEN_FDS", text, 1);
    setenv("LISTEN_PID", own_pid.c_str(), 1);
    EXPECT_FALSE(ServiceManager::from_environment().has_value()) << text;
  }
}

TEST(Descriptors, WhatIsAllowedAtOnceStaysBelowTheSoftLimitOfOverload) {
  for (const uint64_t limit : {4096U, 65'536U, 1'048'576U}) {
    for (const uint32_t loops : {1U, 2U, 4U}) {
      const uint64_t clients = connections_within(limit, loops, 1, 2, UINT32_MAX);
      const uint64_t of_loop = clients + kTurnedAwayMax + kOriginConnectionsPerLoopMax + 2;
      EXPECT_LE(loops * of_loop, limit * kDescriptorsSoftPercent / 100) << limit << " " << loops;
      EXPECT_GE(loops * clients, limit * kDescriptorsSoftPercent / 100 / 2 - loops);
    }
  }
}

TEST(Descriptors, OfALowLimitHalfIsForClientsAndNeverNone) {
  EXPECT_EQ(connections_within(1024, 2, 1, 0, UINT32_MAX), 225U);  // 900 of 1,024, half of them
  EXPECT_EQ(connections_within(1024, 2, 1, 0, 100), 100U);
  EXPECT_EQ(connections_within(64, 2, 1, 0, UINT32_MAX), 16U);
  EXPECT_EQ(connections_within(UINT64_MAX, 2, 1, 0, UINT32_MAX), UINT32_MAX);  // RLIM_INFINITY
}

TEST(ClaimListeners, TakesOutWhatIsOpenAndRefusesWhatNobodyNamed) {
  const int fd = *open_listener(*ListenAddress::parse("127.0.0.1:0"));
  NodeOptions options;
  options.listen = {*ListenAddress::parse("127.0.0.1:1"), *ListenAddress::parse(listening_at(fd))};
  options.listen_texts = {"a", "b"};
  options.listen_tls.resize(2);
  ASSERT_TRUE(claim_listeners(options, {fd}).has_value());
  EXPECT_EQ(options.listen_texts, std::vector<std::string>{"a"});
  EXPECT_FALSE(claim_listeners(options, {fd}).has_value());
  options.listen.clear();
  options.listen_texts.clear();
  options.listen_tls.clear();
  EXPECT_TRUE(claim_listeners(options, {fd}).has_value());  // no [[listen]]: all are meant
  close(fd);
}

// --- memory given back ---

std::counting_semaphore<> trims_begun{0};
std::counting_semaphore<> trims_may_end{0};
std::atomic<int> trims{0};

TEST(MemoryTrimmer, WhatIsAskedWhileOneRunsIsOneMoreAndTheAskerNeverWaits) {
  {
    MemoryTrimmer trimmer([] {
      ++trims;
      trims_begun.release();
      trims_may_end.acquire();
    });
    trimmer.ask();
    trims_begun.acquire();
    for (int i = 0; i < 100; ++i) trimmer.ask();  // the first is still at it
    trims_may_end.release(100);
    trims_begun.acquire();
  }
  EXPECT_EQ(trims, 2);
}

TEST(MemoryTrimmer, WithoutAnAskNothingIsDone) {
  const int before = trims;
  {
    const MemoryTrimmer trimmer([] { ++trims; });
  }
  EXPECT_EQ(trims, before);
}

}  // namespace
}  // namespace segue::edge
