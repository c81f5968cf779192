#include "edge/access/token_rules.h"

namespace segue::edge {

std::expected<Ref<const TokenRules>, std::vector<std::string>> read_token_rules(
    const TokenOptions& options) {
  if (options.keys.empty()) return Ref<const TokenRules>();
  auto rules = make_ref<TokenRules>();
  std::vector<std::string> wrong;
  for (const TokenOptions::KeyFile& file : options.keys) {
    auto key = read_token_key(file.id, file.path);
    if (key) {
      rules->keys.push_back(std::move(*key));
    } else {
      wrong.push_back(key.error());
    }
  }
  if (!wrong.empty()) return std::unexpected(std::move(wrong));
  rules->forms = options.forms;
  rules->name = options.name;
  rules->expired_status = options.expired_status;
  rules->issuer = options.issuer;
  rules->audience = options.audience;
  return Ref<const TokenRules>(rules);
}

std::expected<std::vector<Ref<const TokenRules>>, std::string> read_all_token_rules(
    const std::vector<TokenOptions>& sites) {
  std::vector<Ref<const TokenRules>> all;
  for (const TokenOptions& site : sites) {
    auto rules = read_token_rules(site);
    if (!rules) return std::unexpected(rules.error().front());
    all.push_back(std::move(*rules));
  }
  return all;
}

std::vector<std::string> check_token_keys(const std::vector<TokenOptions>& sites) {
  std::vector<std::string> wrong;
  for (const TokenOptions& site : sites) {
    if (auto rules = read_token_rules(site); !rules)
      wrong.insert(wrong.end(), rules.error().begin(), rules.error().end());
  }
  return wrong;
}

}  // namespace segue::edge
