// origin/head_check.h - is this head an answer to what was asked? Pure: no I/O, no clock.
#pragma once
#include <expected>
#include <string>

#include "origin/fault.h"
#include "origin/fetcher.h"
#include "origin/head_collector.h"

namespace segue::origin {

/// The part of a request that its answer must agree with.
struct AskedOf {
  FetchRequest::RangeForm range_form = FetchRequest::RangeForm::None;
  ByteRange range;
  uint64_t suffix_length = 0;
  std::string if_none_match;  // as sent; empty: not sent
  bool conditional = false;   // any condition that a 304 may answer
};

/// Checks framing (RFC 9112 §6), then status and range against the request, and makes the
/// FetchHead without times, server and latency. A redirect is just a status here.
[[nodiscard]] std::expected<FetchHead, Fault> check_head(const AskedOf& asked,
                                                         const HeadCollector& head);

/// Whether `resumed`, the answer to "from byte `next` of the complete representation on, if it is
/// still the same", goes on exactly where a body that ends at `end` stopped.
[[nodiscard]] Fault check_resumed(const FetchHead& first, const FetchHead& resumed, uint64_t next,
                                  uint64_t end);

/// The strong entity tag of a head, as in the field; empty if it has none.
[[nodiscard]] std::string_view strong_etag_of(const FetchHead& head) noexcept;

}  // namespace segue::origin
