// edge/access/path_pattern.h - what a token allows, compared with the canonical path of a request
// (http/target.h). Pure; bounded steps; no allocation but for the text kept.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace segue::edge {

struct PathPattern {
  enum class Kind : uint8_t {
    Exact,
    Prefix,  // ends at a segment's end: "/a" allows "/a" and "/a/b", not "/ab"
    Glob,    // '*' any text within a segment, '**' any text, '?' one character but '/'
    Acl,     // Akamai's: '*' any text, '?' any character
  };
  Kind kind = Kind::Exact;
  std::string text;

  [[nodiscard]] bool allows(std::string_view path) const noexcept;
};

}  // namespace segue::edge
