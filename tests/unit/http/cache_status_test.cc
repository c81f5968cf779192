// Goal: Cache-Status is a valid RFC 9211 member, in every combination.
#include "http/cache_status.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "http/structured.h"

namespace segue::http {
namespace {

std::string written(const CacheStatus& status) {
  std::array<char, kCacheStatusBytesMax> out;
  auto text = write_cache_status(status, out);
  if (!text) return std::string(name_of(text.error().kind));
  EXPECT_TRUE(parse_item(*text).has_value()) << *text;  // a list of one item
  return std::string(*text);
}

TEST(CacheStatus, AHitSaysHit) {
  EXPECT_EQ(written({.node = "fra1-03", .hit = true, .ttl = 55, .detail = "ram"}),
            "fra1-03; hit; ttl=55; detail=ram");
  EXPECT_EQ(written({.node = "n", .hit = true, .forward = ForwardReason::Stale, .stored = true}),
            "n; hit");
}

TEST(CacheStatus, AForwardSaysWhy) {
  EXPECT_EQ(written({.node = "n",
                     .forward = ForwardReason::Partial,
                     .forward_status = 206,
                     .ttl = -3,
                     .stored = true,
                     .collapsed = true,
                     .slices_hit = 3,
                     .slices_needed = 4}),
            "n; fwd=partial; fwd-status=206; stored; collapsed; ttl=-3; slices_hit=3; "
            "slices_needed=4");
}

TEST(CacheStatus, EveryReasonHasItsWord) {
  const std::array<std::pair<ForwardReason, std::string_view>, 8> rows{{
      {ForwardReason::Bypass, "bypass"},
      {ForwardReason::Method, "method"},
      {ForwardReason::UriMiss, "uri-miss"},
      {ForwardReason::VaryMiss, "vary-miss"},
      {ForwardReason::Miss, "miss"},
      {ForwardReason::Request, "request"},
      {ForwardReason::Stale, "stale"},
      {ForwardReason::Partial, "partial"},
  }};
  for (const auto& [reason, word] : rows) EXPECT_EQ(name_of(reason), word);
}

TEST(CacheStatus, NamesThatAreNoTokensAreQuoted) {
  EXPECT_EQ(written({.node = "my \"edge\" \\1", .hit = true}), "\"my \\\"edge\\\" \\\\1\"; hit");
  EXPECT_EQ(written({.node = "1.edge"}), "\"1.edge\"");
}

TEST(CacheStatus, WhatCannotBeWrittenIsAnError) {
  EXPECT_EQ(written({.node = ""}), "malformed");
  EXPECT_EQ(written({.node = "a\r\nX: y"}), "malformed");
  EXPECT_EQ(written({.node = "n", .detail = "\x01"}), "malformed");
  std::array<char, 6> out;
  EXPECT_TRUE(write_cache_status({.node = "n", .hit = true}, out).has_value());
  EXPECT_FALSE(write_cache_status({.node = "nn", .hit = true}, out).has_value());
}

TEST(CacheStatus, TheLongestFits) {
  const std::string quotes(120, '"');
  EXPECT_NE(written({.node = quotes,
                     .forward = ForwardReason::VaryMiss,
                     .forward_status = 65535,
                     .ttl = INT64_MIN,
                     .stored = true,
                     .collapsed = true,
                     .detail = quotes,
                     .slices_hit = UINT32_MAX,
                     .slices_needed = UINT32_MAX}),
            "full");
}

}  // namespace
}  // namespace segue::http
