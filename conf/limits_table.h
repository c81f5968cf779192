// conf/limits_table.h - base/limits.h as a table, with the memory that each bound can cost.
#pragma once
#include <string>

namespace segue::conf {

/// `segue limits`.
[[nodiscard]] std::string print_limits();

}  // namespace segue::conf
