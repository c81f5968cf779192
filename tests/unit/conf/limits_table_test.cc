// `segue limits` shows the whole page: a bound added to base/limits.h without a row fails here.
#include "conf/limits_table.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>

namespace segue::conf {
namespace {

TEST(LimitsTable, HasARowForEveryBoundOfThePage) {
  std::ifstream file("base/limits.h");
  ASSERT_TRUE(file);
  const std::string table = print_limits();
  const std::regex bound(R"(^inline constexpr \S+ (k\w+))");
  size_t bounds = 0;
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, bound)) continue;
    ++bounds;
    EXPECT_TRUE(table.contains("  " + match[1].str() + " ")) << match[1] << " has no row";
  }
  EXPECT_GE(bounds, 40U);
}

TEST(LimitsTable, ShowsValuesForPeople) {
  const std::string table = print_limits();
  EXPECT_TRUE(table.contains("kSliceBytes                    256.0 KiB")) << table;
  EXPECT_TRUE(table.contains("kDriveHangTimeout                 250 ms")) << table;
}

}  // namespace
}  // namespace segue::conf
