// Goal: MemoryDisk keeps bytes like a drive, takes its time from the clock, and can drop payload.
// Method: one simulated loop under a virtual clock.
#include "base/loop/memory_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/support/random.h"
#include "tests/support/sim_loop.h"

namespace segue {
namespace {

using std::chrono::microseconds;
using testing::Random;
using testing::SimWorld;

constexpr uint64_t kPage = kDiskAlignBytes;

Task<void> keep(Task<Result<Done>> task, std::optional<Result<Done>>& into) {
  into.emplace(co_await std::move(task));
}

class MemoryDiskTest : public ::testing::Test {
 protected:
  template <class Make>
  Result<Done> finish(Make make) {
    std::optional<Result<Done>> result;
    TaskGroup group(world.loop(0), 1);
    {
      const Loop::Turn turn(world.loop(0));
      SEGUE_ASSERT(group.try_spawn(keep(make(), result)));
      EXPECT_FALSE(result.has_value());  // a drive never completes at once
    }
    EXPECT_TRUE(world.run_until_idle());
    return *result;
  }
  std::vector<std::byte> random_pages(uint64_t seed, uint64_t count) {
    std::vector<std::byte> bytes(count * kPage);
    Random(seed).fill(bytes);
    return bytes;
  }
  SimWorld world{1, 1};
  PageStore pages;
  MemoryDisk disk{world.loop(0),
                  pages,
                  {.size_bytes = 64 * kPage,
                   .read_latency = microseconds{80},
                   .write_latency = microseconds{20},
                   .flush_latency = microseconds{500}}};
};

TEST_F(MemoryDiskTest, WhatWasWrittenIsReadBackAndTheRestIsZeros) {
  const auto written = random_pages(1, 3);
  const auto head = std::span(written).first(kPage);
  const auto body = std::span(written).subspan(kPage);
  ASSERT_TRUE(finish([&] { return disk.write(4 * kPage, head, body); }).has_value());
  std::vector<std::byte> got(5 * kPage, std::byte{0xff});
  ASSERT_TRUE(finish([&] { return disk.read(3 * kPage, got, {}); }).has_value());
  EXPECT_TRUE(std::ranges::equal(std::span(got).subspan(kPage, 3 * kPage), written));
  EXPECT_TRUE(std::ranges::all_of(std::span(got).first(kPage),
                                  [](std::byte byte) { return byte == std::byte{}; }));
  EXPECT_TRUE(std::ranges::all_of(std::span(got).last(kPage),
                                  [](std::byte byte) { return byte == std::byte{}; }));
  EXPECT_EQ(pages.pages(), 3U);
}

TEST_F(MemoryDiskTest, AnOperationTakesItsLatencyOfVirtualTime) {
  std::vector<std::byte> got(kPage);
  const MonoTime begun = world.clock().mono();
  ASSERT_TRUE(finish([&] { return disk.read(0, got, {}); }).has_value());
  EXPECT_GE(world.clock().mono() - begun, microseconds{80});
  EXPECT_LT(world.clock().mono() - begun, microseconds{100});
  const MonoTime flushed = world.clock().mono();
  ASSERT_TRUE(finish([&] { return disk.flush(); }).has_value());
  EXPECT_GE(world.clock().mono() - flushed, microseconds{500});
}

TEST_F(MemoryDiskTest, BeyondTheEndIsAnIoError) {
  std::vector<std::byte> two(2 * kPage);
  const auto read = finish([&] { return disk.read(63 * kPage, two, {}); });
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().side, Side::Disk);
  EXPECT_EQ(read.error().kind, Kind::IoError);
  EXPECT_FALSE(finish([&] { return disk.write(64 * kPage, two, {}); }).has_value());
  EXPECT_FALSE(finish([&] { return disk.write(UINT64_MAX - kPage + 1, two, {}); }).has_value());
  EXPECT_EQ(pages.pages(), 0U);
}

TEST_F(MemoryDiskTest, OneMoreOperationThanTheLimitIsOverloaded) {
  std::vector<std::byte> page(kPage);
  std::vector<std::optional<Result<Done>>> results(kDriveOpsInFlightMax + 1);
  TaskGroup group(world.loop(0), kDriveOpsInFlightMax + 1);
  {
    const Loop::Turn turn(world.loop(0));
    for (auto& result : results) {
      ASSERT_TRUE(group.try_spawn(keep(disk.read(0, page, {}), result)));
    }
    EXPECT_EQ(disk.in_flight(), kDriveOpsInFlightMax);
  }
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(std::ranges::count_if(results, [](const auto& result) { return result->has_value(); }),
            kDriveOpsInFlightMax);
  EXPECT_EQ(results.back()->error().kind, Kind::Overloaded);
  EXPECT_EQ(disk.in_flight(), 0U);
}

TEST_F(MemoryDiskTest, WithoutPayloadHeadsAndTablesStayAndBodiesReadAsZeros) {
  MemoryDisk light(world.loop(0), pages, {.size_bytes = 64 * kPage, .keep_payload = false});
  const auto table = random_pages(2, 4);
  const auto slot = random_pages(3, 4);
  const auto head = std::span(slot).first(kPage);
  const auto body = std::span(slot).subspan(kPage);
  ASSERT_TRUE(finish([&] { return light.write(0, {}, table); }).has_value());
  ASSERT_TRUE(finish([&] { return light.write(8 * kPage, head, body); }).has_value());
  EXPECT_EQ(pages.pages(), 5U);
  std::vector<std::byte> got(4 * kPage);
  ASSERT_TRUE(finish([&] { return light.read(0, got, {}); }).has_value());
  EXPECT_TRUE(std::ranges::equal(got, table));
  ASSERT_TRUE(finish([&] { return light.read(8 * kPage, got, {}); }).has_value());
  EXPECT_TRUE(std::ranges::equal(std::span(got).first(kPage), head));
  EXPECT_TRUE(std::ranges::all_of(std::span(got).subspan(kPage),
                                  [](std::byte byte) { return byte == std::byte{}; }));
  // A body where a table lay leaves nothing of the table.
  ASSERT_TRUE(finish([&] { return light.write(0, head, body); }).has_value());
  EXPECT_EQ(pages.pages(), 2U);
}

TEST_F(MemoryDiskTest, TwoDisksOverOneStoreSeeTheSameBytes) {
  MemoryDisk other(world.loop(0), pages, {.size_bytes = 64 * kPage});
  const auto written = random_pages(4, 1);
  std::vector<std::byte> got(kPage);
  ASSERT_TRUE(finish([&] { return disk.write(0, written, {}); }).has_value());
  ASSERT_TRUE(finish([&] { return other.read(0, got, {}); }).has_value());
  EXPECT_EQ(got, written);
}

}  // namespace
}  // namespace segue
