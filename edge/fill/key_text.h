// edge/fill/key_text.h - from a path as somebody writes it to the cache key's text: one form for
// requests, purges, explanations and the recommendation feed.
#pragma once
#include <span>
#include <string_view>

#include "base/result.h"
#include "edge/fill/site.h"

namespace segue::edge {

/// The canonical target of `origin_form` for `site`, and the key text in front of it, written into
/// `out`: "<site><path>[?query]". For purge and explain as well, so that an operator's URL finds
/// the same key. Errors as http::canonicalize.
struct KeyText {
  std::string_view key_text;
  std::string_view target;  // its tail: what goes to the origin
};
[[nodiscard]] Result<KeyText> write_key_text(const Site& site, std::string_view origin_form,
                                             std::span<char> scratch, std::span<char> out) noexcept;

}  // namespace segue::edge
