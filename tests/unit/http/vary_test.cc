// Goal: Vary becomes one sorted, bounded text, and equal requests one variant key.
#include "http/vary.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

std::string text_of(std::string_view value) {
  OwnedFields fields = fields_of({{"Vary", value}});
  return std::string(parse_vary(fields.view()).text());
}

TEST(Vary, NamesAreLowerCaseSortedAndUnique) {
  EXPECT_EQ(text_of("Origin, accept, ORIGIN"), "accept,origin");
  EXPECT_EQ(text_of("c,a,b"), "a,b,c");
  EXPECT_EQ(text_of("b,c,a"), "a,b,c");
  EXPECT_EQ(text_of("accept-language, accept"), "accept,accept-language");
  EXPECT_EQ(text_of("ab, a, abc"), "a,ab,abc");
  EXPECT_EQ(text_of(""), "");
  OwnedFields lines = fields_of({{"Vary", "b"}, {"vary", "A"}});
  VaryNames names = parse_vary(lines.view());
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[0], "a");
  EXPECT_EQ(names[1], "b");
}

TEST(Vary, OwnedNamesAreLeftOut) {
  EXPECT_EQ(text_of("Accept-Encoding, Range"), "");
  EXPECT_EQ(text_of("Accept-Encoding, Origin"), "origin");
  OwnedFields fields = fields_of({{"Vary", "Accept-Encoding"}});
  EXPECT_EQ(parse_vary(fields.view(), {}).text(), "accept-encoding");
}

TEST(Vary, StarNonsenseAndTooManyAreAny) {
  for (std::string_view value : {"*", "accept, *", "*, accept", "a b", "a=b", "\"a\""}) {
    EXPECT_EQ(text_of(value), "*") << value;
  }
  EXPECT_EQ(text_of("a,b,c,d,e,f,g,h"), "a,b,c,d,e,f,g,h");
  EXPECT_EQ(text_of("a,b,c,d,e,f,g,h,a"), "a,b,c,d,e,f,g,h");
  EXPECT_EQ(text_of("a,b,c,d,e,f,g,h,i"), "*");
  EXPECT_EQ(text_of(std::string(kVaryTextBytesMax, 'x')), std::string(kVaryTextBytesMax, 'x'));
  EXPECT_EQ(text_of(std::string(kVaryTextBytesMax + 1, 'x')), "*");
  EXPECT_EQ(text_of(std::string(kVaryTextBytesMax - 2, 'x') + ",y"),
            std::string(kVaryTextBytesMax - 2, 'x') + ",y");
  EXPECT_EQ(text_of(std::string(kVaryTextBytesMax - 1, 'x') + ",y"), "*");
}

TEST(Vary, TheTextReadsBackAndOtherTextIsAny) {
  for (std::string_view text : {"", "a", "accept,origin", "*"}) {
    EXPECT_EQ(parse_vary_text(text).text(), text);
  }
  for (std::string_view text : {"b,a", "A", "a,,b", "a, b", "a,a", "a,"}) {
    EXPECT_TRUE(parse_vary_text(text).is_any()) << text;
  }
}

std::string key_of(std::string_view vary,
                   std::initializer_list<std::pair<std::string_view, std::string_view>> request) {
  std::array<char, 128> out;
  OwnedFields fields = fields_of(request);
  auto key = variant_key(parse_vary_text(vary), fields.view(), out);
  return key ? std::string(*key) : std::string(name_of(key.error().kind));
}

TEST(VariantKey, NormalisesSpacingAndLines) {
  const std::string key = key_of("accept", {{"Accept", "a, b"}});
  EXPECT_EQ(key, "accept:a,b\n");
  EXPECT_EQ(key_of("accept", {{"ACCEPT", "a ,\tb"}}), key);
  EXPECT_EQ(key_of("accept", {{"accept", "a"}, {"Accept", "b"}}), key);
  EXPECT_NE(key_of("accept", {{"accept", "b, a"}}), key);
}

TEST(VariantKey, TellsAbsentFromEmptyAndNamesApart) {
  EXPECT_NE(key_of("accept", {}), key_of("accept", {{"Accept", ""}}));
  EXPECT_NE(key_of("a,b", {{"A", "x"}}), key_of("a,b", {{"B", "x"}}));
  EXPECT_EQ(key_of("", {{"A", "x"}}), "");
}

TEST(VariantKey, FailsWhereItCannotBeTold) {
  EXPECT_EQ(key_of("*", {}), "unsupported");
  EXPECT_EQ(key_of("a", {{"A", std::string(125, 'x')}}), "a:" + std::string(125, 'x') + "\n");
  EXPECT_EQ(key_of("a", {{"A", std::string(126, 'x')}}), "full");
}

}  // namespace
}  // namespace segue::http
