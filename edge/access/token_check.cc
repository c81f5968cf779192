#include "edge/access/token_check.h"

#include <algorithm>
#include <array>

#include "edge/access/hmac.h"
#include "edge/access/token_fields.h"
#include "edge/access/uri_container.h"
#include "http/target.h"

namespace segue::edge {
namespace {

constexpr std::array<std::string_view, kTokenVerdicts> kVerdictNames{
    "allowed",         "token_missing", "token_doubled",   "token_too_long",
    "token_malformed", "token_key",     "token_signature", "token_path",
    "token_address",   "token_early",   "token_expired",   "token_unsupported"};

constexpr size_t kUriRememberedBytesMax = 1024;  // a connection holds it while it idles

/// A token as it was sent: one text, or the three of expires+signature.
struct Found {
  bool is_triple = false;
  TokenTexts<std::string_view> texts;
};

/// The values of all parameters of that name, however its letters are encoded.
size_t find_in_query(std::string_view origin_form, std::string_view name, std::string_view& value) {
  const size_t mark = origin_form.find('?');
  if (mark == std::string_view::npos) return 0;
  std::string_view query = origin_form.substr(mark + 1);
  size_t count = 0;
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(parameter.find('='), parameter.size());
    if (!http::is_parameter_name(parameter.substr(0, equals), name)) continue;
    if (count++ == 0) value = parameter.substr(std::min(equals + 1, parameter.size()));
  }
  return count;
}

/// The first cookie of that name (RFC 6265 §5.4: the most specific one).
std::optional<std::string_view> find_cookie(http::FieldsView fields, std::string_view name) {
  http::FieldValues values = http::find_all(fields, "Cookie");
  while (auto rest = values.next()) {
    while (!rest->empty()) {
      const size_t end = std::min(rest->find(';'), rest->size());
      std::string_view pair = http::trim_whitespace(rest->substr(0, end));
      rest->remove_prefix(std::min(end + 1, rest->size()));
      const size_t equals = pair.find('=');
      if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
      pair.remove_prefix(equals + 1);
      if (pair.size() >= 2 && pair.front() == '"' && pair.back() == '"')
        pair = pair.substr(1, pair.size() - 2);
      return pair;
    }
  }
  return std::nullopt;
}

TokenVerdict find_expires(const TokenAsk& ask, Found& found) {
  auto& [expires, signature, key_id] = found.texts;
  const size_t signatures = find_in_query(ask.origin_form, "signature", signature);
  const size_t times = find_in_query(ask.origin_form, "expires", expires);
  const size_t keys = find_in_query(ask.origin_form, "keyid", key_id);
  if (signatures == 0 && times == 0) {
    found.texts = {};
    return TokenVerdict::Missing;
  }
  if (signatures > 1 || times > 1 || keys > 1) return TokenVerdict::Doubled;
  found.is_triple = true;
  return TokenVerdict::Allowed;
}

TokenVerdict find_token(const TokenRules& rules, const TokenAsk& ask, Found& found) {
  std::string_view& text = found.texts[0];
  const size_t in_query = find_in_query(ask.origin_form, rules.name, text);
  if (in_query > 1) return TokenVerdict::Doubled;
  if (in_query == 0) {
    if (rules.takes(TokenForm::Expires)) {
      const TokenVerdict verdict = find_expires(ask, found);
      if (verdict != TokenVerdict::Missing) return verdict;
    }
    const size_t in_fields = ask.fields.count(rules.name);
    if (in_fields > 1) return TokenVerdict::Doubled;
    const auto elsewhere =
        in_fields == 1 ? ask.fields.find(rules.name) : find_cookie(ask.fields, rules.name);
    if (!elsewhere) return TokenVerdict::Missing;
    text = *elsewhere;
  }
  return text.size() > kTokenBytesMax ? TokenVerdict::TooLong : TokenVerdict::Allowed;
}

/// By the mark of each form; its '=' and '~' may be encoded.
std::optional<TokenForm> form_of(const TokenRules& rules, std::string_view text) {
  const std::string plain =
      text.contains('%') ? percent_decode(text).value_or(std::string()) : std::string();
  const auto has = [&](std::string_view mark) {
    return text.contains(mark) || plain.contains(mark);
  };
  if (rules.takes(TokenForm::Segue) && has("~sig=")) return TokenForm::Segue;
  if (rules.takes(TokenForm::EdgeAuth) && has("~hmac=")) return TokenForm::EdgeAuth;
  if (rules.takes(TokenForm::Jwt) && text.starts_with("ey")) return TokenForm::Jwt;
  return std::nullopt;
}

TokenResult verify(const TokenRules& rules, const TokenAsk& ask, const Found& found) {
  const auto& [text, signature, key_id] = found.texts;
  if (found.is_triple) return verify_expires(rules, ask, text, signature, key_id);
  switch (form_of(rules, text).value_or(TokenForm::Expires)) {
    case TokenForm::Segue:
      return verify_segue_token(rules, ask, text);
    case TokenForm::EdgeAuth:
      return verify_edge_auth(rules, ask, text);
    case TokenForm::Jwt:
      return verify_jwt(rules, ask, text);
    case TokenForm::Expires:
      break;
  }
  return {};  // of no form that the site takes: malformed
}

/// A player asks for one URI many times over, and names the next one as often: each is matched once
/// a connection, and kept in `last` (of the token).
bool allows_uri(const Token& token, Token::JudgedUri& last, std::string_view token_name,
                const TokenAsk& ask, UriMatcher& matcher) {
  for (const Token::JudgedUri* known : {&token.asked_uri, &token.hinted_uri}) {
    if (!known->text.empty() && is_uri_of(ask, token_name, known->text)) return known->allowed;
  }
  std::string uri = uri_of(ask, token_name);
  const bool allowed = matcher.contains(token.uri_container, uri);
  if (uri.size() <= kUriRememberedBytesMax) last = {std::move(uri), allowed};
  return allowed;
}

bool allows_path(const Token& token, Token::JudgedUri& last, const TokenRules& rules,
                 const TokenAsk& ask, UriMatcher& matcher) {
  if (!token.uri_container.empty()) return allows_uri(token, last, rules.name, ask, matcher);
  return std::ranges::any_of(token.paths,
                             [&](const PathPattern& each) { return each.allows(ask.path); });
}

TokenGrant judge(const Token& token, Token::JudgedUri& last, const TokenRules& rules,
                 const TokenAsk& ask, UriMatcher& matcher) {
  TokenGrant grant{
      .verdict = TokenVerdict::Allowed, .preview_bytes = token.preview_bytes, .id = token.id};
  if (!allows_path(token, last, rules, ask, matcher)) {
    grant.verdict = TokenVerdict::Path;
  } else if (token.client && !token.client->contains(ask.client)) {
    grant.verdict = TokenVerdict::Address;
  } else if (token.not_before && ask.now < *token.not_before) {
    grant.verdict = TokenVerdict::Early;
  } else if (ask.now >= token.expires) {
    grant.verdict = TokenVerdict::Expired;
  }
  return grant;
}

bool is_remembered(const TokenMemo& memo, const Ref<const TokenRules>& rules, const Found& found) {
  const auto bytes = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  bool same = memo.rules == rules && memo.is_triple == found.is_triple;
  for (size_t i = 0; i < found.texts.size(); ++i)
    same = equal_in_constant_time(bytes(memo.texts[i]), bytes(found.texts[i])) && same;
  return same;
}

}  // namespace

std::string_view name_of(TokenVerdict verdict) noexcept {
  return kVerdictNames[static_cast<size_t>(verdict)];
}

bool TokenRules::takes(TokenForm form) const noexcept {
  return std::ranges::find(forms, form) != forms.end();
}

const TokenKey* TokenRules::find_key(std::string_view id) const noexcept {
  const auto found =
      std::ranges::find_if(keys, [&](const TokenKey& key) { return key.id() == id; });
  return found == keys.end() ? nullptr : &*found;
}

std::vector<std::string> token_names(const std::vector<TokenForm>& forms, const std::string& name) {
  if (forms.empty()) return {};
  std::vector<std::string> names{name};
  if (std::ranges::find(forms, TokenForm::Expires) != forms.end())
    names.insert(names.end(), {"expires", "signature", "keyid"});
  return names;
}

TokenGrant check_token(const Ref<const TokenRules>& rules, const TokenAsk& ask,
                       std::unique_ptr<TokenMemo>* memo) {
  Found found;
  const TokenVerdict verdict = find_token(*rules, ask, found);
  if (verdict != TokenVerdict::Allowed) return {.verdict = verdict, .id = {}};
  UriMatcher matcher;
  if (memo != nullptr && *memo != nullptr && is_remembered(**memo, rules, found)) {
    Token& token = (*memo)->token;
    const TokenGrant grant = judge(token, token.asked_uri, *rules, ask, matcher);
    // Another path: for that one it may have been signed all the same. A container is of no path.
    if (grant.verdict != TokenVerdict::Path || !token.uri_container.empty()) return grant;
  }
  TokenResult result = verify(*rules, ask, found);
  if (result.verdict != TokenVerdict::Allowed) return {.verdict = result.verdict, .id = {}};
  matcher = {};  // of another token
  TokenGrant grant = judge(*result.token, result.token->asked_uri, *rules, ask, matcher);
  if (memo == nullptr || grant.verdict != TokenVerdict::Allowed) {
    grant.id = {};
    return grant;
  }
  TokenTexts<std::string> texts;
  std::ranges::copy(found.texts, texts.begin());
  *memo = std::make_unique<TokenMemo>(
      TokenMemo{rules, found.is_triple, std::move(texts), std::move(*result.token)});
  grant.id = (*memo)->token.id;
  return grant;
}

TokenGrant check_hint(const TokenAsk& ask, TokenMemo& memo, UriMatcher& matcher) {
  return judge(memo.token, memo.token.hinted_uri, *memo.rules, ask, matcher);
}

}  // namespace segue::edge
