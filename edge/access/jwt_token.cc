// JWT as URI Signing has it (RFC 9246), by libjwt over OpenSSL. What we cannot do the RFC tells to
// refuse: encrypted client addresses (cdniip), renewal (cdnistt, cdniets, cdnistd), nonces (jti),
// critical claims and header fields that are not known.
#include <jwt.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <span>

#include "edge/access/token.h"
#include "edge/access/token_fields.h"
#include "edge/access/uri_container.h"

namespace segue::edge {
namespace {

struct FreeJwt {
  void operator()(jwt_t* jwt) const noexcept { jwt_free(jwt); }
};
using Jwt = std::unique_ptr<jwt_t, FreeJwt>;
struct FreeText {
  void operator()(char* text) const noexcept { std::free(text); }
};
using JwtText = std::unique_ptr<char, FreeText>;

TokenResult fail_token(TokenVerdict verdict) { return {verdict, std::nullopt}; }

/// Parsed, and where `key` is there, verified by it.
Jwt decode(const std::string& text, const TokenKey* key) {
  const auto bytes = key == nullptr ? std::span<const uint8_t>() : key->bytes();
  jwt_t* jwt = nullptr;
  const int error = jwt_decode(&jwt, text.c_str(), bytes.data(), static_cast<int>(bytes.size()));
  return Jwt(error == 0 ? jwt : nullptr);
}

/// An algorithm goes with one kind of key alone: else a public key would pass as an HMAC's secret.
bool fits(jwt_alg_t algorithm, const TokenKey& key) noexcept {
  switch (algorithm) {
    case JWT_ALG_HS256:
    case JWT_ALG_HS384:
    case JWT_ALG_HS512:
      return key.is_secret();
    case JWT_ALG_RS256:
    case JWT_ALG_RS384:
    case JWT_ALG_RS512:
    case JWT_ALG_ES256:
    case JWT_ALG_ES384:
    case JWT_ALG_ES512:
      return !key.is_secret();
    default:
      return false;
  }
}

bool has_claim(jwt_t* jwt, const char* name) {
  return JwtText(jwt_get_grants_json(jwt, name)) != nullptr;
}

/// A number of the claims set; nothing where it is absent, and `wrong` where it is no whole number
/// (libjwt takes a text for 0).
std::optional<int64_t> time_claim(jwt_t* jwt, const char* name, bool& wrong) {
  const JwtText json{jwt_get_grants_json(jwt, name)};
  if (json == nullptr) return std::nullopt;
  const auto value = parse_time(json.get());
  if (!value) wrong = true;
  return value;
}

/// A claim as a text where it is one, or as JSON where it is a list.
std::optional<std::string> text_claim(jwt_t* jwt, const char* name) {
  if (const char* text = jwt_get_grant(jwt, name)) return std::string(text);
  if (const JwtText json{jwt_get_grants_json(jwt, name)}) return std::string(json.get());
  return std::nullopt;
}

bool names_audience(const std::string& claim, const std::string& audience) {
  return claim == audience || claim.contains('"' + audience + '"');
}

/// Unsupported, Malformed or Allowed, of everything but times and container.
TokenVerdict judge_claims(jwt_t* jwt, const TokenRules& rules) {
  for (const char* name : {"cdniip", "cdniets", "cdnistd", "jti"}) {
    if (has_claim(jwt, name)) return TokenVerdict::Unsupported;
  }
  bool wrong = false;
  if (const auto transport = time_claim(jwt, "cdnistt", wrong); wrong || transport.value_or(0) != 0)
    return TokenVerdict::Unsupported;
  if (const auto version = time_claim(jwt, "cdniv", wrong); wrong || version.value_or(1) != 1)
    return TokenVerdict::Unsupported;
  if (const auto critical = text_claim(jwt, "cdnicrit")) {
    constexpr std::array<std::string_view, 6> kUnderstood{"cdniuc", "cdniv", "cdnicrit",
                                                          "exp",    "nbf",   "iss"};
    http::ListMembers members(*critical);
    while (const auto member = members.next()) {
      if (std::ranges::find(kUnderstood, *member) == kUnderstood.end())
        return TokenVerdict::Unsupported;
    }
  }
  if (text_claim(jwt, "iss").value_or("") != rules.issuer) return TokenVerdict::Signature;
  const std::string audience = text_claim(jwt, "aud").value_or("");
  const bool meant =
      rules.audience.empty() ? audience.empty() : names_audience(audience, rules.audience);
  return meant ? TokenVerdict::Allowed : TokenVerdict::Signature;
}

}  // namespace

TokenResult verify_jwt(const TokenRules& rules, const TokenAsk& /*ask*/, std::string_view sent) {
  const auto plain = percent_decode(sent);
  if (!plain || std::ranges::count(*plain, '.') != 2) return fail_token(TokenVerdict::Malformed);
  const Jwt unverified = decode(*plain, nullptr);
  if (unverified == nullptr) return fail_token(TokenVerdict::Malformed);
  // Not jwt_get_alg(): that is none as long as there is no key.
  const char* algorithm_name = jwt_get_header(unverified.get(), "alg");
  const jwt_alg_t algorithm =
      algorithm_name == nullptr ? JWT_ALG_INVAL : jwt_str_alg(algorithm_name);
  if (JwtText(jwt_get_headers_json(unverified.get(), "crit")) != nullptr)
    return fail_token(TokenVerdict::Unsupported);
  const char* key_id = jwt_get_header(unverified.get(), "kid");
  Jwt jwt;
  bool known = false;
  for (const TokenKey& key : rules.keys) {
    if (jwt != nullptr || !fits(algorithm, key)) continue;
    if (key_id != nullptr && key.id() != key_id) continue;
    known = true;
    jwt = decode(*plain, &key);
  }
  if (jwt == nullptr) return fail_token(known ? TokenVerdict::Signature : TokenVerdict::UnknownKey);
  const TokenVerdict claims = judge_claims(jwt.get(), rules);
  if (claims != TokenVerdict::Allowed) return fail_token(claims);
  bool wrong = false;
  Token token;
  const auto expires = time_claim(jwt.get(), "exp", wrong);
  token.expires = expires.value_or(INT64_MAX);  // the RFC leaves it to the signer
  token.not_before = time_claim(jwt.get(), "nbf", wrong);
  const auto container = text_claim(jwt.get(), "cdniuc");
  if (wrong || !container) return fail_token(TokenVerdict::Malformed);
  if (!is_uri_container(*container)) return fail_token(TokenVerdict::Unsupported);
  token.uri_container = *container;
  token.id = text_claim(jwt.get(), "sub").value_or("");
  return {TokenVerdict::Allowed, std::move(token)};
}

}  // namespace segue::edge
