// Goal: preconditions in the order and with the comparison RFC 9110 §13 wants.
#include "http/conditions.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "http/date.h"
#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

constexpr const char* kBefore = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr const char* kModified = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr const char* kAfter = "Sun, 06 Nov 1994 08:49:38 GMT";
constexpr const char* kDate = "Sun, 06 Nov 1994 09:49:37 GMT";

Validator selected(std::string_view etag = "\"v1\"") {
  return {etag, parse_date(kModified), parse_date(kDate)};
}

struct Row {
  std::vector<std::pair<const char*, const char*>> lines;
  Condition expected;
};

OwnedFields fields_in(const Row& row) {
  OwnedFields fields;
  for (const auto& [name, value] : row.lines) EXPECT_TRUE(fields.add(name, value));
  return fields;
}

TEST(Conditions, AreEvaluatedInTheOrderOfTheRfc) {
  using enum Condition;
  for (const Row& row : {
           Row{{}, Proceed},
           Row{{{"If-Match", "\"v1\""}}, Proceed},
           Row{{{"If-Match", "\"v2\", \"v1\""}}, Proceed},
           Row{{{"If-Match", "\"v2\""}, {"If-Match", "\"v1\""}}, Proceed},
           Row{{{"If-Match", "*"}}, Proceed},
           Row{{{"If-Match", "\"v2\""}}, PreconditionFailed},
           Row{{{"If-Match", "W/\"v1\""}}, PreconditionFailed},
           Row{{{"If-Match", "v1"}}, PreconditionFailed},
           Row{{{"If-Match", ""}}, PreconditionFailed},
           Row{{{"If-Match", "\"v1\""}, {"If-Unmodified-Since", kBefore}}, Proceed},
           Row{{{"If-Unmodified-Since", kBefore}}, PreconditionFailed},
           Row{{{"If-Unmodified-Since", kModified}}, Proceed},
           Row{{{"If-Unmodified-Since", "yesterday"}}, Proceed},
           Row{{{"If-None-Match", "\"v1\""}}, NotModified},
           Row{{{"If-None-Match", "W/\"v1\""}}, NotModified},
           Row{{{"If-None-Match", "\"v0\", \"v1\""}}, NotModified},
           Row{{{"If-None-Match", "*"}}, NotModified},
           Row{{{"If-None-Match", "\"v2\""}}, Proceed},
           Row{{{"If-None-Match", "\"v2\""}, {"If-Modified-Since", kAfter}}, Proceed},
           Row{{{"If-Modified-Since", kModified}}, NotModified},
           Row{{{"If-Modified-Since", kAfter}}, NotModified},
           Row{{{"If-Modified-Since", kBefore}}, Proceed},
           Row{{{"If-Modified-Since", "nonsense"}}, Proceed},
           Row{{{"If-Modified-Since", kAfter}, {"If-Modified-Since", kAfter}}, Proceed},
           Row{{{"If-Match", "\"v1\""}, {"If-None-Match", "\"v1\""}}, NotModified},
           Row{{{"If-Match", "\"v2\""}, {"If-None-Match", "\"v1\""}}, PreconditionFailed},
       }) {
    OwnedFields fields = fields_in(row);
    EXPECT_EQ(evaluate_preconditions(Method::Get, fields.view(), selected()), row.expected)
        << (row.lines.empty() ? "" : row.lines[0].second);
    EXPECT_EQ(evaluate_preconditions(Method::Head, fields.view(), selected()), row.expected);
  }
}

TEST(Conditions, OtherMethodsFailWhereReadsAreNotModified) {
  OwnedFields none_match = fields_of({{"If-None-Match", "\"v1\""}});
  EXPECT_EQ(evaluate_preconditions(Method::Put, none_match.view(), selected()),
            Condition::PreconditionFailed);
  OwnedFields since = fields_of({{"If-Modified-Since", kAfter}});
  EXPECT_EQ(evaluate_preconditions(Method::Put, since.view(), selected()), Condition::Proceed);
}

TEST(Conditions, WithoutValidatorsOnlyTheStarMatches) {
  const Validator none;
  OwnedFields tag = fields_of({{"If-Match", "\"v1\""}});
  OwnedFields star = fields_of({{"If-None-Match", "*"}});
  OwnedFields since = fields_of({{"If-Unmodified-Since", kBefore}, {"If-Modified-Since", kAfter}});
  EXPECT_EQ(evaluate_preconditions(Method::Get, tag.view(), none), Condition::PreconditionFailed);
  EXPECT_EQ(evaluate_preconditions(Method::Get, star.view(), none), Condition::NotModified);
  EXPECT_EQ(evaluate_preconditions(Method::Get, since.view(), none), Condition::Proceed);
}

TEST(Conditions, IfRangeNeedsAStrongMatch) {
  auto matches = [](const char* value, const Validator& validator) {
    OwnedFields fields = fields_of({{"If-Range", value}});
    return if_range_matches(fields.view(), validator);
  };
  EXPECT_TRUE(if_range_matches({}, selected()));
  EXPECT_TRUE(matches("\"v1\"", selected()));
  EXPECT_FALSE(matches("\"v2\"", selected()));
  EXPECT_FALSE(matches("W/\"v1\"", selected()));
  EXPECT_FALSE(matches("W/\"v1\"", selected("W/\"v1\"")));
  EXPECT_FALSE(matches("\"v1\"", selected("W/\"v1\"")));
  EXPECT_FALSE(matches("\"v1\", \"v1\"", selected()));
  EXPECT_FALSE(matches("*", selected()));
  EXPECT_FALSE(matches("", selected()));
  EXPECT_TRUE(matches(kModified, selected()));
  EXPECT_FALSE(matches(kAfter, selected()));
  EXPECT_FALSE(matches(kBefore, selected()));
  // A Last-Modified less than a minute old is weak (§8.8.2.2).
  EXPECT_FALSE(matches(kModified, Validator("", parse_date(kModified), parse_date(kAfter))));
  OwnedFields twice = fields_of({{"If-Range", "\"v1\""}, {"If-Range", "\"v1\""}});
  EXPECT_FALSE(if_range_matches(twice.view(), selected()));
}

}  // namespace
}  // namespace segue::http
