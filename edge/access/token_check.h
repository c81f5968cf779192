// edge/access/token_check.h - finds a request's token and says whether it lets it in. Checked when
// a request begins and never again: a response under way ends, however long it takes.
#pragma once
#include <memory>

#include "edge/access/token.h"

namespace segue::edge {

/// The last token of one connection that was right: players repeat one 8 to 30 times. Holds its
/// text, so that nothing but the same bytes is taken for it. Loop-owned; part of a connection.
struct TokenMemo {
  Ref<const TokenRules> rules;
  TokenForm form = TokenForm::Segue;
  std::string text;
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
/// null: nothing is remembered, and the id is empty. Cannot wait; allocates for a token that is not
/// the connection's last one.
[[nodiscard]] TokenGrant check_token(const Ref<const TokenRules>& rules, const TokenAsk& ask,
                                     std::unique_ptr<TokenMemo>* memo);

}  // namespace segue::edge
