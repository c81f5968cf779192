#include "edge/server/head_text.h"

#include <algorithm>

#include "http/hop_by_hop.h"
#include "http/response_head.h"

namespace segue::edge {

namespace {

[[nodiscard]] bool forbids_body(int status) noexcept {
  return status < 200 || status == 204 || status == 304;  // RFC 9110 §6.4.1
}

[[nodiscard]] bool has_date(const ResponseHead& head) noexcept {
  const auto is_date = [](const http::Field& field) {
    return http::equals_ignore_case(field.name, "Date");
  };
  return head.passed_fields.contains("Date") || std::ranges::any_of(head, is_date);
}

void write_stored_fields(const ResponseHead& head, http::HeadWriter& writer) noexcept {
  if (!head.without_stored_content_type) {
    writer.block(head.stored_http1_block);  // rendered once, copied here
    return;
  }
  for (const http::Field& field : head.stored_fields) {
    if (!http::equals_ignore_case(field.name, "Content-Type"))
      writer.field(field.name, field.value);
  }
}

void write_passed_fields(const ResponseHead& head, http::HeadWriter& writer) noexcept {
  for (const http::Field& field : head.passed_fields) {
    if (head.passes(field)) writer.field(field.name, field.value);
  }
}

}  // namespace

Framing framing_of(const ResponseHead& head, uint8_t version_minor, bool to_head) noexcept {
  if (head.bodyless || to_head || forbids_body(head.status)) return Framing::None;
  if (head.content_length) return Framing::Length;
  return version_minor == 0 ? Framing::UntilClose : Framing::Chunked;
}

Result<std::string_view> write_head(const ResponseHead& head, const HeadFacts& facts,
                                    std::span<char> out) noexcept {
  http::HeadWriter writer(out);
  writer.status(static_cast<uint16_t>(head.status));
  if (!head.date.empty()) {
    writer.own("Date", http::OwnValue::made(head.date));
  } else if (!has_date(head)) {
    writer.own("Date", http::OwnValue::made(facts.date));
  }
  write_stored_fields(head, writer);
  write_passed_fields(head, writer);
  writer.block(head.site_http1_block);
  for (const http::Field& field : head) {
    if (head.is_own(field)) {
      writer.own(field);
    } else {
      writer.field(field.name, field.value);
    }
  }
  // RFC 9110 §8.6: never in a 1xx or 204; in a 304 and to HEAD it says what a 200 would have had.
  const bool length_allowed = head.status >= 200 && head.status != 204;
  if (head.content_length && length_allowed) writer.number("Content-Length", *head.content_length);
  if (facts.framing == Framing::Chunked) writer.own("Transfer-Encoding", "chunked");
  if (facts.close) {
    writer.own("Connection", "close");
  } else if (facts.version_minor == 0) {
    // A client of HTTP/1.0 closes unless it is told (RFC 9112 §9.3).
    writer.own("Connection", "keep-alive");
  }
  return writer.finish();
}

std::string_view DateText::at(WallTime now) noexcept {
  const auto second = std::chrono::floor<std::chrono::seconds>(now);
  if (second != second_) {
    http::write_date(second, text_);
    second_ = second;
  }
  return {text_.data(), text_.size()};
}

}  // namespace segue::edge
