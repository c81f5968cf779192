// Our own form, and expires+signature.
#include <algorithm>
#include <array>

#include "edge/access/hmac.h"
#include "edge/access/signed_text.h"
#include "edge/access/token.h"
#include "edge/access/token_fields.h"

namespace segue::edge {
namespace {

constexpr std::array<std::string_view, 9> kFields{"kid", "exp",     "nbf", "prefix", "glob",
                                                  "ip",  "preview", "id",  "sig"};
constexpr std::string_view kSignature = "~sig=";

TokenResult fail_token(TokenVerdict verdict) { return {verdict, std::nullopt}; }

/// What the fields say, or nothing where one of them is not what it should be. A field that is not
/// known might be a restriction, so it is no token of ours either.
std::optional<Token> read_fields(const TokenFields& fields, std::string_view path) {
  for (size_t i = 0; i < fields.count(); ++i) {
    if (std::ranges::find(kFields, fields.name(i)) == kFields.end()) return std::nullopt;
  }
  Token token;
  const auto expires = parse_time(fields.find("exp").value_or(""));
  if (!expires) return std::nullopt;
  token.expires = *expires;
  if (const auto text = fields.find("nbf")) {
    token.not_before = parse_time(*text);
    if (!token.not_before) return std::nullopt;
  }
  if (const auto text = fields.find("ip")) {
    token.client = AddressRange::parse(*text);
    if (!token.client) return std::nullopt;
  }
  if (const auto text = fields.find("preview")) {
    const auto bytes = parse_preview(*text);
    if (!bytes) return std::nullopt;
    token.preview_bytes = *bytes;
  }
  const auto prefix = fields.find("prefix");
  const auto glob = fields.find("glob");
  if (prefix && glob) return std::nullopt;
  if (prefix) {
    token.paths.push_back({PathPattern::Kind::Prefix, std::string(*prefix)});
  } else if (glob) {
    token.paths.push_back({PathPattern::Kind::Glob, std::string(*glob)});
  } else {
    token.paths.push_back({PathPattern::Kind::Exact, std::string(path)});
  }
  token.id = fields.find("id").value_or("");
  return token;
}

TokenResult verify_text(const TokenRules& rules, const TokenAsk& ask, std::string_view text) {
  const auto fields = TokenFields::parse(text);
  const size_t end = text.rfind(kSignature);
  if (!fields || end == std::string_view::npos || fields->name(fields->count() - 1) != "sig")
    return fail_token(TokenVerdict::Malformed);
  const auto signature = parse_hmac(text.substr(end + kSignature.size()));
  auto token = read_fields(*fields, ask.path);
  const auto key_id = fields->find("kid");
  if (!signature || !token || !key_id) return fail_token(TokenVerdict::Malformed);
  const TokenKey* key = rules.find_key(*key_id);
  if (key == nullptr || !key->is_secret()) return fail_token(TokenVerdict::UnknownKey);
  const bool exact = token->paths.front().kind == PathPattern::Kind::Exact;
  const std::string of =
      segue_signed_text(text.substr(0, end), exact ? ask.path : std::string_view());
  if (!is_hmac_sha256(key->bytes(), of, *signature)) return fail_token(TokenVerdict::Signature);
  return {TokenVerdict::Allowed, std::move(token)};
}

}  // namespace

std::string segue_signed_text(std::string_view fields, std::string_view exact_path) {
  std::string text = "segue1~";
  text += fields;
  if (!exact_path.empty()) text.append("~path=").append(exact_path);
  return text;
}

std::string expires_signed_text(std::string_view path, std::string_view expires,
                                std::string_view key_id) {
  std::string text(path);
  text.append("?expires=").append(expires);
  if (!key_id.empty()) text.append("&keyid=").append(key_id);
  return text;
}

TokenResult verify_segue_token(const TokenRules& rules, const TokenAsk& ask,
                               std::string_view text) {
  TokenResult as_sent = verify_text(rules, ask, text);
  if (as_sent.verdict == TokenVerdict::Allowed || !text.contains('%')) return as_sent;
  // Some clients encode what need not be, and a path in the token may have encodings of its own: so
  // it is tried as it came first.
  const auto decoded = percent_decode(text);
  return decoded ? verify_text(rules, ask, *decoded) : as_sent;
}

TokenResult verify_expires(const TokenRules& rules, const TokenAsk& ask, std::string_view expires,
                           std::string_view signature, std::string_view key_id) {
  const auto until = parse_time(expires);
  const auto plain = percent_decode(signature);  // of base64url: its '='
  const auto given = plain ? parse_hmac(*plain) : std::nullopt;
  if (!until || !given) return fail_token(TokenVerdict::Malformed);
  const std::string of = expires_signed_text(ask.path, expires, key_id);
  bool known = false;
  for (const TokenKey& key : rules.keys) {
    if (!key.is_secret() || (!key_id.empty() && key.id() != key_id)) continue;
    known = true;
    if (!is_hmac_sha256(key.bytes(), of, *given)) continue;
    Token token;
    token.expires = *until;
    token.paths.push_back({PathPattern::Kind::Exact, std::string(ask.path)});
    return {TokenVerdict::Allowed, std::move(token)};
  }
  return fail_token(known ? TokenVerdict::Signature : TokenVerdict::UnknownKey);
}

}  // namespace segue::edge
