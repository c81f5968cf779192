// edge/access/token_rules.h - from settings to the rules that tokens are checked by.
#pragma once
#include <expected>
#include <string>
#include <vector>

#include "edge/access/token.h"

namespace segue::edge {

/// Of one site; without key files it takes no tokens and lets everybody in.
struct TokenOptions {
  struct KeyFile {
    std::string id;
    std::string path;
  };
  std::vector<TokenForm> forms;
  std::string name = "token";
  std::vector<KeyFile> keys;
  uint16_t expired_status = 410;
  std::string issuer;
  std::string audience;
};

/// Reads the keys; null where there are none. Start and reload only: waits for the file system. The
/// errors are sentences for the operator, one for each file that is wrong.
[[nodiscard]] std::expected<Ref<const TokenRules>, std::vector<std::string>> read_token_rules(
    const TokenOptions& options);
/// Of all sites, by their index; the first error.
[[nodiscard]] std::expected<std::vector<Ref<const TokenRules>>, std::string> read_all_token_rules(
    const std::vector<TokenOptions>& sites);
/// All that is wrong with the key files of all sites (`segue check`).
[[nodiscard]] std::vector<std::string> check_token_keys(const std::vector<TokenOptions>& sites);

}  // namespace segue::edge
