// edge/fill/owned_ask.h - a copy of what a request asked, for the tasks that outlive the request:
// contacts and runs belong to no client.
#pragma once
#include <string>

#include "base/ref.h"
#include "edge/fill/fills.h"
#include "origin/fetcher.h"

namespace segue::edge {

/// Sites are reference counted (make_ref): the copy keeps its site alive over a reload.
struct OwnedAsk {
  Ref<const Site> site;
  KeyHash key;
  std::string key_text;
  std::string target;
  http::OwnedFields fields;
  std::string traceparent;
  Asked::RangeForm range_form = Asked::RangeForm::None;
  ByteRange range;
  bool head_only = false;
  bool authorized = false;
  bool urgent = false;
  cache::UseId use;
  cache::Priority priority = cache::Priority::Demand;
  OriginMeter::Payer payer = 0;
};

/// `key` and `key_text` may be those of a variant instead of asked.key.
[[nodiscard]] OwnedAsk own(const Asked& asked, const KeyHash& key, std::string_view key_text,
                           const char* traceparent);

/// "To the end" as a last-pos: far above any length we serve, below 2^53, which some origins cannot
/// read beyond.
inline constexpr uint64_t kOpenEnd = uint64_t{1} << 52;

/// A request for the origin without a range and conditions: target, listed fields, traceparent.
/// Nothing else of the client's request goes there (ARCHITECTURE.md, origin).
[[nodiscard]] origin::FetchRequest plain_request(const Site& site, std::string_view target,
                                                 http::FieldsView fields,
                                                 std::string_view traceparent);

/// The client's own range, for an answer that is passed through.
void set_own_range(origin::FetchRequest& request, Asked::RangeForm form, ByteRange range) noexcept;

/// Whether the site sends this request field on to the origin.
[[nodiscard]] bool is_forwarded(const Site& site, std::string_view name) noexcept;

}  // namespace segue::edge
