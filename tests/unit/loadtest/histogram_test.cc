// The histogram of the load generator: it says what listeners waited, so it must not say it wrong.
#include "loadtest/players/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace loadtest {
namespace {

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.at(0.5), 0U);
  EXPECT_EQ(histogram.min(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
}

TEST(Histogram, EveryValueLiesInItsBucketAndBucketsAscend) {
  for (size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    const uint64_t lower = Histogram::lower_bound(bucket);
    const uint64_t next = Histogram::lower_bound(bucket + 1);
    ASSERT_LT(lower, next) << bucket;
    if (next - 1 > Histogram::kValueMax) break;
    EXPECT_EQ(Histogram::bucket_of(lower), bucket);
    EXPECT_EQ(Histogram::bucket_of(next - 1), bucket);
  }
}

TEST(Histogram, NoBucketIsWiderThanAThirtySecondOfItsValue) {
  for (uint64_t value = 1; value < Histogram::kValueMax; value = value * 3 + 1) {
    const size_t bucket = Histogram::bucket_of(value);
    const uint64_t width = Histogram::lower_bound(bucket + 1) - Histogram::lower_bound(bucket);
    EXPECT_LE(width, std::max<uint64_t>(1, value / Histogram::kSub)) << value;
  }
}

TEST(Histogram, QuantilesAreThoseOfASortedListWithinThreePercent) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> waits(8, 2);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<uint64_t>(waits(random)));
    histogram.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double quantile : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank =
        static_cast<size_t>(std::llround(quantile * static_cast<double>(values.size())));
    const uint64_t exact = values[std::clamp<size_t>(rank, 1, values.size()) - 1];
    EXPECT_NEAR(static_cast<double>(histogram.at(quantile)), static_cast<double>(exact),
                0.03 * static_cast<double>(exact) + 1)
        << quantile;
  }
}

TEST(Histogram, KeepsTheLargestValueExactlyAndCountsWhatIsBeyondItsRange) {
  Histogram histogram;
  histogram.record(5);
  histogram.record(Histogram::kValueMax);
  histogram.record(~uint64_t{0} >> 1);
  EXPECT_EQ(histogram.count(), 3U);
  EXPECT_EQ(histogram.max(), ~uint64_t{0} >> 1);
  EXPECT_EQ(histogram.at(0.1), 5U);
}

TEST(Histogram, AddedHistogramsAreThoseOfAllTheirValues) {
  Histogram one;
  Histogram other;
  Histogram both;
  for (uint64_t value = 1; value < 5000; ++value) {
    (value % 3 == 0 ? one : other).record(value * 7);
    both.record(value * 7);
  }
  one.add(other);
  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.min(), both.min());
  EXPECT_DOUBLE_EQ(one.mean(), both.mean());
  for (const double quantile : {0.1, 0.5, 0.99}) EXPECT_EQ(one.at(quantile), both.at(quantile));
}

TEST(Histogram, ShowsItsBucketsInOrderWithAllCounts) {
  Histogram histogram;
  for (const uint64_t value : {3U, 3U, 70U, 100'000U}) histogram.record(value);
  std::vector<uint64_t> lowers;
  uint64_t total = 0;
  histogram.for_each([&](uint64_t lower, uint64_t count) {
    lowers.push_back(lower);
    total += count;
  });
  EXPECT_TRUE(std::is_sorted(lowers.begin(), lowers.end()));
  EXPECT_EQ(lowers.size(), 3U);
  EXPECT_EQ(total, 4U);
}

}  // namespace
}  // namespace loadtest
