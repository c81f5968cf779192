// edge/fill/stored_response.h - what is kept of an origin's response header: enough to answer for
// it again, and when it is fresh.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop/clock.h"
#include "cache/generation.h"
#include "edge/fill/variant_set.h"
#include "http/date.h"
#include "http/header_fields.h"
#include "http/validator.h"

namespace segue::edge {

/// Immutable. Made from a FetchHead under a site's rules, or decoded from a record (hostile bytes:
/// checked).
class StoredResponse final : public cache::StoredFacts {
 public:
  enum class Form : uint8_t {
    Normal,    // a 200 (also when learned from a 206)
    Negative,  // 404, 410: status and body as they came
    VaryList,  // this key has variants: parts().vary_names says by which request fields
    Pass,      // not storable: until `pass_until`, requests go to the origin on their own
  };
  struct Parts {
    Form form = Form::Normal;
    int status = 200;
    http::OwnedFields fields;  // kept for replay: no hop-by-hop, no Set-Cookie, no
                               // Content-Length/-Range, no Date, no Age
    std::string etag;          // as it came, W/ and quotes included; empty: none
    std::optional<std::chrono::sys_seconds> last_modified;
    std::chrono::sys_seconds date{};      // the origin's Date, or response time
    WallTime response_time{};             // when it came here (or was freshened)
    std::chrono::seconds initial_age{0};  // corrected_initial_age, RFC 9111 §4.2.3
    std::chrono::seconds lifetime{0};     // freshness lifetime, RFC 9111 §4.2.1
    std::chrono::seconds stale_while_revalidate{0};
    std::chrono::seconds stale_if_error{0};
    bool must_revalidate =
        false;  // must-revalidate, proxy-revalidate, s-maxage, no-cache: never served stale
    bool no_cache = false;  // revalidate before every use
    bool strong_validator =
        false;            // strong ETag, or Last-Modified >= 60 s before Date (RFC 9110 §8.8.2.2)
    int32_t server = -1;  // which of the origin's servers it came from
    std::vector<std::string> vary_names;
    WallTime pass_until{};
  };
  explicit StoredResponse(Parts parts);

  [[nodiscard]] const Parts& parts() const noexcept { return parts_; }
  /// Current age (RFC 9111 §4.2.3) at `now`; never negative, also when the wall clock stepped back.
  [[nodiscard]] std::chrono::seconds age(WallTime now) const noexcept;
  [[nodiscard]] bool is_fresh(WallTime now) const noexcept;
  /// Freshness left; negative when stale. Cache-Status ttl.
  [[nodiscard]] std::chrono::seconds ttl(WallTime now) const noexcept;
  /// Stale, and may be served at once while it is revalidated (RFC 5861 §3). `purged`: a soft purge
  /// made it stale, however fresh the origin said it is.
  [[nodiscard]] bool may_serve_while_revalidating(WallTime now, bool purged) const noexcept;
  /// Stale, and may be served because the origin fails (RFC 5861 §4).
  [[nodiscard]] bool may_serve_on_error(WallTime now, bool purged) const noexcept;
  /// The kept fields as HTTP/1.1 text ("Name: value\r\n"...), rendered once: the hit path copies
  /// it. Contains ETag, Last-Modified, Content-Type, Cache-Control and what else the origin sent;
  /// not Age, Date, Content-Length, Content-Range, Accept-Ranges, Via.
  [[nodiscard]] std::string_view http1_block() const noexcept { return http1_block_; }
  /// The value of Date, rendered once likewise.
  [[nodiscard]] std::string_view date_text() const noexcept {
    return {date_text_.data(), date_text_.size()};
  }
  /// Of parts(), its entity tag parsed once; lives as long as this.
  [[nodiscard]] const http::Validator& validator() const noexcept { return validator_; }

  /// Form::VaryList: whether the variant with this key hash may be stored beside the others.
  [[nodiscard]] bool admits_variant(uint64_t hash) const noexcept {
    return variants_ == nullptr || variants_->admit(hash);
  }

  [[nodiscard]] uint32_t encoded_bytes() const noexcept override;
  void encode(std::span<std::byte> out) const noexcept override;

 private:
  Parts parts_;
  const http::Validator validator_;  // views of parts_
  std::array<char, http::kDateBytes> date_text_;
  std::string http1_block_;
  const std::unique_ptr<VariantSet> variants_;  // Form::VaryList only
  uint32_t encoded_bytes_ = 0;
};

/// Layout: stored_response_codec.cc. Errors of decode(): {Disk, Malformed}, also for a layout of
/// another version.
class StoredResponseCodec final : public cache::FactsCodec {
 public:
  [[nodiscard]] Result<Ref<const cache::StoredFacts>> decode(
      std::span<const std::byte> encoded) const override;
};

}  // namespace segue::edge
