// Goal: one canonical form per target, idempotent, and a refusal for every known path trick.
#include "http/target.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace segue::http {
namespace {

std::string canonical(std::string_view target) {
  std::array<char, 4096> out;
  Result<CanonicalTarget> result = canonicalize(target, out);
  if (!result) return std::string(name_of(result.error().kind));
  std::string text(result->text);
  EXPECT_EQ(text, std::string(result->path) +
                      (result->query ? "?" + std::string(*result->query) : std::string()));
  std::array<char, 4096> again;
  Result<CanonicalTarget> second = canonicalize(text, again);
  EXPECT_TRUE(second.has_value()) << text;
  if (second) EXPECT_EQ(second->text, text);  // idempotent
  return text;
}

TEST(Target, HasOneCanonicalForm) {
  struct Row {
    const char* sent;
    const char* canonical;
  };
  for (const Row& row : {
           Row{"/", "/"},
           Row{"/a/b.mp3", "/a/b.mp3"},
           Row{"/%61%7e%2D%5f%2e.x", "/a~-_..x"},
           Row{"/a%2fb", "/a%2Fb"},
           Row{"/a%2Fb", "/a%2Fb"},
           Row{"//a///b", "//a///b"},
           Row{"/a%20b", "/a%20b"},
           Row{"/a%3fb%23c%25", "/a%3Fb%23c%25"},
           Row{"/%252e%252e/", "/%252e%252e/"},
           Row{"/a;x=1/b", "/a;x=1/b"},
           Row{"/...", "/..."},
           Row{"/.a/..b/c./d..", "/.a/..b/c./d.."},
           Row{"/caf%c3%a9", "/caf%C3%A9"},
           Row{"/%f0%9f%8e%b5", "/%F0%9F%8E%B5"},
           Row{"/a|b{c}\"<>^`[]", "/a%7Cb%7Bc%7D%22%3C%3E%5E%60%5B%5D"},
           Row{"/a?", "/a?"},
           Row{"?q", "/?q"},
           Row{"/a?b=%7E&c=%2f/../?x", "/a?b=~&c=%2F/../?x"},
           Row{"/a?b=%5c", "/a?b=%5C"},
           Row{"/.well-known/a?/../?b=/.", "/.well-known/a?/../?b=/."},
           Row{"/a.b/c?", "/a.b/c?"},
           Row{"/a?b?c/d", "/a?b?c/d"},
           Row{"/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"},
       }) {
    EXPECT_EQ(canonical(row.sent), row.canonical) << row.sent;
  }
}

TEST(Target, TricksAreRefused) {
  for (std::string_view target : {
           "/.",
           "/..",
           "/a/./b",
           "/a/../b",
           "/a/..",
           "/%2e%2e/a",
           "/a/%2E./b",
           "/.%2e",
           "/..;x/a",
           "/a/.;/b",
           "/a/..?q",
           "/%00",
           "/a?%00",
           "/a%01b",
           "/a%7f",
           "/a%0d%0aX",
           "/a?%0a",
           "/a\\b",
           "/a%5cb",
           "/a?b\\c",
           "/a#b",
           "/a b",
           "/a\tb",
           "/%",
           "/%4",
           "/%g1",
           "/%1g",
           "/%%41",
           "/a?%",
           "/%ff",
           "/%c3",
           "/%c3/",
           "/%c3%28",
           "/%c0%ae",
           "/%ed%a0%80",
           "/%f4%90%80%80",
           "/%e2%82",
           "/%e2%82a",
           "/%c3%41",
           "/%80",
           "/%f5%80%80%80",
           "/a?%c3",
           "/a?%c3&b",
           "/%c3?%a9",
           "/caf\xc3\xa9",
           "a",
           "",
           "*",
           "%2f",
       }) {
    EXPECT_EQ(canonical(target), "malformed") << target;
  }
  EXPECT_EQ(canonical(std::string_view("/a\0b", 4)), "malformed");
}

TEST(Target, ABufferTooSmallIsFullAndOneThatFitsIsNot) {
  std::array<char, 6> out;
  EXPECT_TRUE(canonicalize("/abcde", out).has_value());
  EXPECT_TRUE(canonicalize("/%61%62cde", out).has_value());
  Result<CanonicalTarget> over = canonicalize("/abcdef", out);
  ASSERT_FALSE(over.has_value());
  EXPECT_EQ(over.error().kind, Kind::Full);
  EXPECT_EQ(over.error().side, Side::Client);
  EXPECT_FALSE(canonicalize("/a|bc", out).has_value());  // it grows when encoded
}

std::string filtered(std::string_view query, const QueryRule& rule) {
  std::array<char, 256> out;
  Result<std::string_view> result = filter_query(query, rule, out);
  return result ? std::string(*result) : "error";
}

TEST(Query, CmcdNeverReachesTheKey) {
  QueryRule keep;
  EXPECT_EQ(filtered("a=1&CMCD=br%3D1&b", keep), "a=1&b");
  EXPECT_EQ(filtered("CMCD=x", keep), "");
  EXPECT_EQ(filtered("CMCD", keep), "");
  EXPECT_EQ(filtered("XCMCD=1&cmcd=2", keep), "XCMCD=1&cmcd=2");
  std::array<std::string_view, 1> names{"CMCD"};
  EXPECT_EQ(filtered("CMCD=x", {.mode = QueryMode::List, .names = names}), "");
}

TEST(Query, WhatIsKeptFollowsTheRule) {
  std::array<std::string_view, 2> names{"v", "b"};
  std::array<std::string_view, 2> strip{"token", "b"};
  EXPECT_EQ(filtered("a&&b=", {}), "a&&b=");
  EXPECT_EQ(filtered("a=1&b", {.mode = QueryMode::Drop}), "");
  EXPECT_EQ(filtered("x=1&v=2&b=3&v=4", {.mode = QueryMode::List, .names = names}), "v=2&b=3&v=4");
  EXPECT_EQ(filtered("v=2&b=3", {.mode = QueryMode::List, .names = names, .strip = strip}), "v=2");
  EXPECT_EQ(filtered("token=a~b,c&&x=1", {.strip = strip}), "x=1");
  EXPECT_EQ(filtered("", {}), "");
}

TEST(Query, ABufferTooSmallIsFull) {
  std::array<char, 3> out;
  EXPECT_TRUE(filter_query("a=1", {}, out).has_value());
  EXPECT_FALSE(filter_query("a=12", {}, out).has_value());
  EXPECT_FALSE(filter_query("CMCD=1&a=12", {}, out).has_value());
  EXPECT_TRUE(filter_query("CMCD=1&a=1", {}, out).has_value());
}

TEST(Query, ParametersAreFoundByName) {
  EXPECT_EQ(find_query_parameter("a=1&token=x=y&token=z", "token"), "x=y");
  EXPECT_EQ(find_query_parameter("a&b", "b"), "");
  EXPECT_EQ(find_query_parameter("a=1", "b"), std::nullopt);
  EXPECT_EQ(find_query_parameter("", ""), std::nullopt);
}

}  // namespace
}  // namespace segue::http
