// edge/fill/site.h - the rules of one site, immutable after a (re)load and shared by all loops.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"

namespace segue::edge {

struct TtlRules {
  std::optional<std::chrono::seconds> override_lifetime;  // beats everything the origin says
  std::chrono::seconds default_lifetime{24 * 3600};       // where the origin says nothing
  std::chrono::seconds negative{10};                      // 404 and 410
  std::chrono::seconds stale_if_error{24 * 3600};
  std::chrono::seconds stale_while_revalidate{0};
  bool operator==(const TtlRules&) const = default;
};

/// How fast a connection is given bytes once it has its burst; 0: as fast as it goes.
struct PaceRules {
  uint64_t bytes_per_second = 0;
  uint64_t burst_bytes = 0;
  bool operator==(const PaceRules&) const = default;
};

enum class QueryMode : uint8_t { Keep, Drop, List };

/// What the settings say of it; a reload tells by them whether it is the same.
struct SiteRules {
  std::string name;                // [a-z0-9._-]+; the first part of every cache key of the site
  std::vector<std::string> hosts;  // lower case, no port; "*" matches any
  uint32_t index = 0;              // position in the site table
  uint32_t origin = 0;             // index into the loops' fetchers
  QueryMode query = QueryMode::Keep;
  std::vector<std::string> query_names;  // QueryMode::List
  std::vector<std::string>
      forward_fields;  // request fields that go to the origin besides ours, lower case; "*": all
  std::vector<std::string> relay_methods;  // besides GET and HEAD; "*": any but those never relayed
  /// Response fields that hold cache tags, lower case; never given to clients.
  std::vector<std::string> tag_fields{"surrogate-key", "cache-tag"};
  /// Query parameters and request fields that carry access tokens, lower case for fields: in no key
  /// and in no request to an origin. Where there are any, Cookie goes to no origin either.
  std::vector<std::string> token_names;
  TtlRules ttl;
  PaceRules pace;
  /// Origins whose scripts may read answers; "*" alone: all; empty: Segue says nothing of CORS, and
  /// what the origin says stays.
  std::vector<std::string> cors{"*"};
  bool operator==(const SiteRules&) const = default;
};

struct Site : public RefCounted, public SiteRules {
  [[nodiscard]] const SiteRules& rules() const noexcept { return *this; }

  /// Response fields of the origin that never reach a client: cache tags, and where Segue speaks of
  /// CORS, the origin's own words on it (two Access-Control-Allow-Origin are none to a browser).
  [[nodiscard]] std::vector<std::string> hidden_fields() const;

  [[nodiscard]] bool is_tag_field(std::string_view field_name) const noexcept;
  /// Whether requests of this method go to the origin, one by one. Never OPTIONS (answered here),
  /// CONNECT (a tunnel) and TRACE (it would show the fields we add).
  [[nodiscard]] bool relays(std::string_view method) const noexcept;
};

}  // namespace segue::edge
