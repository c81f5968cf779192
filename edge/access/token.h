// edge/access/token.h - what a token says once it was found right, and the words for what was wrong
// with one.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address_range.h"
#include "base/limits.h"
#include "base/ref.h"
#include "edge/access/path_pattern.h"
#include "edge/access/token_key.h"
#include "http/header_fields.h"

namespace segue::edge {

/// The forms a site may take (README, "Signed URLs").
enum class TokenForm : uint8_t {
  Segue,     // kid=..~exp=..~sig=.., ours
  EdgeAuth,  // exp=..~acl=..~hmac=.., Akamai's
  Expires,   // expires=..&signature=..
  Jwt,       // RFC 9246
};

enum class TokenVerdict : uint8_t {
  Allowed,
  Missing,
  Doubled,     // the parameter stands there twice: which one counts is nobody's guess
  TooLong,     // over kTokenBytesMax
  Malformed,   // no token of a form that the site takes
  UnknownKey,  // names a key that the site has not
  Signature,   // signed by no key of the site, or for something else
  Path,        // for another path
  Address,     // for another client
  Early,       // its time has not come
  Expired,
  Unsupported,  // demands what Segue does not do (RFC 9246: an encrypted client address)
};
inline constexpr size_t kTokenVerdicts = 12;
/// Stable words for the log, for metrics and for the client: "token_expired". Static storage.
[[nodiscard]] std::string_view name_of(TokenVerdict verdict) noexcept;

/// How a site's tokens are checked. Immutable; shared by all loops; a reload makes new ones.
struct TokenRules : public RefCounted {
  std::vector<TokenForm> forms;
  std::string name = "token";  // of the query parameter, the field and the cookie
  std::vector<TokenKey> keys;  // at most kTokenKeysMax
  std::string issuer;          // JWT: the iss it must have; empty: it must have none
  std::string audience;        // JWT: one that its aud must name; empty: it must have none
  uint16_t expired_status = 410;

  [[nodiscard]] bool takes(TokenForm form) const noexcept;
  [[nodiscard]] const TokenKey* find_key(std::string_view id) const noexcept;
};

/// Names that carry tokens of these forms, as query parameters and as fields; none of them may
/// reach a key or an origin.
[[nodiscard]] std::vector<std::string> token_names(const std::vector<TokenForm>& forms,
                                                   const std::string& name);

/// What is asked, as far as tokens are concerned. Views of the exchange and the request.
struct TokenAsk {
  std::string_view path;         // canonical
  std::string_view origin_form;  // as sent: with the token
  http::FieldsView fields;
  std::string_view client;  // address as text
  std::string_view host;    // as sent, without port
  std::optional<uint16_t> port;
  bool tls = false;
  int64_t now = 0;  // seconds since 1970
};

/// A token whose signature was right, and what it says.
struct Token {
  std::vector<PathPattern> paths;  // any of them
  std::string uri_container;       // JWT: instead of paths (uri_container.h)
  /// JWT: whether a URI is in it. Only short ones are kept; empty: none is.
  struct JudgedUri {
    std::string text;
    bool allowed = false;
  };
  JudgedUri asked_uri;   // the last one that was asked for
  JudgedUri hinted_uri;  // and of which it was said that it is the next
  int64_t expires = 0;
  std::optional<int64_t> not_before;
  std::optional<AddressRange> client;
  uint64_t preview_bytes = UINT64_MAX;  // of the representation, from its beginning
  std::string id;                       // whom it was made for, where it says; limits may go by it
};

/// A found right token, or why not.
struct TokenResult {
  TokenVerdict verdict = TokenVerdict::Malformed;
  std::optional<Token> token;
};

// One function a form. `text` is as it was sent, percent-encoded or not. They look at the
// signature and at the path where it is signed but not sent; times, address and the other paths are
// looked at by TokenCheck, at each request anew.
[[nodiscard]] TokenResult verify_segue_token(const TokenRules& rules, const TokenAsk& ask,
                                             std::string_view text);
[[nodiscard]] TokenResult verify_edge_auth(const TokenRules& rules, const TokenAsk& ask,
                                           std::string_view text);
[[nodiscard]] TokenResult verify_expires(const TokenRules& rules, const TokenAsk& ask,
                                         std::string_view expires, std::string_view signature,
                                         std::string_view key_id);
[[nodiscard]] TokenResult verify_jwt(const TokenRules& rules, const TokenAsk& ask,
                                     std::string_view text);

}  // namespace segue::edge
