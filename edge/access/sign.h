// edge/access/sign.h - makes signed URLs: what `segue sign` prints, and what tests are checked by.
#pragma once
#include <expected>
#include <optional>
#include <string>

#include "edge/access/token.h"

namespace segue::edge {

struct SignOrder {
  TokenForm form = TokenForm::Segue;
  std::string url;  // "https://audio.example.com/a/b.ogg?v=2", or the path alone (not for JWT)
  std::string name = "token";
  enum class Scope : uint8_t { Exact, Prefix, Glob } scope = Scope::Exact;
  std::string pattern;  // Prefix and Glob
  int64_t expires = 0;  // seconds since 1970
  std::optional<int64_t> not_before;
  std::string client;    // an address or network; empty: any
  std::string preview;   // as parse_preview() takes it; empty: the whole
  std::string id;        // whom it is for; empty: not said
  std::string issuer;    // JWT
  std::string audience;  // JWT
};

/// The URL with its token. The error is a sentence for who typed it. Allocates.
[[nodiscard]] std::expected<std::string, std::string> sign_url(const SignOrder& order,
                                                               const TokenKey& key);

}  // namespace segue::edge
