// Goal: what a token allows and what it is made of, piece by piece; whole tokens against the real
// binary are in tests/wire/test_tokens.py.
#include <gtest/gtest.h>
#include <malloc.h>

#include <array>

#include "base/address_range.h"
#include "edge/access/hmac.h"
#include "edge/access/path_pattern.h"
#include "edge/access/sign.h"
#include "edge/access/token_check.h"
#include "edge/access/token_fields.h"
#include "edge/access/uri_container.h"

namespace segue::edge {
namespace {

using Kind = PathPattern::Kind;

bool allows(Kind kind, std::string text, std::string_view path) {
  return PathPattern{kind, std::move(text)}.allows(path);
}

TEST(PathPatternTest, APrefixEndsAtTheEndOfASegment) {
  EXPECT_TRUE(allows(Kind::Prefix, "/a/", "/a/b"));
  EXPECT_TRUE(allows(Kind::Prefix, "/a", "/a"));
  EXPECT_TRUE(allows(Kind::Prefix, "/a", "/a/b"));
  EXPECT_FALSE(allows(Kind::Prefix, "/a", "/ab"));
  EXPECT_FALSE(allows(Kind::Prefix, "", "/a"));
}

TEST(PathPatternTest, AStarStaysInItsSegmentAndTwoDoNot) {
  EXPECT_TRUE(allows(Kind::Glob, "/a/*.ogg", "/a/t.ogg"));
  EXPECT_FALSE(allows(Kind::Glob, "/a/*.ogg", "/a/b/t.ogg"));
  EXPECT_TRUE(allows(Kind::Glob, "/a/**.ogg", "/a/b/t.ogg"));
  EXPECT_TRUE(allows(Kind::Glob, "/**/x/*.ogg", "/a/x/b/x/t.ogg"));
  EXPECT_FALSE(allows(Kind::Glob, "/**/x/*.ogg", "/a/x/b/y/t.ogg"));
  EXPECT_TRUE(allows(Kind::Glob, "/*a*b/c", "/aab/c"));
  EXPECT_TRUE(allows(Kind::Glob, "/*ab*/c", "/aabab/c"));
  EXPECT_TRUE(allows(Kind::Glob, "/?/c", "/a/c"));
  EXPECT_FALSE(allows(Kind::Glob, "/a?c", "/a/c"));
  EXPECT_TRUE(allows(Kind::Glob, "**", "/"));
  EXPECT_TRUE(allows(Kind::Glob, "/*", "/"));
  EXPECT_FALSE(allows(Kind::Glob, "", "/"));
}

TEST(PathPatternTest, AnAclCrossesSegments) {
  EXPECT_TRUE(allows(Kind::Acl, "/a/*", "/a/b/c"));
  EXPECT_TRUE(allows(Kind::Acl, "/a?b", "/a/b"));
  EXPECT_FALSE(allows(Kind::Acl, "/a/*", "/b/a/"));
}

TEST(PathPatternTest, ManyStarsEndSoon) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(allows(Kind::Acl, pattern + "b", "/" + std::string(2000, 'a')));
  EXPECT_FALSE(allows(Kind::Glob, pattern + "b", "/" + std::string(2000, 'a')));
}

TEST(PathPatternTest, WhatTakesTooManyStepsDoesNotMatch) {
  // Each x may be where '**' ends, and for each the star behind it goes through the whole segment.
  const auto deep = [](size_t x) { return "/" + std::string(x, 'x') + "/xy"; };
  EXPECT_TRUE(allows(Kind::Glob, "/**x*y", deep(100)));
  EXPECT_FALSE(allows(Kind::Glob, "/**x*y", deep(2000)));
}

TEST(AddressRangeTest, ContainsItsAddressesInEverySpelling) {
  EXPECT_TRUE(AddressRange::parse("203.0.113.7")->contains("203.0.113.7"));
  EXPECT_TRUE(AddressRange::parse("203.0.113.0/24")->contains("203.0.113.255"));
  EXPECT_FALSE(AddressRange::parse("203.0.113.0/25")->contains("203.0.113.128"));
  EXPECT_TRUE(AddressRange::parse("203.0.113.7")->contains("::ffff:203.0.113.7"));
  EXPECT_TRUE(AddressRange::parse("2001:db8::/32")->contains("2001:db8:1::1"));
  EXPECT_FALSE(AddressRange::parse("2001:db8::/33")->contains("2001:db8:8000::1"));
  EXPECT_TRUE(AddressRange::parse("0.0.0.0/0")->contains("1.2.3.4"));
  EXPECT_FALSE(AddressRange::parse("0.0.0.0/0")->contains("::1"));
  EXPECT_FALSE(AddressRange::parse("::/0")->contains("unix"));
}

TEST(AddressRangeTest, WhatIsNoNetworkIsRefused) {
  for (const char* text : {"", "1.2.3", "1.2.3.4/33", "1.2.3.4/24", "1.2.3.4/", "::1/129", "::1/-1",
                           "a.example", "1.2.3.4/24/1"})
    EXPECT_FALSE(AddressRange::parse(text).has_value()) << text;
}

TEST(TokenFieldsTest, TextsAreTakenApartOrRefused) {
  const auto fields = TokenFields::parse("a=1~b=~c==x");
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->find("b"), "");
  EXPECT_EQ(fields->find("c"), "=x");
  for (const char* text : {"", "a", "=1", "a=1~", "a=1~a=2", "~a=1"})
    EXPECT_FALSE(TokenFields::parse(text).has_value()) << text;
  std::string many = "f0=";
  for (size_t i = 1; i < TokenFields::kFieldsMax; ++i) many += "~f" + std::to_string(i) + "=";
  EXPECT_TRUE(TokenFields::parse(many).has_value());
  EXPECT_FALSE(TokenFields::parse(many + "~more=").has_value());
}

TEST(TokenFieldsTest, AnEncodingIsTakenOnceOrRefused) {
  EXPECT_EQ(percent_decode("a%2fb%252F"), "a/b%2F");
  for (const char* text : {"%", "%4", "%zz", "%00", "%0a", "a%7f"})
    EXPECT_FALSE(percent_decode(text).has_value()) << text;
}

TEST(TokenFieldsTest, APreviewIsBytesOrSecondsOfABitrate) {
  EXPECT_EQ(parse_preview("480000"), 480'000U);
  EXPECT_EQ(parse_preview("30s@160k"), 600'000U);
  for (const char* text : {"", "0", "0s@160k", "30s@0k", "30s@160", "30@160k", "-1", "1e6",
                           "99999999999999999999", "9999999s@160k"})
    EXPECT_FALSE(parse_preview(text).has_value()) << text;
}

TEST(HmacTest, IsTheHmacOfTheStandard) {  // RFC 4231 §4.3, test case 2
  const std::string_view key = "Jefe";
  const auto mac = hmac_sha256({reinterpret_cast<const uint8_t*>(key.data()), key.size()},
                               "what do ya want for nothing?")
                       .value();
  EXPECT_EQ(hex(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(parse_hmac(base64url(mac)), mac);
  EXPECT_EQ(parse_hmac(hex(mac)), mac);
}

TEST(HmacTest, ASignatureHasOneSpellingOfItsLastBits) {
  const Hmac mac{};
  std::string text = base64url(mac);
  text.back() = 'B';  // bits that no byte takes
  EXPECT_FALSE(parse_hmac(text).has_value());
  EXPECT_FALSE(parse_hmac(std::string(43, '+')).has_value());
}

TEST(UriContainerTest, AnExpressionThatRepetitionsMakeLargeIsRefused) {
  for (const char* text : {"https?://[^/]*/(a|b|c)/[a-z0-9]+[.]ogg",
                           "https://h/[0-9]{4}/[a-f0-9]{32}[.](ogg|mp3)", "https://h/[^/]{1,200}",
                           "https://h/(((a+)+)+)+", "https://h/[]{9999}]", R"(https://h/\{9999\})"})
    EXPECT_TRUE(is_uri_container(std::string("regex:") + text)) << text;
  std::string doubling = "a";
  for (int i = 0; i < 60; ++i) doubling.insert(0, "(").append("+)");
  for (const std::string& text :
       {doubling, std::string("(a?){250}"), std::string("a{1,2000}"), std::string("a{9999,}"),
        std::string("(a{1,30}){0,30}"), std::string("a{20}{20}"), std::string("[[:alpha:]]{999}"),
        std::string("a{99999999999999999999}"), std::string("a{"), std::string("a{1"),
        std::string("("), std::string("[a"), std::string("["), std::string("a\\")})
    EXPECT_FALSE(is_uri_container("regex:" + text)) << text;
}

class TokenCheckTest : public ::testing::Test {
 protected:
  TokenCheckTest() {
    rules->forms = {TokenForm::Segue, TokenForm::EdgeAuth, TokenForm::Expires, TokenForm::Jwt};
    rules->keys.emplace_back("k1", TokenKey::Kind::Secret, std::string(32, 'k'));
  }
  TokenVerdict check(const std::string& target) {
    const std::string_view text = target;
    return check_token(shared,
                       {.path = text.substr(0, text.find('?')),
                        .origin_form = text,
                        .fields = {},
                        .client = "203.0.113.7",
                        .host = "h",
                        .port = {},
                        .tls = true,
                        .now = now},
                       &memo)
        .verdict;
  }
  /// Of https://h/a/t, for all of /a/.
  std::string signed_jwt() {
    SignOrder order;
    order.form = TokenForm::Jwt;
    order.url = "https://h/a/t";
    order.scope = SignOrder::Scope::Prefix;
    order.pattern = "/a/";
    order.expires = 2000;
    const auto url = sign_url(order, rules->keys.front());
    EXPECT_TRUE(url.has_value());
    return url.value_or("");
  }
  Ref<TokenRules> rules = make_ref<TokenRules>();
  Ref<const TokenRules> shared = rules;
  std::unique_ptr<TokenMemo> memo;
  int64_t now = 1000;
};

TEST_F(TokenCheckTest, WhatIsSignedHereIsLetInUntilItsTime) {
  for (const TokenForm form : rules->forms) {
    SignOrder order;
    order.form = form;
    order.url = form == TokenForm::Jwt ? "https://h/a/t%2F.ogg?v=1" : "/a/t%2F.ogg?v=1";
    order.expires = 2000;
    auto url = sign_url(order, rules->keys.front());
    ASSERT_TRUE(url.has_value()) << url.error();
    if (url->starts_with("https://h")) url->erase(0, std::string_view("https://h").size());
    now = 1999;
    EXPECT_EQ(check(*url), TokenVerdict::Allowed) << *url;
    EXPECT_EQ(check(*url), TokenVerdict::Allowed) << "remembered: " << *url;
    now = 2000;
    EXPECT_EQ(check(*url), TokenVerdict::Expired) << *url;
  }
}

TEST_F(TokenCheckTest, WhatIsRememberedIsForgottenWithTheRulesItWasRightBy) {
  SignOrder order;
  order.url = "/a/t.ogg";
  order.expires = 2000;
  const auto url = sign_url(order, rules->keys.front());
  ASSERT_EQ(check(*url), TokenVerdict::Allowed);
  auto fresh = make_ref<TokenRules>();
  fresh->forms = rules->forms;
  fresh->keys.emplace_back("k1", TokenKey::Kind::Secret, std::string(32, 'x'));
  shared = fresh;
  EXPECT_EQ(check(*url), TokenVerdict::Signature);
}

TEST_F(TokenCheckTest, AJwtIsRememberedWithTheUriThatItWasRightForAndForOthersMatchedAnew) {
  const std::string url = signed_jwt();
  const std::string token = url.substr(url.find("?token="));
  ASSERT_EQ(check("/a/t" + token), TokenVerdict::Allowed);
  EXPECT_EQ(memo->token.asked_uri.text, "https://h/a/t");
  EXPECT_EQ(check("/a/t" + token), TokenVerdict::Allowed);
  EXPECT_EQ(check("/b/t" + token), TokenVerdict::Path);
  EXPECT_EQ(check("/a/" + token), TokenVerdict::Allowed);
  EXPECT_EQ(check("/a/tt" + token + "&v=1"), TokenVerdict::Allowed);
  EXPECT_EQ(memo->token.asked_uri.text, "https://h/a/tt?v=1");
  const std::string longest(2000, 'x');
  EXPECT_EQ(check("/a/" + longest + token), TokenVerdict::Allowed);
  EXPECT_EQ(memo->token.asked_uri.text, "https://h/a/tt?v=1")
      << "what idles with a connection is short";
}

TEST_F(TokenCheckTest, AHintIsJudgedBesideWhatIsAskedForAndBothAreRemembered) {
  const std::string url = signed_jwt();
  const std::string token = url.substr(url.find("?token="));
  UriMatcher matcher;
  const auto hint = [&](std::string_view path) {
    return check_hint({.path = path,
                       .origin_form = token,
                       .fields = {},
                       .client = "203.0.113.7",
                       .host = "h",
                       .port = {},
                       .tls = true,
                       .now = now},
                      *memo, matcher)
        .verdict;
  };
  ASSERT_EQ(check("/a/t" + token), TokenVerdict::Allowed);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(hint("/a/u"), TokenVerdict::Allowed);
    EXPECT_EQ(memo->token.hinted_uri.text, "https://h/a/u");
    EXPECT_EQ(hint("/b/u"), TokenVerdict::Path);
    EXPECT_EQ(memo->token.hinted_uri.text, "https://h/b/u");
    EXPECT_EQ(memo->token.asked_uri.text, "https://h/a/t");
  }
  EXPECT_EQ(check("/b/u" + token), TokenVerdict::Path);
  now = 2000;
  EXPECT_EQ(hint("/a/u"), TokenVerdict::Expired);
}

TEST_F(TokenCheckTest, AnIdleConnectionKeepsNoCompiledRegexOfItsToken) {
  const std::string target = signed_jwt().substr(std::string_view("https://h").size());
  ASSERT_EQ(check(target), TokenVerdict::Allowed);
  constexpr size_t kConnections = 100;
  std::vector<std::unique_ptr<TokenMemo>> idle;
  idle.reserve(kConnections);
  const size_t before = mallinfo2().uordblks;  // 0 in sanitizer builds, which have their own
  for (size_t i = 0; i < kConnections; ++i) {
    memo = nullptr;
    ASSERT_EQ(check(target), TokenVerdict::Allowed);
    idle.push_back(std::move(memo));
  }
  EXPECT_LT(mallinfo2().uordblks - before, kConnections * 2 * KiB);
}

TEST_F(TokenCheckTest, ThereMayBeAsManyKeysAsTheLimit) {
  while (rules->keys.size() < kTokenKeysMax) {
    const std::string id = "k" + std::to_string(rules->keys.size() + 1);
    rules->keys.emplace_back(id, TokenKey::Kind::Secret, std::string(32, static_cast<char>(id[1])));
  }
  SignOrder order;
  order.form = TokenForm::EdgeAuth;
  order.url = "/a/t.ogg";
  order.expires = 2000;
  for (const TokenKey& key : rules->keys)
    EXPECT_EQ(check(*sign_url(order, key)), TokenVerdict::Allowed) << key.id();
}

}  // namespace
}  // namespace segue::edge
