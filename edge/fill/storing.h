// edge/fill/storing.h - what an origin's answer means for the cache: may it be stored, as what, and
// is it the version we have. Pure: no I/O, no clock but the times in the head.
#pragma once
#include <cstdint>

#include "edge/fill/owned_ask.h"
#include "edge/fill/stored_response.h"
#include "edge/fill/tags.h"
#include "http/vary.h"
#include "origin/fetcher.h"

namespace segue::edge {

using ValidatorRule = origin::Fetcher::ValidatorRule;

struct Verdict {
  bool storable = false;
  bool repeatable = false;     // nothing but a lifetime is missing: may be told to all who wait
  bool too_many_tags = false;  // why it is not storable
  std::vector<uint64_t> tags;  // hashes
  http::VaryNames vary;        // of those request fields only that reach the origin
  StoredResponse::Parts parts;
};

/// RFC 9111 §3 under the site's rules. `status` is what would be stored: 200 for a 206 (its fields
/// are those of the whole), the answer's own otherwise.
[[nodiscard]] Verdict judge(const origin::FetchHead& head, int status, const OwnedAsk& ask,
                            ValidatorRule rule, const cache::Store& store);

/// Whether bytes under `head` may join those of the stored version (RFC 9110 §15.3.7.3). The caller
/// has compared complete lengths where the rule alone does not tell.
[[nodiscard]] bool same_version(ValidatorRule rule, const StoredResponse& stored,
                                const origin::FetchHead& head) noexcept;

/// Whether a 304 is about the stored version: it carries no entity tag, or the stored one (by weak
/// comparison, RFC 9111 §4.3.4).
[[nodiscard]] bool is_about(const StoredResponse& stored, const origin::FetchHead& head) noexcept;

/// The stored response with the fields of a 304 laid over it, fresh again (RFC 9111 §3.2, §4.3.4).
[[nodiscard]] Ref<const StoredResponse> freshened(const StoredResponse& stored,
                                                  const origin::FetchHead& head, const Site& site);

/// A marker under which requests go to the origin on their own until `until`.
[[nodiscard]] Ref<const StoredResponse> pass_marker(WallTime until);
/// A marker that says by which request fields this key has variants.
[[nodiscard]] Ref<const StoredResponse> vary_list(const http::VaryNames& names, WallTime now);
/// The names of a vary_list(), to compute the variant of a request.
[[nodiscard]] http::VaryNames names_of(const StoredResponse& list) noexcept;

}  // namespace segue::edge
