// JWT as URI Signing has it (RFC 9246), by libjwt over OpenSSL. What we cannot do the RFC tells to
// refuse: encrypted client addresses (cdniip), renewal (cdnistt, cdniets, cdnistd), nonces (jti),
// critical claims and header fields that are not known.
#include <jwt.h>
#include <regex.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "edge/access/hmac.h"
#include "edge/access/token.h"
#include "edge/access/token_fields.h"
#include "http/target.h"

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

// The signer is trusted, but a typing error of his must not stop a loop.
constexpr size_t kRegexBytesMax = 512;

TokenResult fail_token(TokenVerdict verdict) { return {verdict, std::nullopt}; }

/// Parsed, and where `key` is there, verified by it.
Jwt decode(const std::string& text, const TokenKey* key) {
  jwt_t* jwt = nullptr;
  const std::string material =
      key == nullptr
          ? std::string()
          : std::string(reinterpret_cast<const char*>(key->bytes().data()), key->bytes().size());
  const int error =
      key == nullptr
          ? jwt_decode(&jwt, text.c_str(), nullptr, 0)
          : jwt_decode(&jwt, text.c_str(), reinterpret_cast<const unsigned char*>(material.data()),
                       static_cast<int>(material.size()));
  std::string gone = material;
  wipe(gone);
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

/// The URI as its signer saw it: without the token (RFC 9246 §3).
std::string uri_of(const TokenAsk& ask, const std::string& without_query) {
  std::string uri = ask.tls ? "https://" : "http://";
  uri += ask.host;
  if (ask.port && *ask.port != (ask.tls ? 443 : 80)) uri += ":" + std::to_string(*ask.port);
  return uri + std::string(ask.path) + without_query;
}

}  // namespace

/// The URI container (RFC 9246 §2.1.15): "hash:sha-256;BASE64URL" of the URI, or "regex:" and a
/// POSIX extended regular expression that the whole URI matches.
class UriPattern {
 public:
  UriPattern(const UriPattern&) = delete;
  UriPattern& operator=(const UriPattern&) = delete;
  ~UriPattern() {
    if (compiled_) regfree(&regex_);
  }
  static std::shared_ptr<const UriPattern> make(std::string_view container, std::string name) {
    auto pattern = std::shared_ptr<UriPattern>(new UriPattern(std::move(name)));
    constexpr std::string_view kHash = "hash:sha-256;";
    constexpr std::string_view kRegex = "regex:";
    if (container.starts_with(kHash)) {
      pattern->hash_ = parse_hmac(container.substr(kHash.size()));
      return pattern->hash_ ? pattern : nullptr;
    }
    if (!container.starts_with(kRegex)) return nullptr;
    const std::string expression(container.substr(kRegex.size()));
    // A back-reference takes exponential time.
    for (size_t i = 0; i + 1 < expression.size(); ++i) {
      const char escaped = expression[i + 1];
      if (expression[i] == '\\' && escaped >= '1' && escaped <= '9') return nullptr;
      if (expression[i] == '\\') ++i;
    }
    if (expression.empty() || expression.size() > kRegexBytesMax) return nullptr;
    pattern->compiled_ = regcomp(&pattern->regex_, expression.c_str(), REG_EXTENDED) == 0;
    return pattern->compiled_ ? pattern : nullptr;
  }
  [[nodiscard]] bool matches(const TokenAsk& ask) const {
    const std::string uri = uri_of(ask, query_without_token(ask.origin_form));
    if (hash_) return equal_in_constant_time(sha256(uri), *hash_);
    regmatch_t whole{};
    return regexec(&regex_, uri.c_str(), 1, &whole, 0) == 0 && whole.rm_so == 0 &&
           static_cast<size_t>(whole.rm_eo) == uri.size();
  }

 private:
  explicit UriPattern(std::string name) : name_(std::move(name)) {}
  /// "?..." of what is left of the query, or nothing.
  [[nodiscard]] std::string query_without_token(std::string_view origin_form) const {
    const size_t mark = origin_form.find('?');
    if (mark == std::string_view::npos) return {};
    std::string left;
    std::string_view query = origin_form.substr(mark + 1);
    while (!query.empty()) {
      const size_t end = std::min(query.find('&'), query.size());
      const std::string_view parameter = query.substr(0, end);
      query.remove_prefix(std::min(end + 1, query.size()));
      if (http::is_parameter_name(parameter.substr(0, parameter.find('=')), name_)) continue;
      left += left.empty() ? "?" : "&";
      left += parameter;
    }
    return left;
  }

  std::string name_;  // of the token's parameter
  std::optional<Hmac> hash_;
  regex_t regex_{};
  bool compiled_ = false;
};

bool allows(const UriPattern& pattern, const TokenAsk& ask) { return pattern.matches(ask); }

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
  token.uri = UriPattern::make(*container, rules.name);
  if (token.uri == nullptr) return fail_token(TokenVerdict::Unsupported);
  token.id = text_claim(jwt.get(), "sub").value_or("");
  return {TokenVerdict::Allowed, std::move(token)};
}

}  // namespace segue::edge
