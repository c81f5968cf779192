// JWT as URI Signing has it (RFC 9246), by libjwt over OpenSSL. What we cannot do the RFC tells to
// refuse: encrypted client addresses (cdniip), renewal (cdnistt, cdniets, cdnistd), nonces (jti),
// critical claims and header fields that are not known.
#include <jwt.h>

#include <algorithm>
#include <array>
#include <cerrno>
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

/// The claims set of one token. A claim that libjwt has no memory to show must not pass for one
/// that is not there: it might be the restriction.
class Claims {
 public:
  explicit Claims(jwt_t* jwt) noexcept : jwt_(jwt) {}

  [[nodiscard]] bool has(const char* name) { return json(name) != nullptr; }
  /// A number; nothing where it is absent. Anything else but a whole number (libjwt takes a text
  /// for 0) makes the token unreadable().
  [[nodiscard]] std::optional<int64_t> time(const char* name) {
    const JwtText text = json(name);
    if (text == nullptr) return std::nullopt;
    const auto value = parse_time(text.get());
    if (!value) unreadable_ = true;
    return value;
  }
  /// As a text where it is one, or as JSON where it is a list.
  [[nodiscard]] std::optional<std::string> text(const char* name) {
    if (const char* text = jwt_get_grant(jwt_, name)) return std::string(text);
    if (const JwtText list = json(name)) return std::string(list.get());
    return std::nullopt;
  }
  [[nodiscard]] bool unreadable() const noexcept { return unreadable_; }

 private:
  JwtText json(const char* name) {
    errno = 0;
    JwtText text{jwt_get_grants_json(jwt_, name)};
    // libjwt says EINVAL or ENOENT of a claim that is not there.
    if (text == nullptr && errno != EINVAL && errno != ENOENT) unreadable_ = true;
    return text;
  }

  jwt_t* const jwt_;
  bool unreadable_ = false;
};

bool names_audience(const std::string& claim, const std::string& audience) {
  return claim == audience || claim.contains('"' + audience + '"');
}

/// Unsupported, Malformed or Allowed, of everything but times and container.
TokenVerdict judge_claims(Claims& claimed, const TokenRules& rules) {
  for (const char* name : {"cdniip", "cdniets", "cdnistd", "jti"}) {
    if (claimed.has(name)) return TokenVerdict::Unsupported;
  }
  const auto transport = claimed.time("cdnistt");
  const auto version = claimed.time("cdniv");
  if (claimed.unreadable() || transport.value_or(0) != 0 || version.value_or(1) != 1)
    return TokenVerdict::Unsupported;
  if (const auto critical = claimed.text("cdnicrit")) {
    constexpr std::array<std::string_view, 6> kUnderstood{"cdniuc", "cdniv", "cdnicrit",
                                                          "exp",    "nbf",   "iss"};
    http::ListMembers members(*critical);
    while (const auto member = members.next()) {
      if (std::ranges::find(kUnderstood, *member) == kUnderstood.end())
        return TokenVerdict::Unsupported;
    }
  }
  if (claimed.text("iss").value_or("") != rules.issuer) return TokenVerdict::Signature;
  const std::string audience = claimed.text("aud").value_or("");
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
  errno = 0;
  const bool is_critical = JwtText(jwt_get_headers_json(unverified.get(), "crit")) != nullptr;
  if (is_critical || (errno != EINVAL && errno != ENOENT))
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
  Claims claimed(jwt.get());
  const TokenVerdict claims = judge_claims(claimed, rules);
  if (claims != TokenVerdict::Allowed) return fail_token(claims);
  Token token;
  token.expires = claimed.time("exp").value_or(INT64_MAX);  // the RFC leaves it to the signer
  token.not_before = claimed.time("nbf");
  const auto container = claimed.text("cdniuc");
  if (claimed.unreadable() || !container) return fail_token(TokenVerdict::Malformed);
  if (!is_uri_container(*container)) return fail_token(TokenVerdict::Unsupported);
  token.uri_container = *container;
  token.id = claimed.text("sub").value_or("");
  if (claimed.unreadable()) return fail_token(TokenVerdict::Malformed);
  return {TokenVerdict::Allowed, std::move(token)};
}

}  // namespace segue::edge
