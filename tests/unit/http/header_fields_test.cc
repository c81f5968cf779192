// Goal: look-up, list walking and owned copies of fields, with the inputs that break naive ones.
#include "http/header_fields.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

std::vector<std::string> members_of(std::string_view value) {
  std::vector<std::string> members;
  ListMembers list(value);
  while (auto member = list.next()) members.emplace_back(*member);
  return members;
}

TEST(HeaderFields, NamesAreComparedIgnoringAsciiCaseOnly) {
  EXPECT_TRUE(equals_ignore_case("Content-RANGE", "content-range"));
  EXPECT_FALSE(equals_ignore_case("content-range", "content-rang"));
  EXPECT_FALSE(equals_ignore_case("[", "{"));  // 0x20 apart, as letters of two cases are
  EXPECT_FALSE(equals_ignore_case("\xc4", "\xe4"));
}

TEST(HeaderFields, AFilterOfNamesHidesNothingThatIsThere) {
  const std::array<std::string_view, 12> names{
      "Host",   "Range", "User-Agent", "If-Range",      "X",   "x-Y",
      "Cookie", "TE",    "Connection", "Authorization", "A^b", "a~B"};
  for (size_t count = 0; count <= names.size(); ++count) {
    std::vector<Field> fields;
    NameFilter filter;
    for (std::string_view name : std::span(names).first(count)) {
      fields.push_back({.name = name, .value = name});
      filter.add(name);
    }
    const FieldsView filtered(fields, filter);
    const FieldsView all(fields);
    for (std::string_view name : names) {
      std::string other(name);  // as another client spells it
      for (char& c : other)
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : to_lower(c);
      for (std::string_view spelling : {name, std::string_view(other)}) {
        EXPECT_EQ(filtered.find(spelling), all.find(spelling)) << spelling;
        EXPECT_EQ(filtered.find_only(spelling), all.find_only(spelling)) << spelling;
        EXPECT_EQ(filtered.contains(spelling), all.contains(spelling)) << spelling;
        EXPECT_EQ(filtered.list_contains(spelling, name), all.list_contains(spelling, name));
      }
    }
    EXPECT_EQ(filtered.find(""), std::nullopt);
  }
}

TEST(HeaderFields, TokensHoldOnlyTheirCharacters) {
  EXPECT_TRUE(is_token("X-1!#$%&'*+.^_`|~"));
  for (std::string_view text : {"", "a b", "a:b", "a/b", "a\"", "a\x7f", "\xc3\xa4", "a(b)"}) {
    EXPECT_FALSE(is_token(text)) << text;
  }
}

TEST(HeaderFields, ControlCharactersAreFoundAtEveryPlaceOfAValue) {
  EXPECT_TRUE(is_field_value(""));
  EXPECT_TRUE(is_field_value("a\tb \xff~"));
  for (size_t length = 1; length <= 24; ++length) {
    for (size_t place = 0; place < length; ++place) {
      for (char bad : {'\0', '\n', '\r', '\x01', '\x1f', '\x7f'}) {
        std::string text(length, 'v');
        EXPECT_TRUE(is_field_value(text));
        text[place] = bad;
        EXPECT_FALSE(is_field_value(text)) << length << ' ' << place << ' ' << int{bad};
        text[place] = '\t';
        EXPECT_TRUE(is_field_value(text));
      }
    }
  }
}

TEST(HeaderFields, DecimalsAreDigitsOnlyAndFit64Bits) {
  EXPECT_EQ(parse_decimal("0"), 0u);
  EXPECT_EQ(parse_decimal("0012"), 12u);
  EXPECT_EQ(parse_decimal("18446744073709551615"), UINT64_MAX);
  for (std::string_view text : {"", "-1", "+1", " 1", "1 ", "0x1", "1_0", "18446744073709551616",
                                "99999999999999999999999"}) {
    EXPECT_EQ(parse_decimal(text), std::nullopt) << text;
  }
}

TEST(HeaderFields, ListsAreDividedAtCommasOutsideQuotesOnly) {
  using List = std::vector<std::string>;
  EXPECT_EQ(members_of("a, b\t,c"), (List{"a", "b", "c"}));
  EXPECT_EQ(members_of(",, a ,,b, "), (List{"a", "b"}));
  EXPECT_EQ(members_of("a=\"x,y\", b"), (List{"a=\"x,y\"", "b"}));
  EXPECT_EQ(members_of("a=\"x\\\",y\", b"), (List{"a=\"x\\\",y\"", "b"}));
  EXPECT_EQ(members_of("\"open, b"), (List{"\"open, b"}));
  EXPECT_EQ(members_of("\"ends in backslash\\"), (List{"\"ends in backslash\\"}));
  EXPECT_EQ(members_of(""), List{});
  EXPECT_EQ(members_of(" , ,"), List{});
}

TEST(HeaderFields, FindsFirstOnlyAndAll) {
  OwnedFields owned = fields_of({{"Accept", "a"}, {"Host", "h"}, {"ACCEPT", "b"}});
  FieldsView fields = owned.view();
  EXPECT_EQ(fields.find("accept"), "a");
  EXPECT_EQ(fields.find_only("accept"), std::nullopt);
  EXPECT_EQ(fields.find_only("hOST"), "h");
  EXPECT_EQ(fields.find("missing"), std::nullopt);
  EXPECT_EQ(fields.count("Accept"), 2u);
  FieldValues values = find_all(fields, "Accept");
  EXPECT_EQ(values.next(), "a");
  EXPECT_EQ(values.next(), "b");
  EXPECT_EQ(values.next(), std::nullopt);
}

TEST(HeaderFields, FieldsOfOneNameFormOneList) {
  OwnedFields owned =
      fields_of({{"Connection", "a, b"}, {"X", "no"}, {"connection", ""}, {"CONNECTION", "c"}});
  CombinedList list(owned.view(), "Connection");
  EXPECT_EQ(list.next(), "a");
  EXPECT_EQ(list.next(), "b");
  EXPECT_EQ(list.next(), "c");
  EXPECT_EQ(list.next(), std::nullopt);
  EXPECT_TRUE(owned.view().list_contains("connection", "C"));
  EXPECT_FALSE(owned.view().list_contains("connection", "no"));
}

TEST(HeaderFields, AQuoteLeftOpenEndsWithItsLine) {
  OwnedFields owned = fields_of({{"L", "\"open, x"}, {"L", "b"}});
  CombinedList list(owned.view(), "L");
  EXPECT_EQ(list.next(), "\"open, x");
  EXPECT_EQ(list.next(), "b");
}

TEST(OwnedFields, KeepTheirTextThroughGrowthCopyAndMove) {
  OwnedFields fields;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(fields.add("Name-" + std::to_string(i), "value " + std::to_string(i)));
  }
  OwnedFields copy = fields;
  OwnedFields moved = std::move(fields);
  fields = OwnedFields();
  copy.clear();
  EXPECT_EQ(copy.size(), 0u);
  ASSERT_EQ(moved.size(), 200u);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(moved.view().find("name-" + std::to_string(i)), "value " + std::to_string(i));
  }
}

TEST(OwnedFields, AFieldOfTheListItselfCanBeAddedAgain) {
  OwnedFields fields = fields_of({{"A", "some text that is long enough to move the arena"}});
  for (int i = 0; i < 10; ++i) fields.add(fields.view()[0].name, fields.view()[0].value);
  for (const Field& field : fields.view()) EXPECT_EQ(field.value, fields.view()[0].value);
  EXPECT_EQ(fields.size(), 11u);
}

TEST(OwnedFields, SetReplacesAllAndRemoveRemovesAll) {
  OwnedFields fields = fields_of({{"A", "1"}, {"B", "2"}, {"a", "3"}});
  EXPECT_TRUE(fields.set("a", "4"));
  EXPECT_EQ(fields.view().find_only("A"), "4");
  fields.remove("b");
  EXPECT_EQ(fields.size(), 1u);
}

TEST(OwnedFields, RefuseWhatCouldSplitAResponse) {
  OwnedFields fields;
  EXPECT_FALSE(fields.add("A", "x\r\nSet-Cookie: y"));
  EXPECT_FALSE(fields.add("A\r\n", "x"));
  EXPECT_FALSE(fields.add("", "x"));
  EXPECT_FALSE(fields.set("A b", "x"));
  EXPECT_FALSE(fields.add("A", std::string_view("a\0b", 3)));
  EXPECT_EQ(fields.size(), 0u);
}

}  // namespace
}  // namespace segue::http
