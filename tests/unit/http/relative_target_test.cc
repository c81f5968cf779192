// Goal: a reference names a target of the same host, or nothing. Method: the examples of RFC 3986
// §5.4 that stay on the host, and what must not.
#include "http/relative_target.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace segue::http {
namespace {

std::string resolved(std::string_view reference, std::string_view base = "/b/c/d;p?q") {
  std::array<char, 64> out;
  const auto target = resolve_on_host(base, reference, out);
  return target ? std::string(*target) : "(nothing)";
}

TEST(RelativeTarget, NamesWhatTheRfcSays) {
  EXPECT_EQ(resolved("g"), "/b/c/g");
  EXPECT_EQ(resolved("./g"), "/b/c/g");
  EXPECT_EQ(resolved("g/"), "/b/c/g/");
  EXPECT_EQ(resolved("/g"), "/g");
  EXPECT_EQ(resolved("?y"), "/b/c/d;p?y");
  EXPECT_EQ(resolved("g?y"), "/b/c/g?y");
  EXPECT_EQ(resolved(";x"), "/b/c/;x");
  EXPECT_EQ(resolved("."), "/b/c/");
  EXPECT_EQ(resolved("./"), "/b/c/");
  EXPECT_EQ(resolved(".."), "/b/");
  EXPECT_EQ(resolved("../g"), "/b/g");
  EXPECT_EQ(resolved("../.."), "/");
  EXPECT_EQ(resolved("../../g"), "/g");
  EXPECT_EQ(resolved("g;x=1/../y"), "/b/c/y");
  EXPECT_EQ(resolved("/a/./b/../c"), "/a/c");
  EXPECT_EQ(resolved("g.."), "/b/c/g..");
  EXPECT_EQ(resolved("g?a/../b"), "/b/c/g?a/../b");
  EXPECT_EQ(resolved("2", "/1"), "/2");
}

TEST(RelativeTarget, NamesNothingOnAnotherHost) {
  for (const char* reference :
       {"//g", "//other.example/x", "http://a/b", "g:h", "javascript:x", "data:,x", "http:g"})
    EXPECT_EQ(resolved(reference), "(nothing)") << reference;
  EXPECT_EQ(resolved("./a:b"), "/b/c/a:b");  // no scheme: it is not the first segment
}

TEST(RelativeTarget, NeverClimbsAboveTheRoot) {
  for (const char* reference : {"../../../g", "/../g", "../../..", "a/../../../../g"})
    EXPECT_EQ(resolved(reference), "(nothing)") << reference;
}

TEST(RelativeTarget, IsNeverTheDocumentItselfAndNeverATarget) {
  for (const char* reference : {"", "#f", "g#f"}) EXPECT_EQ(resolved(reference), "(nothing)");
  EXPECT_EQ(resolved("g", ""), "(nothing)");
  EXPECT_EQ(resolved("g", "*"), "(nothing)");
}

TEST(RelativeTarget, FitsOrIsNothing) {
  EXPECT_EQ(resolved(std::string(59, 'x')), "/b/c/" + std::string(59, 'x'));
  EXPECT_EQ(resolved(std::string(60, 'x')), "(nothing)");
  EXPECT_EQ(resolved("?" + std::string(60, 'x')), "(nothing)");
}

}  // namespace
}  // namespace segue::http
