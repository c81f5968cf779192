#include "edge/access/sign.h"

#include <fmt/format.h>
#include <jwt.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "base/out_of_memory.h"
#include "edge/access/hmac.h"
#include "edge/access/signed_text.h"
#include "edge/access/token_fields.h"
#include "http/target.h"

namespace segue::edge {
namespace {

using Text = std::expected<std::string, std::string>;

Hmac whole(const std::optional<Hmac>& hash) {
  if (!hash) end_out_of_memory("a hash of OpenSSL");
  return *hash;
}

Hmac signature_of(const TokenKey& key, std::string_view of) {
  return whole(hmac_sha256(key.bytes(), of));
}

/// A URL taken apart, its path and query canonical.
struct SplitUrl {
  std::string origin;  // "https://host", or empty
  std::string path;
  std::string query;  // with '?', or empty
};

std::expected<SplitUrl, std::string> split(std::string_view url) {
  SplitUrl parts;
  const size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) {
    const size_t path = std::min(url.find('/', scheme + 3), url.size());
    parts.origin = url.substr(0, path);
    url.remove_prefix(path);
  }
  std::string room(3 * url.size() + 1, '\0');
  const auto canonical = http::canonicalize(url.empty() ? "/" : url, room);
  if (!canonical)
    return std::unexpected(fmt::format("the URL is none: {}", canonical.error().where));
  parts.path = canonical->path;
  if (canonical->query) parts.query = fmt::format("?{}", *canonical->query);
  return parts;
}

std::string with_parameter(const SplitUrl& url, std::string_view parameter) {
  return fmt::format("{}{}{}{}{}", url.origin, url.path, url.query, url.query.empty() ? "?" : "&",
                     parameter);
}

/// Characters that a query takes and that mean nothing in a token are left as they are.
std::string in_query(std::string_view token) {
  std::string text;
  for (const char c : token) {
    if (std::string_view("%&#+\"<>^`{|}[]\\ ").contains(c) || c < 0x21 || c > 0x7e) {
      text += percent_encode({&c, 1});
    } else {
      text += c;
    }
  }
  return text;
}

Text segue_token(const SignOrder& order, const SplitUrl& url, const TokenKey& key) {
  std::string fields = fmt::format("kid={}~exp={}", key.id(), order.expires);
  if (order.not_before) fields += fmt::format("~nbf={}", *order.not_before);
  const bool exact = order.scope == SignOrder::Scope::Exact;
  if (!exact) {
    fields += order.scope == SignOrder::Scope::Prefix ? "~prefix=" : "~glob=";
    fields += order.pattern;
  }
  if (!order.client.empty()) fields += "~ip=" + order.client;
  if (!order.preview.empty()) fields += "~preview=" + order.preview;
  if (!order.id.empty()) fields += "~id=" + order.id;
  const std::string of = segue_signed_text(fields, exact ? url.path : std::string());
  const std::string token = fmt::format("{}~sig={}", fields, base64url(signature_of(key, of)));
  return with_parameter(url, fmt::format("{}={}", order.name, in_query(token)));
}

/// Akamai's acl has no prefixes: of a folder all that is in it, of a path itself and what is below.
Text acl_of(const SignOrder& order) {
  if (order.scope == SignOrder::Scope::Glob) return order.pattern;
  if (order.pattern.find_first_of("*?!") != std::string::npos)
    return std::unexpected("an EdgeAuth prefix cannot have '*', '?' or '!'");
  if (order.pattern.ends_with('/')) return order.pattern + "*";
  return fmt::format("{0}!{0}/*", order.pattern);
}

Text edge_auth_token(const SignOrder& order, const SplitUrl& url, const TokenKey& key) {
  if (!order.preview.empty()) return std::unexpected("EdgeAuth tokens have no preview");
  std::string fields;
  if (!order.client.empty()) fields += fmt::format("ip={}~", order.client);
  if (order.not_before) fields += fmt::format("st={}~", *order.not_before);
  fields += fmt::format("exp={}", order.expires);
  const bool exact = order.scope == SignOrder::Scope::Exact;
  if (!exact) {
    const Text acl = acl_of(order);
    if (!acl) return acl;
    fields += fmt::format("~acl={}", *acl);
  }
  if (!order.id.empty()) fields += fmt::format("~id={}", order.id);
  const std::string of = exact ? fmt::format("{}~url={}", fields, url.path) : fields;
  const std::string token = fmt::format("{}~hmac={}", fields, hex(signature_of(key, of)));
  return with_parameter(url, fmt::format("{}={}", order.name, in_query(token)));
}

Text expires_token(const SignOrder& order, const SplitUrl& url, const TokenKey& key) {
  const bool plain = order.scope == SignOrder::Scope::Exact && order.preview.empty() &&
                     order.client.empty() && order.id.empty() && !order.not_before;
  if (!plain) return std::unexpected("expires+signature is for one path and a time, no more");
  const std::string expires = fmt::format("{}", order.expires);
  const std::string of = expires_signed_text(url.path, expires, key.id());
  return with_parameter(url, fmt::format("expires={}&keyid={}&signature={}", expires, key.id(),
                                         base64url(signature_of(key, of))));
}

/// The container of RFC 9246 §2.1.15.
std::string container_of(const SignOrder& order, const SplitUrl& url) {
  if (order.scope == SignOrder::Scope::Exact)
    return "hash:sha-256;" + base64url(whole(sha256(url.origin + url.path + url.query)));
  std::string expression = "regex:";
  for (const char c : url.origin + order.pattern) {
    if (std::string_view(".[]()*+?{}|^$\\").contains(c)) expression += '\\';
    expression += c;
  }
  return expression + (order.pattern.ends_with('/') ? ".*" : "([/?].*)?");
}

Text jwt_token(const SignOrder& order, const SplitUrl& url, const TokenKey& key) {
  if (url.origin.empty()) return std::unexpected("a JWT is for a whole URL, https://...");
  if (!order.client.empty() || !order.preview.empty() || order.scope == SignOrder::Scope::Glob)
    return std::unexpected("a JWT is for one URL or a prefix, for any client and the whole");
  jwt_t* made = nullptr;
  if (jwt_new(&made) != 0) return std::unexpected("no memory");
  const std::unique_ptr<jwt_t, decltype(&jwt_free)> jwt(made, &jwt_free);
  bool right = jwt_add_header(made, "kid", key.id().c_str()) == 0 &&
               jwt_add_grant_int(made, "exp", order.expires) == 0 &&
               jwt_add_grant(made, "cdniuc", container_of(order, url).c_str()) == 0;
  const std::array<std::pair<const char*, const std::string*>, 3> texts{
      {{"iss", &order.issuer}, {"aud", &order.audience}, {"sub", &order.id}}};
  for (const auto& [name, text] : texts)
    right = right && (text->empty() || jwt_add_grant(made, name, text->c_str()) == 0);
  if (order.not_before) right = right && jwt_add_grant_int(made, "nbf", *order.not_before) == 0;
  const auto bytes = key.bytes();
  right =
      right && jwt_set_alg(made, JWT_ALG_HS256, bytes.data(), static_cast<int>(bytes.size())) == 0;
  const std::unique_ptr<char, decltype(&std::free)> text(right ? jwt_encode_str(made) : nullptr,
                                                         &std::free);
  if (text == nullptr) return std::unexpected("libjwt cannot sign this");
  return with_parameter(url, fmt::format("{}={}", order.name, text.get()));
}

}  // namespace

std::expected<std::string, std::string> sign_url(const SignOrder& order, const TokenKey& key) {
  if (!key.is_secret()) return std::unexpected("a public key cannot sign");
  if (!order.client.empty() && !AddressRange::parse(order.client))
    return std::unexpected("the client is no address or network");
  if (!order.preview.empty() && !parse_preview(order.preview))
    return std::unexpected("the preview is neither bytes (480000) nor a time (30s@160k)");
  if (order.id.contains('~') || order.pattern.contains('~'))
    return std::unexpected("a '~' divides the fields of a token");
  const bool exact = order.scope == SignOrder::Scope::Exact;
  if (!exact && !order.pattern.starts_with('/'))
    return std::unexpected("a prefix or pattern begins with '/'");
  auto url = split(order.url);
  if (!url) return std::unexpected(url.error());
  switch (order.form) {
    case TokenForm::Segue:
      return segue_token(order, *url, key);
    case TokenForm::EdgeAuth:
      return edge_auth_token(order, *url, key);
    case TokenForm::Expires:
      return expires_token(order, *url, key);
    case TokenForm::Jwt:
      return jwt_token(order, *url, key);
  }
  return std::unexpected("no such form");
}

}  // namespace segue::edge
