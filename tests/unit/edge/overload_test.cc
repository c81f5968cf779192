// The overload manager's judgement: from how much use on each load is shed, in which order, and
// when it stops.
#include "edge/overload/overload.h"

#include <gtest/gtest.h>

#include "edge/metrics/registry.h"

namespace segue::edge {
namespace {

constexpr Load kInOrder[] = {Load::Prefetch, Load::Revalidation, Load::Connection, Load::Miss};

Readings with(Resource resource, uint64_t used) {
  Readings readings;
  for (Reading& reading : readings) reading = {.used = 0, .soft = 700, .hard = 1000};
  readings[static_cast<uint8_t>(resource)].used = used;
  return readings;
}

/// What is shed, as letters: p, r, c, m.
std::string shed(const Overload& overload) {
  std::string text;
  for (const Load load : kInOrder) {
    if (overload.sheds(load)) text += name_of(load).front();
  }
  return text;
}

TEST(Overload, EachResourceShedsWhatUsesItInOrderFromSoftToHard) {
  struct Case {
    Resource resource;
    std::array<std::optional<uint64_t>, kLoads> from;
  };
  const Case cases[] = {
      {Resource::Buffers, {700, 850, {}, 1000}},      {Resource::Memory, {700, 800, 900, 1000}},
      {Resource::Descriptors, {700, 800, 900, 1000}}, {Resource::Fills, {700, 850, {}, 1000}},
      {Resource::Ring, {700, 1000, {}, {}}},
  };
  const Reading reading{.used = 0, .soft = 700, .hard = 1000};
  for (const Case& each : cases) {
    for (uint8_t i = 0; i < kLoads; ++i)
      EXPECT_EQ(shed_from(each.resource, kInOrder[i], reading), each.from[i])
          << name_of(each.resource) << " " << name_of(kInOrder[i]);
  }
}

TEST(Overload, OneBelowALimitNothingMoreIsShedAndAtItTheNextLoadIs) {
  Overload overload;
  const std::pair<uint64_t, const char*> steps[] = {{699, ""},    {700, "p"},     {799, "p"},
                                                    {800, "pr"},  {899, "pr"},    {900, "prc"},
                                                    {999, "prc"}, {1000, "prcm"}, {5000, "prcm"}};
  for (const auto& [used, expected] : steps) {
    overload.judge(with(Resource::Descriptors, used));
    EXPECT_EQ(shed(overload), expected) << used;
  }
}

TEST(Overload, WhatIsShedStopsASixteenthBelowWhereItBegan) {
  Overload overload;
  EXPECT_TRUE(overload.judge(with(Resource::Ring, 1000)));
  EXPECT_EQ(shed(overload), "pr");
  EXPECT_FALSE(overload.judge(with(Resource::Ring, 938)));
  EXPECT_EQ(shed(overload), "pr");
  EXPECT_TRUE(overload.judge(with(Resource::Ring, 937)));
  EXPECT_EQ(shed(overload), "p");
  EXPECT_FALSE(overload.judge(with(Resource::Ring, 657)));
  EXPECT_EQ(shed(overload), "p");
  EXPECT_TRUE(overload.judge(with(Resource::Ring, 656)));
  EXPECT_EQ(shed(overload), "");
  EXPECT_EQ(overload.describe(), "");
}

TEST(Overload, WhatOneResourceShedsAnotherDoesNotTakeBack) {
  Overload overload;
  Readings readings = with(Resource::Memory, 900);
  readings[static_cast<uint8_t>(Resource::Ring)].used = 700;
  overload.judge(readings);
  EXPECT_EQ(shed(overload), "prc");
  EXPECT_EQ(overload.describe(),
            "shed=prefetch,revalidation,connection resource=memory used=900 soft=700 hard=1000 "
            "resource=ring used=700 soft=700 hard=1000");
  readings[static_cast<uint8_t>(Resource::Memory)].used = 0;
  overload.judge(readings);
  EXPECT_EQ(shed(overload), "p");
  EXPECT_TRUE(overload.sheds(Load::Prefetch, Resource::Ring));
  EXPECT_FALSE(overload.sheds(Load::Prefetch, Resource::Memory));
}

TEST(Overload, WithoutALimitAResourceNeverRunsShort) {
  Overload overload;
  Readings readings;
  for (Reading& reading : readings) reading.used = UINT64_MAX;
  EXPECT_FALSE(overload.judge(readings));
  EXPECT_EQ(shed(overload), "");
}

TEST(Overload, LimitsThatFallUnderTheUseShedAtOnceAndOnesThatGoAwayStopIt) {
  Overload overload;
  Readings readings = with(Resource::Descriptors, 500);
  overload.judge(readings);
  EXPECT_EQ(shed(overload), "");
  Reading& reading = readings[static_cast<uint8_t>(Resource::Descriptors)];
  reading = {.used = 500, .soft = 90, .hard = 98};  // prlimit(2)
  overload.judge(readings);
  EXPECT_EQ(shed(overload), "prcm");
  reading = {.used = 500, .soft = 0, .hard = 0};
  overload.judge(readings);
  EXPECT_EQ(shed(overload), "");
}

TEST(Overload, TheMetricsSayWhatIsInUseAndWhatIsShed) {
  Overload overload;
  Registry registry;
  overload.register_metrics(registry);
  overload.judge(with(Resource::Fills, 850));
  const std::string text = registry.prometheus_text();
  for (const char* line : {"segue_overload_used{resource=\"fills\"} 850",
                           "segue_overload_soft_limit{resource=\"fills\"} 700",
                           "segue_overload_hard_limit{resource=\"ring\"} 1000",
                           "segue_overload_shedding{load=\"prefetch\"} 1",
                           "segue_overload_shedding{load=\"revalidation\"} 1",
                           "segue_overload_shedding{load=\"connection\"} 0",
                           "segue_overload_shedding{load=\"miss\"} 0"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
}

}  // namespace
}  // namespace segue::edge
