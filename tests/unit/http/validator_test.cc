// Goal: entity tags are read strictly and compared as RFC 9110 §8.8.3.2 says; strength is known.
#include "http/validator.h"

#include <gtest/gtest.h>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

TEST(EntityTag, StrongAndWeakOnesAreRead) {
  EXPECT_EQ(parse_entity_tag("\"abc\"")->opaque, "abc");
  EXPECT_FALSE(parse_entity_tag("\"abc\"")->weak);
  EXPECT_TRUE(parse_entity_tag("W/\"abc\"")->weak);
  EXPECT_EQ(parse_entity_tag("\"\"")->opaque, "");
  EXPECT_EQ(parse_entity_tag("\"a,b\\\"")->opaque, "a,b\\");  // backslash is no escape
  EXPECT_EQ(parse_entity_tag("\"\xe4\"")->opaque, "\xe4");
}

TEST(EntityTag, AnythingElseIsNone) {
  for (std::string_view text :
       {"", "abc", "\"abc", "abc\"", "w/\"abc\"", "W/abc", "W/ \"abc\"", "\"a\"b\"", "\"a b\"",
        "\"a\"\"b\"", " \"a\"", "'a'", "\"a\x7f\"", "*", "\"a\", \"b\""}) {
    EXPECT_FALSE(parse_entity_tag(text).has_value()) << text;
  }
}

TEST(EntityTag, ComparisonFollowsTheTableOfTheRfc) {
  struct Row {
    const char* a;
    const char* b;
    bool strong;
    bool weak;
  };
  for (const Row& row :
       {Row{"W/\"1\"", "W/\"1\"", false, true}, Row{"W/\"1\"", "W/\"2\"", false, false},
        Row{"W/\"1\"", "\"1\"", false, true}, Row{"\"1\"", "\"1\"", true, true},
        Row{"\"1\"", "\"2\"", false, false}}) {
    const EntityTag a = parse_entity_tag(row.a).value();
    const EntityTag b = parse_entity_tag(row.b).value();
    EXPECT_EQ(strong_match(a, b), row.strong) << row.a << row.b;
    EXPECT_EQ(weak_match(a, b), row.weak) << row.a << row.b;
    EXPECT_EQ(strong_match(b, a), row.strong);
  }
}

TEST(EntityTag, ListsAreWalkedAcrossCommasInTags) {
  EntityTagList list(" \"a,b\" ,, W/\"c\",\"d\"");
  EXPECT_EQ(list.next()->opaque, "a,b");
  EXPECT_TRUE(list.next()->weak);
  EXPECT_EQ(list.next()->opaque, "d");
  EXPECT_FALSE(list.next().has_value());
  EXPECT_FALSE(list.malformed());
}

TEST(EntityTag, AMalformedMemberEndsTheList) {
  for (std::string_view text : {"\"a\", b, \"c\"", "\"a\" \"c\"", "\"a\", \"c"}) {
    EntityTagList list(text);
    while (auto tag = list.next()) EXPECT_NE(tag->opaque, "c") << text;
    EXPECT_TRUE(list.malformed()) << text;
  }
}

TEST(Validator, StrengthIsThatOfTheTagOrOfAnOldEnoughDate) {
  const sys_seconds modified{seconds{1'000'000}};
  EXPECT_TRUE(Validator("\"a\"", {}, {}).is_strong());
  EXPECT_FALSE(Validator("W/\"a\"", modified, modified + seconds{100}).is_strong());
  EXPECT_TRUE(Validator("", modified, modified + seconds{60}).is_strong());
  EXPECT_FALSE(Validator("", modified, modified + seconds{59}).is_strong());
  EXPECT_FALSE(Validator("", modified, {}).is_strong());
  EXPECT_FALSE(Validator().is_strong());
  EXPECT_TRUE(Validator().empty());
  EXPECT_TRUE(Validator("not quoted", {}, {}).empty());
}

TEST(Validator, IsReadFromAResponse) {
  OwnedFields fields = fields_of({{"ETag", "\"x\""},
                                  {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"},
                                  {"Date", "Sun, 06 Nov 1994 08:50:37 GMT"}});
  Validator validator = Validator::of_response(fields.view());
  EXPECT_EQ(validator.entity_tag()->opaque, "x");
  EXPECT_TRUE(validator.last_modified_is_strong());
  fields.add("ETag", "\"y\"");  // two tags: none can be believed
  EXPECT_FALSE(Validator::of_response(fields.view()).entity_tag().has_value());
}

}  // namespace
}  // namespace segue::http
