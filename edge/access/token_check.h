// edge/access/token_check.h - finds a request's token and says whether it lets it in. Checked when
// a request begins and never again: a response under way ends, however long it takes.
#pragma once
#include <array>
#include <memory>
#include <string>

#include "edge/access/token.h"
#include "edge/access/uri_container.h"

namespace segue::edge {

/// A token, or of expires+signature the time, the signature and the key's id.
template <class Text>
using TokenTexts = std::array<Text, 3>;

/// The last token of one connection that was right: players repeat one 8 to 30 times. Holds its
/// text, so that nothing but the same bytes is taken for it. Loop-owned; part of a connection.
struct TokenMemo {
  Ref<const TokenRules> rules;
  bool is_triple = false;  // expires+signature
  TokenTexts<std::string> texts;
  Token token;
};

/// What a request may do. Views are of the memo.
struct TokenGrant {
  TokenVerdict verdict = TokenVerdict::Missing;
  uint64_t preview_bytes = UINT64_MAX;
  std::string_view id;  // valid until the next check on the connection
};

/// Looks in the query, then in a field, then in a cookie, all of `rules.name` (and in the query for
/// expires+signature); the first place that has one decides. `memo` may be empty and is renewed;
/// null: nothing is remembered, and the id is empty. Cannot wait; does not allocate for the
/// connection's last token with the last URI that it was asked with.
[[nodiscard]] TokenGrant check_token(const Ref<const TokenRules>& rules, const TokenAsk& ask,
                                     std::unique_ptr<TokenMemo>* memo);

/// Whether the token of `memo`, by which a request was just let in, lets in to `ask.path` as well.
/// No signature is looked at: one that is of a single path is of no other. `matcher` serves all
/// that one request hints at, and that memo alone. Cannot wait; does not allocate for the last URI
/// that was hinted at.
[[nodiscard]] TokenGrant check_hint(const TokenAsk& ask, TokenMemo& memo, UriMatcher& matcher);

}  // namespace segue::edge
