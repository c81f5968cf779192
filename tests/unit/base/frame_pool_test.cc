// Goal: frames come from a bounded pool, are reused, and never overlap.
// Method: a pool of a few blocks, filled to its limit; every frame is written to its last byte.
#include "base/loop/frame_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

#include "base/sanitizer.h"
#include "base/units.h"
#include "tests/support/random.h"

namespace segue {
namespace {

using testing::Random;

TEST(FramePools, GiveNothingBeyondTheirLimitAndAllOfItAgainAfterwards) {
  FramePool pool(256 * KiB);
  const auto fill = [&pool] {
    std::vector<void*> frames;
    while (void* frame = pool.allocate(1000)) {
      std::memset(frame, 0xab, 1000);
      frames.push_back(frame);
    }
    return frames;
  };
  const auto first = fill();
  EXPECT_GT(first.size(), 240U);
  EXPECT_LE(pool.bytes_reserved(), 256 * KiB);
  EXPECT_EQ(pool.frames_in_use(), first.size());
  EXPECT_EQ(pool.allocate(1000), nullptr);
  for (void* frame : first) FramePool::deallocate(frame);
  EXPECT_EQ(pool.frames_in_use(), 0U);
  const auto second = fill();
  EXPECT_EQ(second.size(), first.size());
  for (void* frame : second) FramePool::deallocate(frame);
}

TEST(FramePools, RefuseAFrameLargerThanTheLargestClass) {
  FramePool pool;
  EXPECT_EQ(pool.allocate(16 * KiB + 1), nullptr);
  void* largest = pool.allocate(16 * KiB);
  ASSERT_NE(largest, nullptr);
  std::memset(largest, 1, 16 * KiB);
  FramePool::deallocate(largest);
}

TEST(FramePools, LendAFrameOfALargerClassWhenTheSmallOnesAreSpent) {
  if (kSanitized) GTEST_SKIP() << "sanitizer builds have no classes";
  FramePool pool(64 * KiB);  // one block
  void* large = pool.allocate(4096);
  ASSERT_NE(large, nullptr);
  void* small = pool.allocate(100);  // its own class cannot get a block any more
  EXPECT_NE(small, nullptr);
  FramePool::deallocate(small);
  FramePool::deallocate(large);
}

TEST(FramePools, FramesNeverOverlapAndAreAligned) {
  FramePool pool(4 * MiB);
  Random chance(11);
  std::map<unsigned char*, std::pair<size_t, unsigned char>> live;
  for (int step = 0; step < 20'000; ++step) {
    if (live.size() < 200 && chance.one_in(2)) {
      const size_t bytes = chance.between(1, 16 * KiB);
      auto* frame = static_cast<unsigned char*>(pool.allocate(bytes));
      if (frame == nullptr) continue;
      ASSERT_EQ(reinterpret_cast<uintptr_t>(frame) % 16, 0U);
      const auto mark = static_cast<unsigned char>(chance.next());
      std::memset(frame, mark, bytes);
      live[frame] = {bytes, mark};
    } else if (!live.empty()) {
      auto taken = std::next(live.begin(), static_cast<std::ptrdiff_t>(chance.below(live.size())));
      const auto [bytes, mark] = taken->second;
      ASSERT_EQ(taken->first[0], mark);
      ASSERT_EQ(taken->first[bytes - 1], mark);
      FramePool::deallocate(taken->first);
      live.erase(taken);
    }
  }
  for (const auto& [frame, facts] : live) FramePool::deallocate(frame);
}

TEST(FramePools, AFrameGoesBackToItsOwnPool) {
  FramePool first;
  FramePool second;
  void* frame = first.allocate(100);
  EXPECT_EQ(second.frames_in_use(), 0U);
  FramePool::deallocate(frame);
  EXPECT_EQ(first.frames_in_use(), 0U);
}

}  // namespace
}  // namespace segue
