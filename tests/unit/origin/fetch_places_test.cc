// Goal: places for fetches are never more than there are, never lost, and given in the order of
// coming. Method: tickets and places held and dropped by hand; nothing runs.
#include "origin/fetch_places.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace segue::origin {
namespace {

TEST(FetchPlaces, AreAsManyAsSaid) {
  FetchPlaces places(2);
  FetchPlace one = places.try_take(false);
  FetchPlace two = places.try_take(false);
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(places.try_take(false));
  one = {};
  EXPECT_TRUE(places.try_take(false));  // and given back at once
  EXPECT_EQ(places.taken(), 1u);
}

TEST(FetchPlaces, TheLastQuarterIsDemands) {
  FetchPlaces places(8);
  std::vector<FetchPlace> held;
  for (int i = 0; i < 6; ++i) held.push_back(places.try_take(true));
  EXPECT_TRUE(held.back());
  EXPECT_FALSE(places.try_take(true));
  EXPECT_TRUE(places.try_take(false));
}

TEST(FetchPlaces, GoToThoseWhoWaitInTheOrderOfComing) {
  FetchPlaces places(1);
  Signal signal;
  FetchTicket first(places, signal);
  FetchTicket second(places, signal);
  FetchPlace held = places.try_take(false);
  ASSERT_TRUE(first.start_wait());
  ASSERT_TRUE(second.start_wait());
  held = {};
  EXPECT_FALSE(second.take());
  FetchPlace came = first.take();
  ASSERT_TRUE(came);
  EXPECT_FALSE(places.try_take(false));  // nobody overtakes
  came = {};
  EXPECT_TRUE(second.take());
  EXPECT_EQ(places.taken(), 0u);
}

TEST(FetchPlaces, OneThatGoesAwayWaitsNoMoreAndKeepsNothing) {
  FetchPlaces places(1);
  Signal signal;
  std::optional<FetchTicket> first;
  std::optional<FetchTicket> second;
  std::optional<FetchTicket> third;
  FetchPlace held = places.try_take(false);
  for (auto* ticket : {&first, &second, &third})
    ASSERT_TRUE(ticket->emplace(places, signal).start_wait());
  second.reset();
  EXPECT_EQ(places.waiting(), 2u);
  held = {};
  first.reset();  // with a place that it never took
  EXPECT_TRUE(third->take());
  EXPECT_EQ(places.waiting(), 0u);
  EXPECT_EQ(places.taken(), 0u);
}

}  // namespace
}  // namespace segue::origin
