#include "edge/access/path_pattern.h"

namespace segue::edge {
namespace {

// Two kinds of stars in one pattern may take the square of the path's length. A path of this many
// steps is refused: real ones take hundreds, and a loop does not spend milliseconds on one.
constexpr size_t kStepsMax = 64 * 1024;

/// Where to go on when the text behind a star did not match: the star takes one character more.
struct Star {
  size_t pattern = std::string_view::npos;  // behind the star; npos: none yet
  size_t text = 0;
};

/// A star within a segment cannot help once its segment is over, and what stands behind a '**'
/// matches soonest at the first place it can, so two places to go back to are enough.
bool matches_wildcards(std::string_view pattern, std::string_view text, bool crosses) noexcept {
  Star within;
  Star across;
  size_t p = 0;
  size_t t = 0;
  for (size_t steps = 0; t < text.size() || p < pattern.size(); ++steps) {
    if (steps == kStepsMax) return false;
    if (p < pattern.size() && pattern[p] == '*') {
      const bool twice = p + 1 < pattern.size() && pattern[p + 1] == '*';
      p += twice ? 2 : 1;
      if (twice || crosses) {
        across = {p, t};
        within = {};
      } else {
        within = {p, t};
      }
      continue;
    }
    if (p < pattern.size() && t < text.size()) {
      const bool any = pattern[p] == '?' && (crosses || text[t] != '/');
      if (any || pattern[p] == text[t]) {
        ++p;
        ++t;
        continue;
      }
    }
    if (within.pattern != std::string_view::npos && within.text < text.size() &&
        text[within.text] != '/') {
      t = ++within.text;
      p = within.pattern;
    } else if (across.pattern != std::string_view::npos && across.text < text.size()) {
      within = {};
      t = ++across.text;
      p = across.pattern;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

bool PathPattern::allows(std::string_view path) const noexcept {
  switch (kind) {
    case Kind::Exact:
      return path == text;
    case Kind::Prefix:
      if (text.empty() || !path.starts_with(text)) return false;
      return path.size() == text.size() || text.ends_with('/') || path[text.size()] == '/';
    case Kind::Glob:
      return matches_wildcards(text, path, false);
    case Kind::Acl:
      return matches_wildcards(text, path, true);
  }
  return false;
}

}  // namespace segue::edge
