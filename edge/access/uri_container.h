// edge/access/uri_container.h - the URI container of RFC 9246 (§2.1.15, claim cdniuc): what a JWT
// lets in, compared with the URI as its signer saw it. Nothing compiled is kept: a glibc regex
// takes tens of KiB and grows with every text that it is matched with.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "edge/access/token.h"

namespace segue::edge {

/// "hash:sha-256;BASE64URL", or "regex:" and a POSIX extended regular expression of bounded cost.
[[nodiscard]] bool is_uri_container(std::string_view container);

/// Matches URIs with one container, whose expression is compiled with the first and for all of
/// them. Lives as long as one request is looked at, never with a connection.
class UriMatcher {
 public:
  UriMatcher() noexcept;
  UriMatcher(UriMatcher&&) noexcept;
  UriMatcher& operator=(UriMatcher&&) noexcept;
  ~UriMatcher();
  /// `container` is one, and the same each time: hash and expression are of the whole URI.
  /// Allocates.
  [[nodiscard]] bool contains(std::string_view container, const std::string& uri);
  [[nodiscard]] static bool compiles(const std::string& expression);

 private:
  class Regex;
  std::unique_ptr<Regex> regex_;  // null: not compiled yet, or of a hash
};

/// The URI of a request without the parameters that are called `token_name` (RFC 9246 §3).
[[nodiscard]] std::string uri_of(const TokenAsk& ask, std::string_view token_name);
/// Whether that is `uri`. Does not allocate.
[[nodiscard]] bool is_uri_of(const TokenAsk& ask, std::string_view token_name,
                             std::string_view uri) noexcept;

}  // namespace segue::edge
