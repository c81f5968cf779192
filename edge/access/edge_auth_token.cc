// Akamai's EdgeAuth 2.0: [ip=..~][st=..~]exp=..~(acl=../*!../*)[~id=..][~data=..]~hmac=HEX. Without
// acl it is for one path, which is signed as url=PATH and not sent.
#include <algorithm>
#include <array>

#include "edge/access/hmac.h"
#include "edge/access/token.h"
#include "edge/access/token_fields.h"

namespace segue::edge {
namespace {

constexpr std::array<std::string_view, 7> kFields{"ip", "st", "exp", "acl", "id", "data", "hmac"};
constexpr std::string_view kSignature = "~hmac=";
constexpr size_t kHmacDigits = 2 * kHmacBytes;

TokenResult fail_token(TokenVerdict verdict) { return {verdict, std::nullopt}; }

void add_acl(Token& token, std::string_view acl) {
  while (!acl.empty()) {
    const size_t end = std::min(acl.find('!'), acl.size());
    if (end > 0) token.paths.push_back({PathPattern::Kind::Acl, std::string(acl.substr(0, end))});
    acl.remove_prefix(std::min(end + 1, acl.size()));
  }
}

/// `decodes`: the makers' escape_early signs the fields' percent-encoded text.
std::optional<Token> read_fields(const TokenFields& fields, std::string_view path, bool decodes) {
  for (size_t i = 0; i < fields.count(); ++i) {
    if (std::ranges::find(kFields, fields.name(i)) == kFields.end()) return std::nullopt;
  }
  const auto text_of = [&](std::string_view name) -> std::optional<std::string> {
    const auto text = fields.find(name);
    if (!text) return std::nullopt;
    return decodes ? percent_decode(*text) : std::string(*text);
  };
  Token token;
  const auto expires = parse_time(fields.find("exp").value_or(""));
  if (!expires) return std::nullopt;
  token.expires = *expires;
  if (const auto text = fields.find("st")) {
    token.not_before = parse_time(*text);
    if (!token.not_before) return std::nullopt;
  }
  if (fields.find("ip")) {
    token.client = AddressRange::parse(text_of("ip").value_or(""));
    if (!token.client) return std::nullopt;
  }
  if (fields.find("acl")) {
    add_acl(token, text_of("acl").value_or(""));
    if (token.paths.empty()) return std::nullopt;
  } else {
    token.paths.push_back({PathPattern::Kind::Exact, std::string(path)});
  }
  token.id = text_of("id").value_or("");
  return token;
}

/// The path as escape_early writes it: Python's quote_plus, its digits in lower case.
std::string escaped_early(std::string_view path) {
  std::string text = percent_encode(path);
  for (size_t i = 0; i + 2 < text.size(); ++i) {
    if (text[i] != '%') continue;
    text[i + 1] = http::to_lower(text[i + 1]);
    text[i + 2] = http::to_lower(text[i + 2]);
  }
  return text;
}

bool is_signed(const TokenRules& rules, const std::string& of, const Hmac& signature) {
  // No key id: any of the live ones may have signed. All are tried, so that the time does not tell
  // which.
  bool is_right = false;
  for (const TokenKey& key : rules.keys) {
    if (key.is_secret()) is_right |= is_hmac_sha256(key.bytes(), of, signature);
  }
  return is_right;
}

TokenResult verify_text(const TokenRules& rules, const TokenAsk& ask, std::string_view text,
                        bool decodes) {
  const auto fields = TokenFields::parse(text);
  const size_t end = text.rfind(kSignature);
  if (!fields || end == std::string_view::npos || fields->name(fields->count() - 1) != "hmac")
    return fail_token(TokenVerdict::Malformed);
  const std::string_view digits = text.substr(end + kSignature.size());
  const auto signature = digits.size() == kHmacDigits ? parse_hmac(digits) : std::nullopt;
  auto token = read_fields(*fields, ask.path, decodes);
  if (!signature || !token) return fail_token(TokenVerdict::Malformed);
  const std::string of(text.substr(0, end));
  bool is_right = false;
  if (fields->find("acl")) {
    is_right = is_signed(rules, of, *signature);
  } else {
    is_right = is_signed(rules, of + "~url=" + std::string(ask.path), *signature) ||
               is_signed(rules, of + "~url=" + escaped_early(ask.path), *signature);
  }
  if (!is_right) return fail_token(TokenVerdict::Signature);
  return {TokenVerdict::Allowed, std::move(token)};
}

}  // namespace

TokenResult verify_edge_auth(const TokenRules& rules, const TokenAsk& ask, std::string_view text) {
  const bool encoded = text.contains('%');
  TokenResult as_sent = verify_text(rules, ask, text, encoded);
  if (as_sent.verdict == TokenVerdict::Allowed || !encoded) return as_sent;
  const auto decoded = percent_decode(text);
  if (!decoded) return as_sent;
  return verify_text(rules, ask, *decoded, decoded->contains('%'));
}

}  // namespace segue::edge
