#include "origin/request_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "http/hop_by_hop.h"
#include "http/range.h"

namespace segue::origin {
namespace {

/// Ours to decide; a listed request field never replaces them.
constexpr std::array<std::string_view, 13> kOurs = {"host",
                                                    "range",
                                                    "if-range",
                                                    "if-none-match",
                                                    "if-modified-since",
                                                    "if-match",
                                                    "if-unmodified-since",
                                                    "accept-encoding",
                                                    "user-agent",
                                                    "content-length",
                                                    "expect",
                                                    "via",
                                                    "cdn-loop"};

[[nodiscard]] bool is_ours(std::string_view name) noexcept {
  return std::ranges::any_of(
      kOurs, [name](std::string_view ours) { return http::equals_ignore_case(ours, name); });
}

/// Grows a FieldList; remembers when memory ran out.
class ListMaker {
 public:
  void line(const std::string& text) {
    curl_slist* longer = curl_slist_append(list_.get(), text.c_str());
    if (longer == nullptr) {
      failed_ = true;
      return;
    }
    // The list keeps its first node, so only the first line changes what is owned.
    if (list_ == nullptr) list_.reset(longer);
  }
  void field(std::string_view name, std::string_view value) {
    // libcurl takes "Name:" as "do not send it" and "Name;" as "send it empty".
    line(value.empty() ? fmt::format("{};", name) : fmt::format("{}: {}", name, value));
  }
  [[nodiscard]] FieldList finish() { return failed_ ? nullptr : std::move(list_); }

 private:
  FieldList list_;
  bool failed_ = false;
};

/// What came with the request, and then ours: who forwards adds its own and takes nothing away
/// (RFC 9110 §7.6.3, RFC 8586 §2).
std::string appended(http::FieldsView received, std::string_view name, std::string_view ours) {
  std::string value;
  http::CombinedList members(received, name);
  while (const auto member = members.next()) value.append(*member).append(", ");
  return value.append(ours);
}

void add_range(ListMaker& list, const RequestForm& form) {
  std::array<char, http::kRangeTextMax> text;
  if (form.range_form == FetchRequest::RangeForm::Bounded) {
    list.field("Range", http::write_range(form.range, text));
  } else if (form.range_form == FetchRequest::RangeForm::Suffix) {
    list.field("Range", http::write_suffix_range(form.suffix_length, text));
  }
}

}  // namespace

FieldList request_fields(const OriginOptions& options, const FetchRequest& request,
                         const RequestForm& form) {
  ListMaker list;
  const http::FieldsView own = request.fields.view();
  list.field("User-Agent", options.user_agent);
  list.field("Accept-Encoding", "identity");
  add_range(list, form);
  if (!form.if_range.empty()) list.field("If-Range", form.if_range);
  if (form.conditions && !request.if_none_match.empty()) {
    list.field("If-None-Match", request.if_none_match);
  }
  if (form.conditions && !request.if_modified_since.empty()) {
    list.field("If-Modified-Since", request.if_modified_since);
  }
  list.field("Via", appended(own, "via", fmt::format("1.1 {}", options.node_name)));
  list.field("CDN-Loop", appended(own, "cdn-loop", options.node_name));
  if (!own.contains("accept")) list.line("Accept:");  // libcurl would add one
  // What libcurl would add to a body of its own accord.
  if (!own.contains("content-type")) list.line("Content-Type:");
  list.line("Expect:");
  for (const http::Field& field : own) {
    if (is_ours(field.name) || http::is_hop_by_hop(field.name, own)) continue;
    list.field(field.name, field.value);
  }
  return list.finish();
}

bool is_sendable_target(std::string_view target) noexcept {
  if (!target.starts_with('/')) return false;
  return std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

}  // namespace segue::origin
