// Goal: the small parts everything stands on: units, ranges, hashes, counters, references, errors.
// Method: plain calls; known values where the outside world fixed them.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/byte_range.h"
#include "base/counter.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/out_of_memory.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/strong_id.h"
#include "base/units.h"

namespace segue {
namespace {

TEST(Units, RoundToMultiplesUpAndDown) {
  EXPECT_EQ(round_up(0, 4096), 0U);
  EXPECT_EQ(round_up(1, 4096), 4096U);
  EXPECT_EQ(round_up(4096, 4096), 4096U);
  EXPECT_EQ(round_up(4097, 4096), 8192U);
  EXPECT_EQ(round_up(10, 3), 12U);
  EXPECT_EQ(round_down(4095, 4096), 0U);
  EXPECT_EQ(round_down(8191, 4096), 4096U);
  EXPECT_EQ(TiB, 1ULL << 40);
}

TEST(ByteRanges, AreHalfOpenAndNeverNegative) {
  EXPECT_TRUE((ByteRange{5, 5}).empty());
  EXPECT_TRUE((ByteRange{6, 5}).empty());
  EXPECT_EQ((ByteRange{6, 5}).length(), 0U);
  EXPECT_EQ((ByteRange{2, 10}).length(), 8U);
  EXPECT_EQ((ByteRange{2, 10}).advanced(3), (ByteRange{5, 10}));
  EXPECT_EQ((ByteRange{2, 10}).clipped(7), (ByteRange{2, 7}));
  EXPECT_TRUE((ByteRange{8, 10}).clipped(7).empty());
}

TEST(Hash, IsTheOneOfXxh3SoThatDrivesStayReadable) {
  // XXH3_64bits of no bytes, as published by its author; the drive format stands on it.
  EXPECT_EQ(checksum({}), 0x2d06800538d394c2ULL);
}

TEST(Hash, DependsOnEveryBitOfTheTextAndOnTheSeed) {
  const std::string text = "music/track/1";
  const KeyHash plain = hash_key(text, 7);
  EXPECT_EQ(plain, hash_key(text, 7));
  EXPECT_NE(plain, hash_key(text, 8));
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(plain, hash_key(flipped, 7)) << bit;
  }
}

TEST(Hash, MixSpreadsNeighbours) {
  std::set<uint64_t> low_bytes;
  for (uint64_t i = 0; i < 4096; ++i) low_bytes.insert(mix(i) & 0xfff);
  EXPECT_GT(low_bytes.size(), 2400U);  // a random function hits 63 % of 4096; the identity of
                                       // multiples of 4096 would hit one
  std::set<uint64_t> of_multiples;
  for (uint64_t i = 0; i < 4096; ++i) of_multiples.insert(mix(i << 12) & 0xfff);
  EXPECT_GT(of_multiples.size(), 2400U);
}

TEST(Counters, ReadWhatTheirOneWriterWrote) {
  Counter counter;
  std::thread reader([&] {
    uint64_t last = 0;
    while (last < 100'000) {
      const uint64_t now = counter.get();
      EXPECT_GE(now, last);  // only ever grows
      last = now;
    }
  });
  for (int i = 0; i < 100'000; ++i) counter.add();
  reader.join();
  counter.sub(99'990);
  EXPECT_EQ(counter.get(), 10U);
  counter.set(3);
  EXPECT_EQ(counter.get(), 3U);
}

struct Counted : RefCounted {
  explicit Counted(int& counter) : alive(counter) { ++alive; }
  ~Counted() override { --alive; }
  int& alive;
};
struct Derived final : Counted {
  using Counted::Counted;
};

TEST(References, TheLastOneDeletes) {
  int alive = 0;
  {
    Ref<Derived> first = make_ref<Derived>(alive);
    Ref<Counted> base = first;
    Ref<Counted> moved = std::move(base);
    EXPECT_FALSE(base);  // NOLINT(bugprone-use-after-move): a moved-from Ref is empty, says ref.h
    EXPECT_EQ(alive, 1);
    first = Ref<Derived>();
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(moved->alive, 1);
    const Ref<Counted>& itself = moved;
    moved = itself;  // must not delete
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

TEST(References, ManyThreadsMayCopyAndDropOne) {
  int alive = 0;
  {
    const Ref<Counted> shared = make_ref<Counted>(alive);
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([shared] {
        for (int k = 0; k < 10'000; ++k) {
          const Ref<Counted> copy = shared;  // NOLINT(performance-unnecessary-copy-initialization)
          EXPECT_TRUE(copy);
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  EXPECT_EQ(alive, 0);
}

TEST(Errors, SayWhoseFaultItWasAndWhetherAnotherTryCanHelp) {
  const Result<int> plain = fail(Side::Origin, Kind::Timeout, "first byte", 110);
  EXPECT_EQ(plain.error().side, Side::Origin);
  EXPECT_EQ(plain.error().kind, Kind::Timeout);
  EXPECT_EQ(plain.error().os_errno, 110);
  EXPECT_STREQ(plain.error().where, "first byte");
  EXPECT_FALSE(plain.error().retryable);
  const Result<Done> again = fail_retryable(Side::Self, Kind::Overloaded, "frames");
  EXPECT_TRUE(again.error().retryable);
  const Result<Done> passed_up = fail(plain.error());
  EXPECT_EQ(passed_up.error().kind, Kind::Timeout);
}

TEST(Errors, HaveNamesThatAreDistinctAndFitForALabel) {
  std::set<std::string_view> names;
  for (uint8_t kind = 0; kind <= static_cast<uint8_t>(Kind::IoError); ++kind) {
    const std::string_view name = name_of(static_cast<Kind>(kind));
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-"),
              std::string_view::npos)
        << name;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

using SlotNumber = StrongId<struct SlotTag, uint32_t>;

TEST(StrongIds, CompareByNumberAndDoNotMixWithNumbers) {
  EXPECT_LT(SlotNumber{1}, SlotNumber{2});
  EXPECT_EQ(SlotNumber{2}, SlotNumber{2});
  static_assert(!std::is_convertible_v<uint32_t, SlotNumber>);
  static_assert(!std::is_convertible_v<SlotNumber, uint32_t>);
}

TEST(Log, AClientCannotForgeALine) {
  ::testing::internal::CaptureStderr();
  log_warning("bad_host", "host={}", "a\nERROR drive_offline path=/\x1b[31m\r");
  const std::string written = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(written, '\n'), 1);
  EXPECT_EQ(written.find('\x1b'), std::string::npos);
  EXPECT_EQ(written.find('\r'), std::string::npos);
  EXPECT_NE(written.find("bad_host"), std::string::npos);
}

TEST(OutOfMemory, EndsTheProcessWithOneLineAndAStatusOfItsOwn) {
  const auto status = ::testing::ExitedWithCode(kOutOfMemoryStatus);
  EXPECT_EXIT(end_out_of_memory("a test"), status,
              "^segue: out of memory: the machine gives no more \\(a test\\)\n$");
}

TEST(OutOfMemory, AnOperatorNewThatGetsNothingEndsTheProcessInsteadOfThrowing) {
  // The handler itself: a sanitizer's operator new does not ask it.
  const auto refused = [] {
    end_when_out_of_memory();
    std::get_new_handler()();
  };
  EXPECT_EXIT(refused(), ::testing::ExitedWithCode(kOutOfMemoryStatus), "\\(operator new\\)");
}

TEST(Log, LinesBelowTheLevelAreDropped) {
  const LogLevel before = log_level();
  set_log_level(LogLevel::Warning);
  ::testing::internal::CaptureStderr();
  log_info("started", "nothing");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  set_log_level(before);
}

}  // namespace
}  // namespace segue
