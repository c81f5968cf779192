// origin/request_fields.h - exactly the fields that go to an origin, as libcurl's list.
#pragma once
#include <curl/curl.h>

#include <memory>
#include <string>

#include "origin/fetcher.h"
#include "origin/options.h"

namespace segue::origin {

struct FreeList {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using FieldList = std::unique_ptr<curl_slist, FreeList>;

/// What differs between the first request of a fetch and those that resume it.
struct RequestForm {
  FetchRequest::RangeForm range_form = FetchRequest::RangeForm::None;
  ByteRange range;
  uint64_t suffix_length = 0;
  bool conditions = true;  // If-None-Match, If-Modified-Since of the request
  std::string if_range;    // empty: not sent
};

/// Range, conditionals, Accept-Encoding: identity, User-Agent, Via, CDN-Loop and the request's own
/// fields; Host is libcurl's, from the URL. Fields of the request that would contradict ours or
/// belong to one connection only are left out. Null when memory is out.
[[nodiscard]] FieldList request_fields(const OriginOptions& options, const FetchRequest& request,
                                       const RequestForm& form);

/// Whether `target` can stand in a request line as it is: begins with '/', visible ASCII only.
[[nodiscard]] bool is_sendable_target(std::string_view target) noexcept;

}  // namespace segue::origin
