// base/version.h - the version of this program, as `segue version`, logs and metrics say it.
#pragma once
#include <string_view>

namespace segue {

/// "0.1.0"; a literal.
[[nodiscard]] std::string_view version() noexcept;

}  // namespace segue
