// Goal: one field line, split as RFC 9112 §5 allows and not otherwise.
#include "http/field_line.h"

#include <gtest/gtest.h>

namespace segue::http {
namespace {

TEST(FieldLine, IsSplitAtItsFirstColon) {
  Field field;
  EXPECT_EQ(split_field_line("A-b:  c: d \t", field), FieldLineError::None);
  EXPECT_EQ(field.name, "A-b");
  EXPECT_EQ(field.value, "c: d");
  EXPECT_EQ(split_field_line("A:", field), FieldLineError::None);
  EXPECT_EQ(field.value, "");
}

TEST(FieldLine, DefectsAreNamedAndLeaveTheFieldAlone) {
  using enum FieldLineError;
  struct Row {
    std::string_view line;
    FieldLineError error;
  };
  Field field{.name = "kept", .value = "kept"};
  for (const Row& row :
       {Row{" A: b", ObsFold}, Row{"\tb", ObsFold}, Row{"A : b", SpaceBeforeColon},
        Row{"A\t : b", SpaceBeforeColon}, Row{"A b: c", MalformedField}, Row{"", MalformedField},
        Row{":", MalformedField}, Row{"A", MalformedField}, Row{"A;b: c", MalformedField},
        Row{"A: b\rc", BadValue}, Row{std::string_view("A: \0", 4), BadValue}}) {
    EXPECT_EQ(split_field_line(row.line, field), row.error) << row.line;
    EXPECT_EQ(field.name, "kept");
  }
}

}  // namespace
}  // namespace segue::http
