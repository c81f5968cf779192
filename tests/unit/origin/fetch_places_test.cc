// Goal: places for fetches are never more than there are, never lost, and given in the order of
// coming. Method: tickets and places held and dropped by hand; nothing runs.
#include "origin/fetch_places.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "tests/support/sim_loop.h"

namespace segue::origin {
namespace {

Task<void> wait_and_tell(FetchPlaces& places, Signal& signal, const bool& cancelled,
                         std::vector<Error>& told) {
  auto place = co_await wait_for_place(places, signal, cancelled, kNever, /*urgent=*/false);
  if (!place) told.push_back(place.error());
}

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

TEST(FetchPlaces, UrgentOnesOvertakeThoseWhoAreNotAndNobodyElse) {
  FetchPlaces places(1);
  Signal signal;
  FetchTicket usual(places, signal);
  FetchTicket first(places, signal, /*urgent=*/true);
  FetchTicket second(places, signal, /*urgent=*/true);
  FetchPlace held = places.try_take(false);
  for (FetchTicket* ticket : {&usual, &first, &second}) ASSERT_TRUE(ticket->start_wait());
  for (FetchTicket* next : {&first, &second, &usual}) {
    held = {};
    held = next->take();
    ASSERT_TRUE(held);
  }
}

TEST(FetchPlaces, OfFourPlacesOneIsLeftToThoseWhoAreNotUrgent) {
  FetchPlaces places(1);
  Signal signal;
  std::vector<std::unique_ptr<FetchTicket>> tickets;
  for (int i = 0; i < 12; ++i)
    tickets.push_back(std::make_unique<FetchTicket>(places, signal, /*urgent=*/i >= 2));
  FetchPlace held = places.try_take(false);
  for (const auto& ticket : tickets) ASSERT_TRUE(ticket->start_wait());
  std::vector<int> order;
  while (order.size() < tickets.size()) {
    held = {};
    for (int i = 0; i < 12; ++i) {
      FetchPlace came = tickets[static_cast<size_t>(i)]->take();
      if (!came) continue;
      order.push_back(i);
      held = std::move(came);
    }
  }
  EXPECT_EQ(order, (std::vector<int>{2, 3, 4, 0, 5, 6, 7, 1, 8, 9, 10, 11}));
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

TEST(FetchPlaces, OnceClosedTellWhoWaitsAndWhoComes) {
  testing::SimWorld world(1, 1);
  FetchPlaces places(1);
  TaskGroup group(world.loop(0), 8);
  std::vector<Error> told;
  bool cancelled = false;
  std::vector<std::unique_ptr<Signal>> signals;
  const auto come = [&] {
    const Loop::Turn turn(world.loop(0));
    signals.push_back(std::make_unique<Signal>());
    EXPECT_TRUE(group.try_spawn(wait_and_tell(places, *signals.back(), cancelled, told)));
  };
  FetchPlace held = places.try_take(false);
  come();
  come();
  EXPECT_EQ(places.waiting(), 2u);
  {
    const Loop::Turn turn(world.loop(0));
    places.close();
    held = {};
  }
  come();
  EXPECT_TRUE(world.run_until_idle());
  ASSERT_EQ(told.size(), 3u);
  for (const Error& error : told) EXPECT_EQ(error.kind, Kind::Overloaded);
  EXPECT_EQ(places.taken() + places.waiting(), 0u);
}

}  // namespace
}  // namespace segue::origin
