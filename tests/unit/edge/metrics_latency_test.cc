// Goal: the histogram's quantiles and counts are what they say, within the width of a bucket.
// Method: against exact quantiles of the same values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "edge/metrics/latency_histogram.h"

namespace segue::edge {
namespace {

using std::chrono::nanoseconds;

LatencySnapshot snapshot_of(const LatencyHistogram& histogram) {
  LatencySnapshot taken;
  taken.merge(histogram);
  return taken;
}

TEST(LatencyHistogramTest, BucketsAreInOrderWithoutGapsAndAtMostAnEighthWide) {
  for (uint32_t i = 0; i + 1 < LatencyBuckets::kCount; ++i) {
    const uint64_t first = LatencyBuckets::first_nanosecond(i);
    const uint64_t next = LatencyBuckets::first_nanosecond(i + 1);
    ASSERT_LT(first, next);
    EXPECT_EQ(LatencyBuckets::index_of(first), i);
    EXPECT_EQ(LatencyBuckets::index_of(next - 1), i);
    if (first >= 2048) EXPECT_LE(next - first, first / 8) << i;
  }
  EXPECT_EQ(LatencyBuckets::index_of(UINT64_MAX), LatencyBuckets::kCount - 1);
  EXPECT_EQ(LatencyBuckets::index_of(uint64_t{1} << 42), LatencyBuckets::kCount - 1);
}

TEST(LatencyHistogramTest, QuantilesAreNeverBelowTheTrueOnesAndAtMostAnEighthAbove) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(std::log(3e5), 2.0);
  LatencyHistogram histogram;
  std::vector<int64_t> values;
  int64_t sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const auto value = static_cast<int64_t>(std::min(latency(random), 1e12));
    values.push_back(value);
    sum += value;
    histogram.record(nanoseconds{value});
  }
  std::ranges::sort(values);
  const LatencySnapshot snapshot = snapshot_of(histogram);
  EXPECT_EQ(snapshot.count(), values.size());
  EXPECT_EQ(snapshot.sum().count(), sum);
  for (const double quantile : {0.0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(
        std::max(1.0, std::ceil(quantile * static_cast<double>(values.size()))));
    const int64_t exact = values[rank - 1];
    const int64_t told = snapshot.quantile(quantile).count();
    EXPECT_GE(told, exact) << quantile;
    EXPECT_LE(told, exact + std::max<int64_t>(exact / 8, 256)) << quantile;
  }
  for (const nanoseconds bound : exported_latency_bounds()) {
    const auto exact = std::ranges::lower_bound(values, bound.count()) - values.begin();
    EXPECT_EQ(snapshot.count_below(bound), static_cast<uint64_t>(exact)) << bound.count();
  }
}

TEST(LatencyHistogramTest, EmptyNegativeAndEndlessValuesAreHarmless) {
  LatencyHistogram histogram;
  EXPECT_EQ(snapshot_of(histogram).quantile(0.99).count(), 0);
  EXPECT_EQ(snapshot_of(histogram).count_below(nanoseconds{-5}), 0U);
  histogram.record(nanoseconds{-5});
  EXPECT_EQ(snapshot_of(histogram).count_below(nanoseconds{256}), 1U);
  EXPECT_EQ(snapshot_of(histogram).sum().count(), 0);
  histogram.record(nanoseconds{INT64_MAX});
  EXPECT_EQ(snapshot_of(histogram).count(), 2U);
  EXPECT_GE(snapshot_of(histogram).quantile(1.0), std::chrono::hours{1});
}

TEST(LatencyHistogramTest, MergedLoopsCountAsOne) {
  LatencyHistogram first;
  LatencyHistogram second;
  for (int i = 0; i < 100; ++i) first.record(std::chrono::microseconds{10});
  for (int i = 0; i < 300; ++i) second.record(std::chrono::milliseconds{10});
  LatencySnapshot merged = snapshot_of(first);
  merged.merge(second);
  EXPECT_EQ(merged.count(), 400U);
  EXPECT_LT(merged.quantile(0.25), std::chrono::microseconds{12});
  EXPECT_GE(merged.quantile(0.26), std::chrono::milliseconds{10});
}

TEST(LatencyHistogramTest, IsReadWhileItIsWritten) {
  LatencyHistogram histogram;
  std::thread writer([&histogram] {
    for (int i = 0; i < 100000; ++i) histogram.record(nanoseconds{i});
  });
  uint64_t seen = 0;
  while (seen < 100000) {
    const uint64_t count = snapshot_of(histogram).count();
    ASSERT_GE(count, seen);
    seen = count;
  }
  writer.join();
}

}  // namespace
}  // namespace segue::edge
