// Goal: the drive with faults does what it is told: else the simulation proves nothing.
// Method: each fault alone, on one or two simulated loops; crashes over many seeds, so that both
// outcomes of every chance are seen.
#include "tests/support/fault_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <vector>

#include "base/limits.h"
#include "tests/support/sim_loop.h"

namespace segue::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kPage = kDiskAlignBytes;

Task<void> keep(Task<Result<Done>> task, std::optional<Result<Done>>& into) {
  into.emplace(co_await std::move(task));
}

std::vector<std::byte> pages_of(uint8_t value, uint64_t count = 1) {
  return std::vector<std::byte>(count * kPage, std::byte{value});
}

class FaultDiskTest : public ::testing::Test {
 protected:
  template <class Make>
  void start(std::optional<Result<Done>>& result, Make make, uint32_t loop = 0) {
    const Loop::Turn turn(world.loop(loop));
    SEGUE_ASSERT((loop == 0 ? group : other_group).try_spawn(keep(make(), result)));
  }
  template <class Make>
  Result<Done> finish(Make make) {
    std::optional<Result<Done>> result;
    start(result, make);
    world.run_until_idle();
    SEGUE_ASSERT(result.has_value());
    return *result;
  }
  void write(uint64_t page, const std::vector<std::byte>& bytes) {
    ASSERT_TRUE(finish([&] { return disk.write(page * kPage, bytes, {}); }).has_value());
  }
  void flush() {
    ASSERT_TRUE(finish([&] { return disk.flush(); }).has_value());
  }
  std::byte first_of(uint64_t page) { return first_of(platter, page); }
  static std::byte first_of(const Platter& on, uint64_t page) {
    std::array<std::byte, kPage> bytes{};
    on.peek(page * kPage, bytes);
    EXPECT_TRUE(std::ranges::all_of(bytes, [&](std::byte byte) { return byte == bytes[0]; }));
    return bytes[0];
  }
  SimWorld world{1, 2};
  Platter platter{1, {.size_bytes = 64 * kPage}};
  FaultDisk disk{world.loop(0), platter};
  TaskGroup group{world.loop(0), 256};
  TaskGroup other_group{world.loop(1), 256};
};

TEST_F(FaultDiskTest, WithoutFaultsItIsADrive) {
  write(3, pages_of(7, 2));
  std::vector<std::byte> head(kPage);
  std::vector<std::byte> body(kPage);
  ASSERT_TRUE(finish([&] { return disk.read(3 * kPage, head, body); }).has_value());
  EXPECT_EQ(head, pages_of(7));
  EXPECT_EQ(body, pages_of(7));
  EXPECT_EQ(platter.operations(), 2U);
  EXPECT_EQ(platter.writes(), 1U);
}

TEST_F(FaultDiskTest, LatencyLiesWithinItsBounds) {
  platter.options().latency_min = milliseconds{2};
  platter.options().latency_max = milliseconds{9};
  std::chrono::nanoseconds least = seconds{1};
  std::chrono::nanoseconds most{};
  for (int i = 0; i < 50; ++i) {
    const MonoTime begun = world.clock().mono();
    flush();
    least = std::min(least, world.clock().mono() - begun);
    most = std::max(most, world.clock().mono() - begun);
  }
  EXPECT_GE(least, milliseconds{2});
  EXPECT_LT(least, milliseconds{4});
  EXPECT_GT(most, milliseconds{7});
  EXPECT_LT(most, milliseconds{10});
}

TEST_F(FaultDiskTest, ThePlannedOperationFailsAndNoOther) {
  platter.fail_operation(2);
  const auto bytes = pages_of(1, 16);
  EXPECT_TRUE(finish([&] { return disk.flush(); }).has_value());
  const auto failed = finish([&] { return disk.write(0, bytes, {}); });
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().kind, Kind::IoError);
  EXPECT_EQ(failed.error().os_errno, EIO);
  int landed = 0;
  for (uint64_t page = 0; page < 16; ++page) landed += first_of(page) == std::byte{1} ? 1 : 0;
  EXPECT_GT(landed, 0);  // a failed write is not an undone write
  EXPECT_LT(landed, 16);
  EXPECT_TRUE(finish([&] { return disk.flush(); }).has_value());
}

TEST_F(FaultDiskTest, OddsFailSomeOperations) {
  platter.options().error_one_in = 3;
  int failed = 0;
  for (int i = 0; i < 100; ++i) {
    failed += finish([&] { return disk.flush(); }).has_value() ? 0 : 1;
  }
  EXPECT_GT(failed, 10);
  EXPECT_LT(failed, 70);
}

TEST_F(FaultDiskTest, BeyondTheEndNothingIsReadOrWritten) {
  const auto bytes = pages_of(1, 2);
  EXPECT_FALSE(finish([&] { return disk.write(63 * kPage, bytes, {}); }).has_value());
  EXPECT_EQ(first_of(63), std::byte{});
  std::vector<std::byte> into(kPage);
  EXPECT_FALSE(finish([&] { return disk.read(64 * kPage, into, {}); }).has_value());
}

TEST_F(FaultDiskTest, AHungOperationCompletesWhenItIsReleased) {
  platter.hang_operation(1);
  const auto bytes = pages_of(5);
  std::optional<Result<Done>> result;
  start(result, [&] { return disk.write(0, bytes, {}); });
  world.run_for(seconds{3600});
  EXPECT_FALSE(result.has_value());
  EXPECT_EQ(platter.hung(), 1U);
  EXPECT_EQ(disk.in_flight(), 1U);
  EXPECT_EQ(first_of(0), std::byte{});
  platter.release_hung();
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_TRUE(result->has_value());
  EXPECT_EQ(first_of(0), std::byte{5});
  EXPECT_EQ(platter.hung(), 0U);
}

TEST_F(FaultDiskTest, AMisdirectedWriteReportsSuccessAndLandsElsewhere) {
  platter.misdirect_write(2, 40 * kPage);
  write(1, pages_of(1));
  write(2, pages_of(2));
  write(3, pages_of(3));
  EXPECT_EQ(first_of(1), std::byte{1});
  EXPECT_EQ(first_of(2), std::byte{});
  EXPECT_EQ(first_of(40), std::byte{2});
  EXPECT_EQ(first_of(3), std::byte{3});
}

TEST_F(FaultDiskTest, AFlippedBitIsReadAndSurvivesACrash) {
  write(0, pages_of(0));
  platter.flip_bit(17, 3);
  platter.flip_bit(9 * kPage, 0);  // a page never written
  platter.crash();
  std::array<std::byte, kPage> bytes{};
  platter.peek(0, bytes);
  EXPECT_EQ(bytes[17], std::byte{8});
  platter.peek(9 * kPage, bytes);
  EXPECT_EQ(bytes[0], std::byte{1});
}

TEST_F(FaultDiskTest, ALostDriveFailsEverythingUntilItIsOpenedAnewAndHasWhatWasFlushed) {
  write(0, pages_of(4));
  ASSERT_TRUE(finish([&] { return disk.flush(); }).has_value());
  platter.set_lost(true);
  EXPECT_FALSE(finish([&] { return disk.flush(); }).has_value());
  EXPECT_FALSE(finish([&] { return disk.reopen(); }).has_value());
  platter.set_lost(false);
  std::vector<std::byte> got(kPage);
  EXPECT_FALSE(finish([&] { return disk.read(0, got, {}); }).has_value());
  ASSERT_TRUE(finish([&] { return disk.reopen(); }).has_value());
  ASSERT_TRUE(finish([&] { return disk.read(0, got, {}); }).has_value());
  EXPECT_EQ(got, pages_of(4));
}

TEST_F(FaultDiskTest, WhatWasFlushedSurvivesEveryCrash) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Platter fresh(seed, {.size_bytes = 64 * kPage});
    FaultDisk its_disk(world.loop(0), fresh);
    const auto bytes = pages_of(9, 8);
    ASSERT_TRUE(finish([&] { return its_disk.write(0, bytes, {}); }).has_value());
    EXPECT_EQ(fresh.unflushed_pages(), 8U);
    ASSERT_TRUE(finish([&] { return its_disk.flush(); }).has_value());
    EXPECT_EQ(fresh.unflushed_pages(), 0U);
    fresh.crash();
    for (uint64_t page = 0; page < 8; ++page) ASSERT_EQ(first_of(fresh, page), std::byte{9});
  }
}

TEST_F(FaultDiskTest, WhatWasNotFlushedSurvivesACrashOrNotPageByPage) {
  int kept = 0;
  int lost = 0;
  int middle = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Platter fresh(seed, {.size_bytes = 64 * kPage});
    FaultDisk its_disk(world.loop(0), fresh);
    for (const uint8_t value : std::array<uint8_t, 3>{1, 2, 3}) {
      const auto bytes = pages_of(value, 4);
      ASSERT_TRUE(finish([&] { return its_disk.write(0, bytes, {}); }).has_value());
      if (value == 1) ASSERT_TRUE(finish([&] { return its_disk.flush(); }).has_value());
    }
    fresh.crash();
    for (uint64_t page = 0; page < 4; ++page) {
      const std::byte byte = first_of(fresh, page);
      kept += byte == std::byte{3} ? 1 : 0;
      middle += byte == std::byte{2} ? 1 : 0;
      lost += byte == std::byte{1} ? 1 : 0;
    }
  }
  EXPECT_EQ(kept + middle + lost, 200);  // never older than the flush
  EXPECT_GT(kept, 20);
  EXPECT_GT(middle, 20);
  EXPECT_GT(lost, 20);
}

TEST_F(FaultDiskTest, AFlushCoversOnlyWhatHadCompletedWhenItStarted) {
  int lost = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Platter fresh(
        seed,
        {.size_bytes = 64 * kPage, .latency_min = milliseconds{1}, .latency_max = milliseconds{1}});
    FaultDisk its_disk(world.loop(0), fresh);
    const auto first = pages_of(1);
    const auto second = pages_of(2);
    ASSERT_TRUE(finish([&] { return its_disk.write(0, first, {}); }).has_value());
    std::optional<Result<Done>> flushed;
    std::optional<Result<Done>> written;
    start(written, [&] { return its_disk.write(0, second, {}); });
    start(flushed, [&] { return its_disk.flush(); });
    ASSERT_TRUE(world.run_until_idle());
    fresh.crash();
    const std::byte byte = first_of(fresh, 0);
    ASSERT_TRUE(byte == std::byte{1} || byte == std::byte{2});
    lost += byte == std::byte{1} ? 1 : 0;
  }
  EXPECT_GT(lost, 5);
  EXPECT_LT(lost, 45);
}

TEST_F(FaultDiskTest, AnOlderFlushThatEndsLaterTakesNothingBack) {
  platter.options().latency_min = platter.options().latency_max = milliseconds{10};
  std::optional<Result<Done>> slow;
  start(slow, [&] { return disk.flush(); });  // covers nothing
  platter.options().latency_min = platter.options().latency_max = milliseconds{1};
  write(0, pages_of(1));
  std::optional<Result<Done>> quick;
  start(quick, [&] { return disk.flush(); });
  world.run_for(milliseconds{2});
  write(0, pages_of(2));
  ASSERT_TRUE(world.run_until_idle());
  ASSERT_TRUE(slow->has_value());
  platter.crash();
  EXPECT_NE(first_of(0), std::byte{});
}

TEST_F(FaultDiskTest, AWriteInFlightIsTornByTheCrashAndEndsWithAnError) {
  int landed = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Platter fresh(seed, {.size_bytes = 64 * kPage});
    FaultDisk its_disk(world.loop(0), fresh);
    const auto bytes = pages_of(6, 16);
    std::optional<Result<Done>> result;
    start(result, [&] { return its_disk.write(0, bytes, {}); });
    fresh.crash();
    EXPECT_FALSE(result.has_value());
    ASSERT_TRUE(world.run_until_idle());
    ASSERT_FALSE(result->has_value());
    EXPECT_EQ(result->error().os_errno, EIO);
    EXPECT_EQ(fresh.in_flight(), 0U);
    for (uint64_t page = 0; page < 16; ++page) {
      landed += first_of(fresh, page) == std::byte{6} ? 1 : 0;
    }
  }
  EXPECT_GT(landed, 0);
  EXPECT_LT(landed, 320);
}

TEST_F(FaultDiskTest, ADiskFromBeforeTheCrashTouchesThePlatterNoMore) {
  platter.hang_operation(1);
  const auto bytes = pages_of(8, 16);
  std::optional<Result<Done>> hung;
  start(hung, [&] { return disk.write(0, bytes, {}); });
  platter.crash();
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_FALSE(hung->has_value());
  FaultDisk restarted(world.loop(0), platter);
  const auto zeros = pages_of(0, 16);
  ASSERT_TRUE(finish([&] { return restarted.write(0, zeros, {}); }).has_value());
  std::optional<Result<Done>> late;
  start(late, [&] { return disk.write(0, bytes, {}); });
  platter.crash();  // with the late write of the first life in flight
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_FALSE(late->has_value());
  EXPECT_FALSE(finish([&] { return disk.write(0, bytes, {}); }).has_value());
  for (uint64_t page = 20; page < 36; ++page) EXPECT_EQ(first_of(page), std::byte{});
}

TEST_F(FaultDiskTest, SeveralLoopsShareOnePlatter) {
  FaultDisk second(world.loop(1), platter);
  write(0, pages_of(3));
  std::vector<std::byte> got(kPage);
  std::optional<Result<Done>> result;
  platter.hang_operation(1);
  start(result, [&] { return second.read(0, got, {}); }, 1);
  world.run_for(seconds{1});
  EXPECT_FALSE(result.has_value());
  platter.release_hung();
  ASSERT_TRUE(world.run_until_idle());
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ(got, pages_of(3));
}

TEST_F(FaultDiskTest, OneMoreOperationThanTheLimitIsOverloaded) {
  std::vector<std::optional<Result<Done>>> results(kDriveOpsInFlightMax + 1);
  for (auto& result : results) start(result, [&] { return disk.flush(); });
  EXPECT_EQ(disk.in_flight(), kDriveOpsInFlightMax);
  EXPECT_EQ(results.back()->error().kind, Kind::Overloaded);
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_EQ(disk.in_flight(), 0U);
}

std::vector<std::byte> run_by_seed(uint64_t seed) {
  SimWorld world(seed, 2);
  Platter platter(seed, {.size_bytes = 64 * kPage, .error_one_in = 7, .misdirect_one_in = 5});
  FaultDisk first(world.loop(0), platter);
  FaultDisk second(world.loop(1), platter);
  TaskGroup groups[2]{{world.loop(0), 64}, {world.loop(1), 64}};
  std::vector<std::vector<std::byte>> buffers;
  buffers.reserve(64);
  for (uint8_t i = 0; i < 64; ++i) buffers.push_back(pages_of(i, 4));
  std::vector<std::optional<Result<Done>>> results(64);
  for (size_t i = 0; i < 64; ++i) {
    FaultDisk& disk = i % 2 == 0 ? first : second;
    const Loop::Turn turn(world.loop(static_cast<uint32_t>(i % 2)));
    EXPECT_TRUE(groups[i % 2].try_spawn(
        keep(disk.write((i % 16) * 4 * kPage, buffers[i], {}), results[i])));
  }
  world.run_for(std::chrono::microseconds{250});
  platter.crash();
  EXPECT_TRUE(world.run_until_idle());
  std::vector<std::byte> image(64 * kPage);
  platter.peek(0, image);
  return image;
}

TEST(FaultDiskSeeds, OneSeedIsOneRunAndAnotherSeedAnother) {
  EXPECT_EQ(run_by_seed(42), run_by_seed(42));
  EXPECT_NE(run_by_seed(42), run_by_seed(43));
}

}  // namespace
}  // namespace segue::testing
