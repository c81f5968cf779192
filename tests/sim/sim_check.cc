#include "tests/sim/sim_check.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cstring>

namespace segue::testing {
namespace {

uint64_t number_at(std::string_view& text) {
  uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
  return number;
}

struct ContentRange {
  ByteRange range;
  std::optional<uint64_t> complete_length;  // "*": nothing
};

/// "bytes 0-99/1234"; anything else is empty.
ContentRange parse_content_range(std::string_view text) {
  ContentRange parsed;
  if (!text.starts_with("bytes ") || text.starts_with("bytes */")) return parsed;
  text.remove_prefix(6);
  parsed.range.first = number_at(text);
  if (!text.starts_with("-")) return {};
  text.remove_prefix(1);
  parsed.range.end = number_at(text) + 1;
  if (!text.starts_with("/")) return {};
  text.remove_prefix(1);
  if (text != "*") parsed.complete_length = number_at(text);
  return parsed;
}

/// The one range that "bytes=..." asks of `length` bytes; nothing if it is not one range.
std::optional<ByteRange> single_range(std::string_view text, uint64_t length) {
  if (!text.starts_with("bytes=") || text.contains(',')) return std::nullopt;
  text.remove_prefix(6);
  if (text.starts_with("-")) {
    text.remove_prefix(1);
    return ByteRange{length - std::min(length, number_at(text)), length};
  }
  ByteRange range{number_at(text), length};
  text.remove_prefix(1);
  if (!text.empty()) range.end = std::min(length, number_at(text) + 1);
  return range;
}

}  // namespace

ResponseCheck::ResponseCheck(const FakeOrigin& origin, const ClientBehaviour& behaviour,
                             uint64_t version_min)
    : origin_(origin), behaviour_(behaviour), version_min_(version_min) {
  for (const auto& [name, value] : behaviour_.fields) {
    if (name == "Accept-Language" && origin.varies(behaviour_.target)) variant_ = value;
  }
}

bool ResponseCheck::has_field(std::string_view name) const {
  return std::ranges::any_of(behaviour_.fields,
                             [name](const auto& field) { return field.first == name; });
}

void ResponseCheck::see_head(const ClientResult& result) {
  const bool conditional = has_field("If-None-Match") || has_field("If-Match");
  switch (result.status) {
    case 200:
    case 206:
      return see_content_head(result);
    case 304:
      ASSERT_TRUE(has_field("If-None-Match")) << "304 to a request without a condition";
      return;
    case 412:
      ASSERT_TRUE(has_field("If-Match")) << "412 to a request without a condition";
      return;
    case 416: {
      const FakeTrack& track = origin_.tracks().at(behaviour_.target);
      if (track.refuses_ranges || track.refuses_suffix) return;  // passed through
      bool has_short_version = false;
      for (uint64_t version = std::max<uint64_t>(version_min_, 1);; ++version) {
        const auto length = origin_.length_of(behaviour_.target, version);
        if (!length) break;
        const auto range = single_range(behaviour_.range, *length);
        if (!range || range->empty()) has_short_version = true;
      }
      ASSERT_TRUE(has_short_version) << behaviour_.target << " " << behaviour_.range << ": 416";
      return;
    }
    case 404:  // the origin's own
    case 502:
    case 503:
    case 504:
      return;
    default:
      FAIL() << "status " << result.status << ", conditional: " << conditional;
  }
}

void ResponseCheck::see_content_head(const ClientResult& result) {
  has_content_ = true;
  std::string_view text = result.version;
  version_ = number_at(text);
  const auto length = origin_.length_of(behaviour_.target, version_);
  ASSERT_TRUE(length) << behaviour_.target << ": no version in the head";
  length_ = *length;
  ASSERT_GE(version_, version_min_)
      << behaviour_.target << ": purged bytes in a response begun after the acknowledgement; "
      << result.cache_status;
  if (result.status == 200) {
    if (result.content_length) {
      ASSERT_EQ(*result.content_length, length_) << behaviour_.target;
    }
    return;
  }
  ASSERT_FALSE(behaviour_.range.empty()) << "206 to a request without Range";
  constexpr std::string_view kMultipart = "multipart/byteranges; boundary=";
  if (result.content_type.starts_with(kMultipart)) {
    boundary_ = result.content_type.substr(kMultipart.size());
    return;
  }
  const ContentRange shown = parse_content_range(result.content_range);
  ASSERT_FALSE(shown.range.empty()) << "206 without a range: " << result.content_range;
  if (shown.complete_length || !origin_.tracks().at(behaviour_.target).no_total) {
    ASSERT_EQ(shown.complete_length, length_) << behaviour_.target << " " << result.content_range;
  }
  ASSERT_EQ(result.content_length.value_or(0), shown.range.length());
  if (const auto asked = single_range(behaviour_.range, length_)) {
    ASSERT_EQ(shown.range, *asked) << behaviour_.range << " -> " << result.content_range;
  }
  first_ = shown.range.first;
}

void ResponseCheck::expect_bytes(uint64_t first, std::span<const std::byte> bytes) const {
  ASSERT_LE(first + bytes.size(), length_) << behaviour_.target << ": more than there is";
  const std::string expected =
      FakeOrigin::bytes(behaviour_.target, version_, {first, first + bytes.size()}, variant_);
  ASSERT_TRUE(std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0)
      << behaviour_.target << " " << behaviour_.range << ": wrong bytes within " << bytes.size()
      << " from " << first << " on, of version " << version_ << " of " << length_ << " bytes";
}

void ResponseCheck::see_body(const ClientResult& so_far, uint64_t offset,
                             std::span<const std::byte> bytes) {
  if (!has_content_ || bytes.empty() || ::testing::Test::HasFatalFailure()) return;
  ASSERT_NE(behaviour_.method, "HEAD");
  if (so_far.content_length) {
    ASSERT_LE(offset + bytes.size(), *so_far.content_length);
  }
  if (boundary_.empty()) return expect_bytes(first_ + offset, bytes);
  multipart_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void ResponseCheck::see_end(const ClientResult& result) {
  const bool complete = result.end == edge::Stream::End::Complete;
  if (complete) {
    ASSERT_TRUE(result.has_head) << "complete without a head";
  }
  if (!has_content_ || ::testing::Test::HasFatalFailure()) return;
  if (complete && behaviour_.method != "HEAD") {
    // Of a body without a length the end is the only sign that it is whole.
    ASSERT_EQ(result.body_bytes, result.content_length.value_or(length_)) << behaviour_.target;
  }
  if (!boundary_.empty()) see_multipart_end(complete);
}

void ResponseCheck::see_multipart_end(bool complete) const {
  const std::string delimiter = "\r\n--" + boundary_;
  std::string_view rest = multipart_;
  uint32_t parts = 0;
  // The first delimiter may come without its line break (RFC 2046 §5.1.1).
  if (rest.starts_with(std::string_view(delimiter).substr(2)))
    rest.remove_prefix(delimiter.size() - 2);
  else if (rest.starts_with(delimiter))
    rest.remove_prefix(delimiter.size());
  else {
    ASSERT_FALSE(complete) << "no delimiter";
    return;
  }
  while (!rest.starts_with("--")) {
    const size_t head_end = rest.find("\r\n\r\n");
    if (head_end == std::string_view::npos) break;
    const std::string_view head = rest.substr(0, head_end);
    const size_t at = head.find("Content-Range: ");
    ASSERT_NE(at, std::string_view::npos);
    const ContentRange shown = parse_content_range(head.substr(at + 15));
    rest.remove_prefix(head_end + 4);
    const std::string_view bytes = rest.substr(0, shown.range.length());
    ASSERT_EQ(shown.complete_length, length_);
    expect_bytes(shown.range.first, std::as_bytes(std::span(bytes)));
    ++parts;
    if (bytes.size() < shown.range.length()) break;
    rest.remove_prefix(bytes.size());
    if (!rest.starts_with(delimiter)) break;
    rest.remove_prefix(delimiter.size());
  }
  if (!complete || behaviour_.method == "HEAD") return;
  ASSERT_TRUE(rest.starts_with("--")) << "multipart without its end";
  ASSERT_GT(parts, 1U);
}

}  // namespace segue::testing
