// http/target.h - one canonical form of a request target, used alike for the cache key, the token
// check and the request to the origin. Where those three disagree, caches are deceived and
// poisoned. Pure, no allocation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace segue::http {

/// Views into the `out` of canonicalize(); valid as long as that memory is.
struct CanonicalTarget {
  std::string_view path = {};                  // begins with '/'
  std::optional<std::string_view> query = {};  // without '?'; "" where a lone '?' was sent
  std::string_view text = {};                  // path["?"query]
};

/// Writes the canonical form of an origin-form target (RFC 9112 §3.2.1; one that begins with '?'
/// gets the path "/") to `out`: percent-encoded unreserved characters are decoded, hex digits are
/// upper case, characters that RFC 3986 does not allow (", <, >, ^, `, {, |, }) are encoded, and
/// all else stays as it came (%2F is not '/', "//" is not "/"). Idempotent. Errors: {Client,
/// Malformed} -> 400 for dot segments (also encoded, also with a ";parameter"), a backslash, %00
/// and other controls, a bad percent-encoding, bytes that are no UTF-8 once decoded, a fragment,
/// raw bytes outside visible ASCII; {Client, Full} -> 414 if `out` is too small. A target grows at
/// most threefold.
[[nodiscard]] Result<CanonicalTarget> canonicalize(std::string_view origin_form,
                                                   std::span<char> out) noexcept;

enum class QueryMode : uint8_t {
  Keep,  // all parameters but those in `strip`
  Drop,  // none
  List,  // those in `names` that are not in `strip`
};

/// What of the query belongs to the key. The spans are valid as long as the site's settings.
/// Names are compared exactly, in canonical form.
struct QueryRule {
  QueryMode mode = QueryMode::Keep;
  std::span<const std::string_view> names{};
  std::span<const std::string_view> strip{};  // token parameters; CMCD is stripped always
};

/// Writes what `rule` keeps of a canonical query (without '?') to `out`, in the order sent. Empty
/// parameters survive only where nothing was stripped. CMCD (CTA-5004) is always stripped: it
/// differs on every request. Errors: {Client, Full} if `out` is smaller than the result.
[[nodiscard]] Result<std::string_view> filter_query(std::string_view query, const QueryRule& rule,
                                                    std::span<char> out) noexcept;

/// The raw (still percent-encoded) value of the first parameter of that name; "" for one without
/// '='. View into `query`.
[[nodiscard]] std::optional<std::string_view> find_query_parameter(std::string_view query,
                                                                   std::string_view name) noexcept;

/// Whether the name of a parameter, as it was sent, is `name` once it is canonical. `name` consists
/// of unreserved characters.
[[nodiscard]] bool is_parameter_name(std::string_view sent, std::string_view name) noexcept;

/// Writes `origin_form`, not yet canonical, without the parameters of these names to `out`, so that
/// what is longer than any key (a token) does not have to fit one. Errors: {Client, Full} if what
/// is left does not fit.
[[nodiscard]] Result<std::string_view> cut_parameters(std::string_view origin_form,
                                                      std::span<const std::string> names,
                                                      std::span<char> out) noexcept;

}  // namespace segue::http
