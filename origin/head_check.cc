#include "origin/head_check.h"

#include <algorithm>

#include "http/content_range.h"
#include "http/hop_by_hop.h"
#include "http/validator.h"

namespace segue::origin {
namespace {

constexpr int kOk = 200;
constexpr int kNoContent = 204;
constexpr int kPartialContent = 206;
constexpr int kNotModified = 304;
constexpr int kNotSatisfiable = 416;

struct Framing {
  std::optional<uint64_t> content_length;
  bool chunked = false;
};

[[nodiscard]] std::expected<Framing, Fault> check_framing(const HeadCollector& head) {
  const http::FieldsView fields = head.fields();
  Framing framing;
  const size_t codings = fields.count("transfer-encoding");
  const size_t lengths = fields.count("content-length");
  // Whoever reads one of the two sees another message than whoever reads the other (RFC 9112 §6.3).
  if (codings > 0 && lengths > 0) return std::unexpected(Fault::LengthAndCoding);
  if (codings > 0) {
    const bool old = head.version_major() == 1 && head.version_minor() == 0;
    const auto coding = fields.find_only("transfer-encoding");
    if (old || !coding || !http::equals_ignore_case(*coding, "chunked")) {
      return std::unexpected(Fault::BadTransferCoding);
    }
    framing.chunked = true;
  }
  if (lengths > 1) return std::unexpected(Fault::SeveralLengths);
  if (lengths == 1) {
    framing.content_length = http::parse_decimal(*fields.find_only("content-length"));
    if (!framing.content_length) return std::unexpected(Fault::BadLength);
  }
  return framing;
}

[[nodiscard]] bool is_multipart(http::FieldsView fields) {
  constexpr std::string_view kType = "multipart/byteranges";
  const auto type = fields.find("content-type");
  return type && http::equals_ignore_case(type->substr(0, kType.size()), kType);
}

/// Slices of a coded representation are no slices of the plain one, and no player undoes a coding.
/// Of other types a whole 200 may be coded though we ask for "identity".
[[nodiscard]] bool is_media(http::FieldsView fields) {
  const std::string_view type = fields.find("content-type").value_or(std::string_view());
  return http::equals_ignore_case(type.substr(0, 6), "audio/") ||
         http::equals_ignore_case(type.substr(0, 6), "video/") ||
         http::equals_ignore_case(type.substr(0, 15), "application/ogg");
}

[[nodiscard]] bool has_content_coding(http::FieldsView fields) {
  http::CombinedList codings(fields, "content-encoding");
  while (const auto coding = codings.next()) {
    if (!http::equals_ignore_case(*coding, "identity")) return true;
  }
  return false;
}

/// Exactly the range asked, clipped to the complete length where that is known.
[[nodiscard]] bool is_range_asked(const AskedOf& asked, ByteRange got,
                                  std::optional<uint64_t> complete_length) {
  if (asked.range_form == FetchRequest::RangeForm::Suffix) {
    if (!complete_length) return false;  // the suffix of what?
    const uint64_t length = std::min(asked.suffix_length, *complete_length);
    return got == ByteRange{*complete_length - length, *complete_length};
  }
  if (complete_length) return got == asked.range.clipped(*complete_length);
  return got.first == asked.range.first && got.end <= asked.range.end;
}

[[nodiscard]] Fault check_partial(const AskedOf& asked, http::FieldsView fields, FetchHead& made) {
  if (asked.range_form == FetchRequest::RangeForm::None) return Fault::UnaskedPartial;
  if (is_multipart(fields)) return Fault::Multipart;
  if (!fields.contains("content-range")) return Fault::NoContentRange;
  const auto value = fields.find_only("content-range");
  if (!value) return Fault::BadContentRange;
  const auto parsed = http::parse_content_range(*value);
  if (!parsed || !parsed->range) return Fault::BadContentRange;
  if (!is_range_asked(asked, *parsed->range, parsed->complete_length)) return Fault::OtherRange;
  if (made.content_length && *made.content_length != parsed->range->length()) {
    return Fault::OtherLength;
  }
  made.content_length = parsed->range->length();
  made.content_range = parsed->range;
  made.complete_length = parsed->complete_length;
  return Fault::None;
}

[[nodiscard]] Fault check_not_modified(const AskedOf& asked, http::FieldsView fields,
                                       FetchHead& made) {
  if (!asked.conditional) return Fault::UnaskedNotModified;
  made.content_length = 0;
  made.close_delimited = false;
  const auto etag = fields.find_only("etag");
  if (!etag || asked.if_none_match.empty()) return Fault::None;
  const auto tag = http::parse_entity_tag(*etag);
  if (!tag) return Fault::None;
  http::EntityTagList sent(asked.if_none_match);
  while (const auto candidate = sent.next()) {
    if (http::weak_match(*candidate, *tag)) return Fault::None;
  }
  return Fault::OtherEntityTag;
}

[[nodiscard]] Fault check_status(const AskedOf& asked, http::FieldsView fields, FetchHead& made) {
  if (made.status == kPartialContent || (made.status == kOk && is_media(fields))) {
    if (has_content_coding(fields)) return Fault::ContentCoding;
  }
  switch (made.status) {
    case kOk:
      made.complete_length = made.content_length;
      return Fault::None;
    case kNoContent:
      made.content_length = 0;
      made.close_delimited = false;
      return Fault::None;
    case kPartialContent:
      return check_partial(asked, fields, made);
    case kNotModified:
      return check_not_modified(asked, fields, made);
    case kNotSatisfiable: {
      const auto value = fields.find_only("content-range");
      if (!value) return Fault::None;
      const auto parsed = http::parse_content_range(*value);
      if (parsed && !parsed->range) made.complete_length = parsed->complete_length;
      return Fault::None;
    }
    default:
      return Fault::None;
  }
}

}  // namespace

std::expected<FetchHead, Fault> check_head(const AskedOf& asked, const HeadCollector& head) {
  SEGUE_ASSERT(head.complete());
  const auto framing = check_framing(head);
  if (!framing) return std::unexpected(framing.error());
  const http::FieldsView fields = head.fields();
  FetchHead made;
  made.status = head.status();
  made.content_length = framing->content_length;
  // HTTP/2 ends a body by END_STREAM, so only HTTP/1 can end it by closing.
  made.close_delimited = head.version_major() == 1 && !framing->chunked && !framing->content_length;
  if (const Fault fault = check_status(asked, fields, made); fault != Fault::None) {
    return std::unexpected(fault);
  }
  for (const http::Field& field : fields) {
    if (!http::is_hop_by_hop(field.name, fields)) made.fields.add(field.name, field.value);
  }
  return made;
}

std::string_view strong_etag_of(const FetchHead& head) noexcept {
  const auto etag = head.fields.view().find_only("etag");
  if (!etag) return {};
  const auto tag = http::parse_entity_tag(*etag);
  return tag && !tag->weak ? *etag : std::string_view{};
}

Fault check_resumed(const FetchHead& first, const FetchHead& resumed, uint64_t next, uint64_t end) {
  if (resumed.status != kPartialContent || !resumed.content_range) return Fault::ResumeMismatch;
  if (*resumed.content_range != ByteRange{next, end}) return Fault::ResumeMismatch;
  if (resumed.complete_length != first.complete_length) return Fault::ResumeMismatch;
  if (strong_etag_of(resumed) != strong_etag_of(first)) return Fault::ResumeMismatch;
  return Fault::None;
}

}  // namespace segue::origin
