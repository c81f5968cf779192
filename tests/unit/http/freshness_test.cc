// Goal: what may be stored, how long it is fresh, and when stale may be served; every rule once at
// its border. Method: tables of response fields with fixed times.
#include "http/freshness.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using Lines = std::vector<std::pair<const char*, const char*>>;

constexpr const char* kDateText = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr sys_seconds kNow{seconds{784111777}};

OwnedFields make(const Lines& lines) {
  OwnedFields fields;
  for (const auto& [name, value] : lines) EXPECT_TRUE(fields.add(name, value));
  return fields;
}
ResponseFacts facts_of(uint16_t status, const Lines& lines) {
  return read_response_facts(status, make(lines).view());
}

TEST(Storable, FollowsTheRulesForSharedCaches) {
  using enum NotStorable;
  struct Row {
    uint16_t status;
    Lines lines;
    NotStorable expected;
  };
  for (const Row& row : {
           Row{200, {}, None},
           Row{200, {{"Cache-Control", "max-age=1"}}, None},
           Row{200, {{"Set-Cookie", "a=b"}}, None},
           Row{200, {{"Pragma", "no-cache"}}, None},
           Row{200, {{"Cache-Control", "no-cache"}}, None},
           Row{200, {{"Cache-Control", "no-store, max-age=1"}}, NoStore},
           Row{200, {{"Cache-Control", "private, max-age=1"}}, Private},
           Row{200, {{"Cache-Control", "private=\"x\", max-age=1"}}, Private},
           Row{200, {{"Vary", "Accept, *"}}, VaryAny},
           Row{200, {{"Vary", "Accept"}}, None},
           Row{200, {{"Cache-Control", "must-understand, no-store, max-age=1"}}, None},
           Row{299, {{"Cache-Control", "must-understand, no-store, max-age=1"}}, Status},
           Row{100, {{"Cache-Control", "max-age=1"}}, Status},
           Row{304, {{"Cache-Control", "max-age=1"}}, Status},
           Row{302, {}, NoLifetime},
           Row{302, {{"Cache-Control", "max-age=1"}}, None},
           Row{302, {{"Expires", kDateText}}, None},
           Row{500, {}, NoLifetime},
           Row{503, {{"Cache-Control", "public"}}, NoLifetime},
           Row{503, {{"Cache-Control", "public, max-age=1"}}, None},
           Row{405, {}, NoLifetime},
           Row{414, {{"Cache-Control", "max-age=1"}}, None},
           Row{404, {}, None},
           Row{200, {{"CDN-Cache-Control", "max-age=9"}, {"Cache-Control", "no-store"}}, None},
           Row{200, {{"CDN-Cache-Control", "no-store"}, {"Cache-Control", "max-age=9"}}, NoStore},
           Row{200, {{"CDN-Cache-Control", "=bad"}, {"Cache-Control", "no-store"}}, NoStore},
       }) {
    EXPECT_EQ(name_of(why_not_storable(Method::Get, {}, facts_of(row.status, row.lines), {})),
              name_of(row.expected))
        << row.status << ' ' << (row.lines.empty() ? "" : row.lines[0].second);
  }
}

TEST(Storable, OnlyGetIsStored) {
  const ResponseFacts facts = facts_of(200, {{"Cache-Control", "max-age=9"}});
  for (Method method : {Method::Head, Method::Post, Method::Options, Method::Other}) {
    EXPECT_EQ(why_not_storable(method, {}, facts, {}), NotStorable::Method);
  }
}

TEST(Storable, AnswersToAuthorizationMustBeMarkedForSharing) {
  OwnedFields request = fields_of({{"Authorization", "Bearer x"}});
  auto why = [&](const char* value) {
    return why_not_storable(Method::Get, request.view(), facts_of(200, {{"Cache-Control", value}}),
                            {});
  };
  EXPECT_EQ(why("max-age=9"), NotStorable::Authorization);
  EXPECT_EQ(why("proxy-revalidate, max-age=9"), NotStorable::Authorization);
  EXPECT_EQ(why("public"), NotStorable::None);
  EXPECT_EQ(why("must-revalidate"), NotStorable::None);
  EXPECT_EQ(why("s-maxage=9"), NotStorable::None);
}

TEST(Lifetime, SourcesHaveTheirOrder) {
  using enum LifetimeSource;
  const Lines all{{"CDN-Cache-Control", "max-age=1"},
                  {"Cache-Control", "s-maxage=2, max-age=3"},
                  {"Date", kDateText},
                  {"Expires", "Sun, 06 Nov 1994 08:49:41 GMT"},
                  {"Last-Modified", "Sun, 06 Nov 1994 08:48:47 GMT"}};
  const FreshnessRules rules{.default_lifetime = seconds{6}, .negative_lifetime = seconds{7}};
  auto check = [&](const Lines& lines, const FreshnessRules& with, int lifetime,
                   LifetimeSource source) {
    Lifetime result = freshness_lifetime(facts_of(200, lines), with, kNow);
    EXPECT_EQ(result.lifetime, seconds{lifetime}) << name_of(source);
    EXPECT_EQ(name_of(result.source), name_of(source));
  };
  FreshnessRules with_override = rules;
  with_override.override_lifetime = seconds{99};
  check(all, with_override, 99, SiteOverride);
  check(all, rules, 1, CdnCacheControl);
  check({all.begin() + 1, all.end()}, rules, 2, SMaxage);
  check({{"Cache-Control", "max-age=3"}, all[2], all[3]}, rules, 3, MaxAge);
  check({all.begin() + 2, all.end()}, rules, 4, Expires);
  check({all[2], all[4]}, rules, 6, SiteDefault);
  check({all[2], all[4]}, {}, 5, Heuristic);
  check({}, {}, 0, None);
  // CDN-Cache-Control without a lifetime still hides Expires and max-age (RFC 9213 §2.1).
  check({{"CDN-Cache-Control", "public"}, all[1], all[2], all[3]}, rules, 6, SiteDefault);
}

TEST(Lifetime, ExpiresIsMeasuredFromDateAndNonsenseIsStale) {
  auto lifetime = [](const Lines& lines) {
    return freshness_lifetime(facts_of(200, lines), {}, kNow).lifetime;
  };
  const char* later = "Sun, 06 Nov 1994 08:49:47 GMT";
  EXPECT_EQ(lifetime({{"Date", kDateText}, {"Expires", later}}), seconds{10});
  EXPECT_EQ(lifetime({{"Expires", later}}), seconds{10});
  EXPECT_EQ(lifetime({{"Date", later}, {"Expires", kDateText}}), seconds{0});
  for (const char* nonsense : {"0", "-1", "tomorrow", "Sun, 06 Nov 1994 08:49:47 AEST"}) {
    EXPECT_EQ(lifetime({{"Date", kDateText}, {"Expires", nonsense}}), seconds{0}) << nonsense;
  }
  EXPECT_EQ(lifetime({{"Expires", later}, {"Expires", later}}), seconds{0});
  EXPECT_EQ(lifetime({{"Expires", "Fri, 31 Dec 9999 23:59:59 GMT"}}), kDeltaSecondsMax);
}

TEST(Lifetime, TheHeuristicIsATenthAndCapped) {
  auto lifetime = [](uint16_t status, const Lines& lines) {
    return freshness_lifetime(facts_of(status, lines), {.heuristic_max = seconds{100}}, kNow);
  };
  const Lines recent{{"Last-Modified", "Sun, 06 Nov 1994 08:48:47 GMT"}};
  const Lines old{{"Last-Modified", "Sun, 06 Nov 1993 08:48:47 GMT"}};
  const Lines future{{"Last-Modified", "Sun, 06 Nov 1994 09:48:47 GMT"}};
  EXPECT_EQ(lifetime(200, recent).lifetime, seconds{5});
  EXPECT_EQ(lifetime(206, recent).lifetime, seconds{5});
  EXPECT_EQ(lifetime(200, old).lifetime, seconds{100});
  EXPECT_EQ(lifetime(200, future).source, LifetimeSource::None);
  EXPECT_EQ(lifetime(302, recent).source, LifetimeSource::None);
  EXPECT_EQ(lifetime(404, recent).source, LifetimeSource::None);
}

TEST(Lifetime, ErrorsGetTheNegativeOne) {
  const FreshnessRules rules{.override_lifetime = seconds{99},
                             .default_lifetime = seconds{6},
                             .negative_lifetime = seconds{7}};
  EXPECT_EQ(freshness_lifetime(facts_of(404, {}), rules, kNow).lifetime, seconds{7});
  EXPECT_EQ(freshness_lifetime(facts_of(410, {}), rules, kNow).lifetime, seconds{7});
  EXPECT_EQ(
      freshness_lifetime(facts_of(404, {{"Cache-Control", "max-age=1"}}), rules, kNow).lifetime,
      seconds{1});
  EXPECT_EQ(freshness_lifetime(facts_of(500, {}), rules, kNow).source, LifetimeSource::None);
}

TEST(Age, IsTheLargerOfApparentAndCorrected) {
  EXPECT_EQ(initial_age(kNow, {}, {}, seconds{0}), seconds{0});
  EXPECT_EQ(initial_age(kNow, kNow - seconds{5}, {}, seconds{0}), seconds{5});
  EXPECT_EQ(initial_age(kNow, kNow + seconds{5}, {}, seconds{0}), seconds{0});
  EXPECT_EQ(initial_age(kNow, kNow - seconds{5}, seconds{9}, seconds{2}), seconds{11});
  EXPECT_EQ(initial_age(kNow, kNow - seconds{50}, seconds{9}, seconds{2}), seconds{50});
  EXPECT_EQ(initial_age(kNow, {}, {}, seconds{-3}), seconds{0});
  EXPECT_EQ(current_age(seconds{11}, kNow, kNow + seconds{4}), seconds{15});
  EXPECT_EQ(current_age(seconds{11}, kNow, kNow - hours{1}), seconds{11});  // a clock set back
}

Freshness assessed(const char* cache_control, const FreshnessRules& rules = {}) {
  return assess(facts_of(200, {{"Cache-Control", cache_control}, {"Date", kDateText}}), rules, kNow,
                seconds{0});
}

TEST(Freshness, EndsExactlyAtItsLifetime) {
  Freshness freshness = assessed("max-age=10");
  EXPECT_TRUE(freshness.is_fresh(kNow));
  EXPECT_TRUE(freshness.is_fresh(kNow + seconds{9}));
  EXPECT_FALSE(freshness.is_fresh(kNow + seconds{10}));
  EXPECT_EQ(freshness.time_left(kNow + seconds{12}), seconds{-2});
  EXPECT_EQ(freshness.age_at(kNow + seconds{12}), seconds{12});
}

TEST(Freshness, NoCacheIsNeverFreshNorServedStale) {
  Freshness freshness =
      assessed("no-cache, max-age=10, stale-while-revalidate=99, stale-if-error=99");
  EXPECT_FALSE(freshness.is_fresh(kNow));
  EXPECT_FALSE(freshness.may_serve_while_revalidating(kNow + seconds{11}));
  EXPECT_FALSE(freshness.may_serve_on_error(kNow + seconds{11}));
}

TEST(Freshness, StaleTimesBeginWhenItIsStaleAndEnd) {
  Freshness freshness = assessed("max-age=10, stale-while-revalidate=5, stale-if-error=20");
  EXPECT_FALSE(freshness.may_serve_while_revalidating(kNow + seconds{9}));
  EXPECT_TRUE(freshness.may_serve_while_revalidating(kNow + seconds{10}));
  EXPECT_TRUE(freshness.may_serve_while_revalidating(kNow + seconds{14}));
  EXPECT_FALSE(freshness.may_serve_while_revalidating(kNow + seconds{15}));
  EXPECT_TRUE(freshness.may_serve_on_error(kNow + seconds{29}));
  EXPECT_FALSE(freshness.may_serve_on_error(kNow + seconds{30}));
}

TEST(Freshness, RevalidationDutiesForbidStale) {
  const FreshnessRules rules{.stale_while_revalidate = seconds{50}, .stale_if_error = seconds{50}};
  const sys_seconds stale = kNow + seconds{11};
  EXPECT_TRUE(assessed("max-age=10", rules).may_serve_on_error(stale));
  EXPECT_TRUE(assessed("max-age=10", rules).may_serve_while_revalidating(stale));
  for (const char* value :
       {"max-age=10, must-revalidate", "max-age=10, proxy-revalidate", "s-maxage=10",
        "max-age=10, must-revalidate, stale-if-error=99, stale-while-revalidate=99"}) {
    EXPECT_FALSE(assessed(value, rules).may_serve_on_error(stale)) << value;
    EXPECT_FALSE(assessed(value, rules).may_serve_while_revalidating(stale)) << value;
  }
  EXPECT_TRUE(assessed("s-maxage=10, stale-if-error=9", rules).may_serve_on_error(stale));
  EXPECT_FALSE(assessed("max-age=10, stale-if-error=0", rules).may_serve_on_error(stale));
}

TEST(Facts, AreReadOnceFromTheFields) {
  ResponseFacts facts = facts_of(
      200,
      {{"Age", "7"}, {"Vary", "a"}, {"Vary", "*"}, {"Set-Cookie", "x=y"}, {"Date", kDateText}});
  EXPECT_EQ(facts.age, seconds{7});
  EXPECT_EQ(facts.date, kNow);
  EXPECT_TRUE(facts.vary_any);
  EXPECT_TRUE(facts.has_set_cookie);
  EXPECT_FALSE(facts.is_targeted);
}

}  // namespace
}  // namespace segue::http
