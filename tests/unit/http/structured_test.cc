// Goal: RFC 8941 dictionaries and items are read strictly; one flaw voids the whole.
#include "http/structured.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

using Type = BareItem::Type;

TEST(Structured, EveryTypeOfItemIsRead) {
  EXPECT_EQ(parse_item("42")->value.integer, 42);
  EXPECT_EQ(parse_item("-999999999999999")->value.integer, -999999999999999);
  EXPECT_EQ(parse_item("4.5")->value.integer, 4500);
  EXPECT_EQ(parse_item("-0.125")->value.integer, -125);
  EXPECT_EQ(parse_item("4.5")->value.type, Type::Decimal);
  EXPECT_EQ(parse_item("\"a \\\"b\\\\\"")->value.text, "a \\\"b\\\\");
  EXPECT_EQ(parse_item("foo/bar:*")->value.text, "foo/bar:*");
  EXPECT_EQ(parse_item("*a")->value.type, Type::Token);
  EXPECT_EQ(parse_item(":aGk=:")->value.text, "aGk=");
  EXPECT_TRUE(parse_item("?1")->value.boolean);
  EXPECT_FALSE(parse_item("?0")->value.boolean);
  EXPECT_EQ(parse_item(" 1;a;b=2 ")->parameters, ";a;b=2");
}

TEST(Structured, MalformedItemsAreRefused) {
  for (std::string_view text : {"",
                                "-",
                                "1.",
                                ".5",
                                "1000000000000000",
                                "1.2345",
                                "1234567890123.1",
                                "\"open",
                                "\"a\\n\"",
                                "\"a\x01\"",
                                ":a",
                                ":a b:",
                                "?",
                                "?2",
                                "?10",
                                "a b",
                                "1 ;a",
                                "1;",
                                "1;A",
                                "1;a=",
                                "(a)",
                                "=",
                                "a,b",
                                "\xc3\xa4",
                                "\"\xe4\""}) {
    EXPECT_FALSE(parse_item(text).has_value()) << text;
  }
}

TEST(Structured, DictionariesAreRead) {
  auto dictionary = parse_dictionary("a=1, b ,c;x=?0;y,\td=(1 \"two\" three;p) , a=2, e=();q=1");
  ASSERT_TRUE(dictionary.has_value());
  EXPECT_EQ(dictionary->members().size(), 5u);
  EXPECT_EQ(dictionary->find("a")->value.integer, 2);  // the last one counts
  EXPECT_TRUE(dictionary->find("b")->value.boolean);
  EXPECT_EQ(dictionary->find("c")->parameters, ";x=?0;y");
  EXPECT_EQ(dictionary->find("d")->value.text, "(1 \"two\" three;p)");
  EXPECT_EQ(dictionary->find("e")->value.type, Type::InnerList);
  EXPECT_EQ(dictionary->find("f"), nullptr);
  EXPECT_TRUE(parse_dictionary("")->empty());
}

TEST(Structured, OneFlawVoidsTheDictionary) {
  for (std::string_view text : {"a=1,", ",a", "a=1 b", "A=1", "a=", "a==1", "a=1,,b", "a=(1",
                                "a=(1,2)", "a=(1\t2)", "a=1;", "a=1, b=\"", "1=a", "a=\"x\" y"}) {
    EXPECT_FALSE(parse_dictionary(text).has_value()) << text;
  }
}

TEST(Structured, FieldsOfOneNameFormOneDictionary) {
  OwnedFields fields = fields_of({{"D", "a=1"}, {"D", ""}, {"d", "b, a=3"}});
  auto dictionary = parse_dictionary(fields.view(), "D");
  ASSERT_TRUE(dictionary.has_value());
  EXPECT_EQ(dictionary->find("a")->value.integer, 3);
  EXPECT_NE(dictionary->find("b"), nullptr);
  fields.add("D", "a=");
  EXPECT_FALSE(parse_dictionary(fields.view(), "D").has_value());
}

TEST(Structured, MembersAreLimitedToTheirMaximum) {
  std::string text = "k0";
  for (size_t i = 1; i < kDictionaryMembersMax; ++i) text += ",k" + std::to_string(i);
  EXPECT_TRUE(parse_dictionary(text).has_value());
  EXPECT_TRUE(parse_dictionary(text + ",k0=1").has_value());
  auto over = parse_dictionary(text + ",more");
  ASSERT_FALSE(over.has_value());
  EXPECT_EQ(over.error().kind, Kind::Full);
}

TEST(Structured, ParametersAreFound) {
  EXPECT_EQ(find_parameter(";a=1; b=x;a=2", "a")->integer, 2);
  EXPECT_EQ(find_parameter(";a=1; b=x", "b")->text, "x");
  EXPECT_TRUE(find_parameter(";a", "a")->boolean);
  EXPECT_FALSE(find_parameter(";a", "b").has_value());
}

TEST(Structured, TokensAndStringsAreToldApart) {
  EXPECT_TRUE(is_structured_token("fra1-03"));
  EXPECT_FALSE(is_structured_token("1fra"));
  EXPECT_FALSE(is_structured_token(""));
  EXPECT_FALSE(is_structured_token("a b"));
  EXPECT_TRUE(is_structured_string("a \"b\""));
  EXPECT_FALSE(is_structured_string("a\nb"));
  EXPECT_FALSE(is_structured_string("\xc3\xa4"));
}

}  // namespace
}  // namespace segue::http
