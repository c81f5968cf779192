// conf/parse_toml.h - reads segue.toml into Settings.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "conf/mistake.h"
#include "conf/settings.h"

namespace segue::conf {

/// Reads `text` over the defaults. Every mistake goes to `mistakes` with its line, and its key
/// keeps the default; a syntax error hides what follows it. Unknown keys are mistakes. What single
/// values cannot show (an unknown origin, two equal hosts) is left to validate().
[[nodiscard]] Settings parse_toml(std::string_view text, Mistakes& mistakes);

/// The values that stand in a file as text: "site[0].ttl.default" -> "24h". What a reload compares.
using Written = std::map<std::string, std::string, std::less<>>;
/// Nothing where `text` is no TOML.
[[nodiscard]] Written written_in(std::string_view text);

}  // namespace segue::conf
