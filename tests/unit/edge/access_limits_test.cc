// Goal: what one client may take, counted exactly, and a table that stays as large as it is.
#include <gtest/gtest.h>

#include "edge/access/client_limits.h"

namespace segue::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Opened = ClientLimits::Opened;

class ClientLimitsTest : public ::testing::Test {
 protected:
  void limit(const LimitOptions& options) { limits.configure(options); }
  ClientLimits limits{1};
  MonoTime now = MonoTime{} + seconds{1000};
};

TEST_F(ClientLimitsTest, WithoutLimitsNobodyIsCounted) {
  EXPECT_EQ(limits.open(1, now), Opened::Uncounted);
  EXPECT_EQ(limits.request(1, now), 0U);
  EXPECT_EQ(limits.charge(1, INT64_MAX, now), 0U);
  EXPECT_EQ(limits.miss(1, now), 0U);
}

TEST_F(ClientLimitsTest, AsManyConnectionsAsTheLimitAndNoMore) {
  limit({.connections = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limits.open(7, now), Opened::Counted);
  EXPECT_EQ(limits.open(7, now), Opened::Refused);
  EXPECT_EQ(limits.open(8, now), Opened::Counted);
  limits.close(7);
  EXPECT_EQ(limits.open(7, now), Opened::Counted);
}

TEST_F(ClientLimitsTest, AUnixSocketIsNobody) {
  limit({.connections = 1, .requests_per_second = 1});
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(limits.open(0, now), Opened::Uncounted);
    EXPECT_EQ(limits.request(0, now), 0U);
  }
}

TEST_F(ClientLimitsTest, RequestsAreAllowedAsABurstAndThenAtTheirRate) {
  limit({.requests_per_second = 10});
  for (int i = 0; i < 40; ++i) ASSERT_EQ(limits.request(7, now), 0U) << i;
  EXPECT_EQ(limits.request(7, now), 1U);
  EXPECT_EQ(limits.request(8, now), 0U);
  now += milliseconds{100};
  EXPECT_EQ(limits.request(7, now), 0U);
  EXPECT_EQ(limits.request(7, now), 1U);
  now += seconds{100};
  for (int i = 0; i < 40; ++i) ASSERT_EQ(limits.request(7, now), 0U) << i;
  EXPECT_GT(limits.request(7, now), 0U);
}

TEST_F(ClientLimitsTest, MissesAreAllowedAgainWhenTheirBytesArePaidOff) {
  limit({.miss_bytes_per_second = 1000});
  (void)limits.charge(7, 8000, now);
  EXPECT_EQ(limits.miss(7, now), 0U);
  const uint64_t put_down = limits.charge(7, 2500, now);
  EXPECT_EQ(limits.miss(7, now), 3U);
  EXPECT_EQ(limits.miss(8, now), 0U);
  limits.give_back(7, put_down, 0);  // the origin had nothing to send
  EXPECT_EQ(limits.miss(7, now), 0U);
  (void)limits.charge(7, 2500, now);
  now += milliseconds{2500};
  EXPECT_EQ(limits.miss(7, now), 0U);
}

TEST_F(ClientLimitsTest, NobodyOwesMoreThanAMinute) {
  limit({.miss_bytes_per_second = 1});
  (void)limits.charge(7, UINT64_MAX, now);
  (void)limits.charge(7, UINT64_MAX, now);
  EXPECT_EQ(limits.miss(7, now), 52U) << "less what it may have saved up";
}

TEST_F(ClientLimitsTest, WhatWasForgivenIsNotGivenBack) {
  limit({.miss_bytes_per_second = 1});
  limits.give_back(7, limits.charge(7, 100, now), 50);
  EXPECT_EQ(limits.miss(7, now), 42U);
  limits.give_back(8, limits.charge(8, 100, now), 80);
  EXPECT_EQ(limits.miss(8, now), 52U);
}

TEST_F(ClientLimitsTest, WhoOwesAMinuteDoesNotPayItOffByWhatFails) {
  limit({.miss_bytes_per_second = MiB});
  (void)limits.charge(7, 59 * MiB, now);
  for (int i = 0; i < 100; ++i) {
    limits.give_back(7, limits.charge(7, 30 * MiB, now), 0);
    ASSERT_EQ(limits.miss(7, now), 51U);
  }
  limits.give_back(7, limits.charge(7, 30 * MiB, now), 15 * MiB);
  EXPECT_EQ(limits.miss(7, now), 52U) << "what came is owed, as far as anything is";
}

TEST_F(ClientLimitsTest, MoreClientsThanPlacesAreNotLimitedButNeverMixedUp) {
  limit({.connections = 1});
  uint32_t counted = 0;
  uint32_t uncounted = 0;
  for (uint64_t key = 1; key <= 2 * kClientsLimitedMax; ++key) {
    const Opened opened = limits.open(key, now);
    ASSERT_NE(opened, Opened::Refused);
    (opened == Opened::Counted ? counted : uncounted)++;
  }
  EXPECT_LE(counted, kClientsLimitedMax);
  EXPECT_GT(counted, kClientsLimitedMax * 9 / 10);
  EXPECT_GT(uncounted, 0U);
}

TEST_F(ClientLimitsTest, WhoHasConnectionsIsNotForgotten) {
  limit({.connections = 1, .requests_per_second = 1});
  ASSERT_EQ(limits.open(7, now), Opened::Counted);
  for (uint64_t key = 100; key < 100 + 4 * kClientsLimitedMax; ++key)
    (void)limits.request(key, now);
  EXPECT_EQ(limits.open(7, now), Opened::Refused);
}

}  // namespace
}  // namespace segue::edge
