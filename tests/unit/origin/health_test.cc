// Goal: a breaker opens after consecutive failures only, lets exactly one probe through, and moves
// only by that probe. Method: the plain functions; threads for the races (run under TSan).
#include "origin/health.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace segue::origin {
namespace {

using std::chrono::milliseconds;
using Permission = Health::Permission;

constexpr MonoTime kStart{std::chrono::hours{5}};

TEST(Health, OpensAfterConsecutiveFailuresOnly) {
  Health health(2, 3, milliseconds{1000});
  for (int round = 0; round < 5; ++round) {
    health.report(0, Permission::Normal, Outcome::Bad, kStart);
    health.report(0, Permission::Normal, Outcome::Bad, kStart);
    health.report(0, Permission::Normal, Outcome::Good, kStart);
  }
  EXPECT_EQ(health.state(0), BreakerState::Closed);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(health.ask(0, kStart), Permission::Normal);
    health.report(0, Permission::Normal, Outcome::Bad, kStart);
  }
  EXPECT_EQ(health.state(0), BreakerState::Open);
  EXPECT_EQ(health.trips(0), 1U);
  EXPECT_EQ(health.ask(0, kStart), Permission::Denied);
  EXPECT_FALSE(health.may_ask(0, kStart));
  EXPECT_EQ(health.ask(1, kStart), Permission::Normal);  // each server by itself
}

TEST(Health, DroppedRequestsProveNothing) {
  Health health(1, 2, milliseconds{1000});
  health.report(0, Permission::Normal, Outcome::Bad, kStart);
  health.report(0, Permission::Normal, Outcome::Dropped, kStart);
  EXPECT_EQ(health.state(0), BreakerState::Closed);
  health.report(0, Permission::Normal, Outcome::Bad, kStart);
  EXPECT_EQ(health.state(0), BreakerState::Open);
}

class OpenBreaker : public ::testing::Test {
 protected:
  OpenBreaker() { health_.report(0, Permission::Normal, Outcome::Bad, kStart); }
  Health health_{1, 1, milliseconds{1000}};
  const MonoTime later_ = kStart + milliseconds{1000};
};

TEST_F(OpenBreaker, LetsOneProbeThroughWhenItsTimeIsOver) {
  EXPECT_EQ(health_.ask(0, later_ - milliseconds{1}), Permission::Denied);
  EXPECT_TRUE(health_.may_ask(0, later_));
  EXPECT_EQ(health_.ask(0, later_), Permission::Probe);
  EXPECT_EQ(health_.state(0), BreakerState::HalfOpen);
  EXPECT_EQ(health_.ask(0, later_), Permission::Denied);
  EXPECT_FALSE(health_.may_ask(0, later_));
}

TEST_F(OpenBreaker, ClosesByAGoodProbe) {
  ASSERT_EQ(health_.ask(0, later_), Permission::Probe);
  health_.report(0, Permission::Probe, Outcome::Good, later_);
  EXPECT_EQ(health_.ask(0, later_), Permission::Normal);
}

TEST_F(OpenBreaker, StaysOpenByABadProbe) {
  ASSERT_EQ(health_.ask(0, later_), Permission::Probe);
  health_.report(0, Permission::Probe, Outcome::Bad, later_);
  EXPECT_EQ(health_.ask(0, later_ + milliseconds{999}), Permission::Denied);
  EXPECT_EQ(health_.ask(0, later_ + milliseconds{1000}), Permission::Probe);
  EXPECT_EQ(health_.trips(0), 1U);
}

TEST_F(OpenBreaker, LetsTheNextProbeAtOnceWhereOneWasDropped) {
  ASSERT_EQ(health_.ask(0, later_), Permission::Probe);
  health_.report(0, Permission::Probe, Outcome::Dropped, later_);
  EXPECT_EQ(health_.ask(0, later_), Permission::Probe);
}

TEST_F(OpenBreaker, IsNotMovedByLateAnswersOfOlderRequests) {
  health_.report(0, Permission::Normal, Outcome::Good, kStart);
  EXPECT_EQ(health_.state(0), BreakerState::Open);
  ASSERT_EQ(health_.ask(0, later_), Permission::Probe);
  health_.report(0, Permission::Normal, Outcome::Good, later_);
  health_.report(0, Permission::Normal, Outcome::Bad, later_);
  EXPECT_EQ(health_.state(0), BreakerState::HalfOpen);
}

TEST(Health, ManyThreadsTakeOneProbeAtATime) {
  Health health(1, 1, milliseconds{0});
  health.report(0, Permission::Normal, Outcome::Bad, kStart);
  std::atomic<int> probing{0};
  std::atomic<uint64_t> probes{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        if (health.ask(0, kStart) != Permission::Probe) continue;
        EXPECT_EQ(probing.fetch_add(1), 0);
        probes.fetch_add(1);
        probing.fetch_sub(1);
        health.report(0, Permission::Probe, i % 2 == 0 ? Outcome::Bad : Outcome::Dropped, kStart);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(probes.load(), 1U);
  EXPECT_EQ(health.state(0), BreakerState::Open);
}

TEST(Health, NoFailureOfManyThreadsIsLost) {
  Health health(1, 4000, milliseconds{1000});
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) health.report(0, Permission::Normal, Outcome::Bad, kStart);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(health.state(0), BreakerState::Open);
  EXPECT_EQ(health.trips(0), 1U);
}

}  // namespace
}  // namespace segue::origin
