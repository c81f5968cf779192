// Goal: directives are read as RFC 9111 §5.2 says, and where they contradict, restrict.
#include "http/cache_control.h"

#include <gtest/gtest.h>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

using std::chrono::seconds;

CacheControl parse(std::string_view value) {
  OwnedFields fields = fields_of({{"Cache-Control", value}});
  return parse_cache_control(fields.view());
}

TEST(CacheControl, FlagsAndDurationsAreReadInAnyCase) {
  CacheControl control = parse(
      "Public, MAX-AGE=60, s-maxage=\"120\", must-revalidate, stale-while-revalidate=5,"
      "stale-if-error=6, immutable, no-transform, unknown=\"a,b\"");
  EXPECT_TRUE(control.present);
  EXPECT_TRUE(control.is_public);
  EXPECT_TRUE(control.must_revalidate);
  EXPECT_TRUE(control.immutable);
  EXPECT_TRUE(control.no_transform);
  EXPECT_FALSE(control.no_store);
  EXPECT_FALSE(control.no_cache);
  EXPECT_EQ(control.max_age, seconds{60});
  EXPECT_EQ(control.s_maxage, seconds{120});
  EXPECT_EQ(control.stale_while_revalidate, seconds{5});
  EXPECT_EQ(control.stale_if_error, seconds{6});
}

TEST(CacheControl, EveryFlagSetsItsOwn) {
  EXPECT_TRUE(parse("no-store").no_store);
  EXPECT_TRUE(parse("no-cache").no_cache);
  EXPECT_TRUE(parse("private").is_private);
  EXPECT_TRUE(parse("proxy-revalidate").proxy_revalidate);
  EXPECT_TRUE(parse("must-understand").must_understand);
  EXPECT_TRUE(parse("only-if-cached").only_if_cached);
  EXPECT_FALSE(parse("no-stores").no_store);
  EXPECT_FALSE(parse("x=\"no-store\"").no_store);
}

TEST(CacheControl, QualifiedFlagsCountAsUnqualified) {
  EXPECT_TRUE(parse("no-cache=\"Set-Cookie\"").no_cache);
  EXPECT_TRUE(parse("private=\"X, Y\", max-age=1").is_private);
}

TEST(CacheControl, TheMostRestrictiveOfSeveralCounts) {
  EXPECT_EQ(parse("max-age=60, max-age=10, max-age=30").max_age, seconds{10});
  OwnedFields lines = fields_of({{"Cache-Control", "max-age=60"}, {"cache-control", "max-age=5"}});
  EXPECT_EQ(parse_cache_control(lines.view()).max_age, seconds{5});
  EXPECT_EQ(parse("min-fresh=1, min-fresh=9").min_fresh, seconds{9});
  EXPECT_EQ(parse("max-stale=9, max-stale").max_stale, seconds{9});
  EXPECT_EQ(parse("max-stale").max_stale, kDeltaSecondsMax);
}

TEST(CacheControl, BrokenLifetimesAreZeroAndOtherDurationsAbsent) {
  for (std::string_view value : {"max-age", "max-age=", "max-age=-1", "max-age=+1", "max-age=1.5",
                                 "max-age=abc", "max-age=1a", "max-age='1'", "max-age =1",
                                 "max-age= 1", "max-age=\"1", "max-age=60, max-age=x"}) {
    EXPECT_EQ(parse(value).max_age, seconds{0}) << value;
  }
  EXPECT_EQ(parse("stale-if-error=x").stale_if_error, std::nullopt);
  EXPECT_EQ(parse("stale-while-revalidate").stale_while_revalidate, std::nullopt);
}

TEST(CacheControl, HugeDurationsAreCapped) {
  EXPECT_EQ(parse("max-age=2147483648").max_age, kDeltaSecondsMax);
  EXPECT_EQ(parse("max-age=2147483649").max_age, kDeltaSecondsMax);
  EXPECT_EQ(parse("max-age=99999999999999999999999999").max_age, kDeltaSecondsMax);
  EXPECT_EQ(parse("max-age=2147483647").max_age, seconds{2147483647});
}

TEST(CacheControl, NothingPresentMeansNothingSaid) {
  EXPECT_FALSE(parse_cache_control({}).present);
  EXPECT_FALSE(parse("").present);
  EXPECT_FALSE(parse(", ,").present);
}

TEST(CdnCacheControl, IsAStructuredDictionary) {
  auto parse_cdn = [](std::string_view value) {
    OwnedFields fields = fields_of({{"CDN-Cache-Control", value}});
    return parse_cdn_cache_control(fields.view());
  };
  auto control = parse_cdn("max-age=60, no-cache, private=?0, stale-if-error=7");
  ASSERT_TRUE(control.has_value());
  EXPECT_EQ(control->max_age, seconds{60});
  EXPECT_TRUE(control->no_cache);
  EXPECT_FALSE(control->is_private);
  EXPECT_EQ(control->stale_if_error, seconds{7});
  EXPECT_EQ(parse_cdn("max-age=10, max-age=60")->max_age, seconds{60});  // last, RFC 8941
  EXPECT_EQ(parse_cdn("max-age=-5")->max_age, seconds{0});
  EXPECT_EQ(parse_cdn("max-age=\"60\"")->max_age, seconds{0});
  EXPECT_EQ(parse_cdn("max-age=1.5")->max_age, seconds{0});
  EXPECT_EQ(parse_cdn("max-age=999999999999999")->max_age, kDeltaSecondsMax);
  EXPECT_TRUE(parse_cdn("no-store=\"x\"")->no_store);
  EXPECT_FALSE(parse_cdn("").has_value());
  EXPECT_FALSE(parse_cdn("max-age=60,").has_value());
  EXPECT_FALSE(parse_cdn("Max-Age=60").has_value());
  EXPECT_FALSE(parse_cdn_cache_control({}).has_value());
}

TEST(Age, WhatIsNotOneWholeNumberIsOlderThanEverything) {
  auto age = [](std::string_view value) {
    OwnedFields fields = fields_of({{"Age", value}});
    return parse_age(fields.view());
  };
  EXPECT_EQ(age("5"), seconds{5});
  EXPECT_EQ(parse_age({}), std::nullopt);
  OwnedFields twice = fields_of({{"Age", "0"}, {"Age", "0"}});
  EXPECT_EQ(parse_age(twice.view()), kDeltaSecondsMax);
  EXPECT_EQ(age("99999999999999999999"), kDeltaSecondsMax);
  for (std::string_view value : {"", "-1", "x", "1.5", "x, 5", "5, 100", "5;a=b"}) {
    EXPECT_EQ(age(value), kDeltaSecondsMax) << value;
  }
}

}  // namespace
}  // namespace segue::http
