#include "http/multipart.h"

#include <algorithm>

#include "base/assert.h"
#include "http/content_range.h"
#include "http/header_fields.h"

namespace segue::http {
namespace {

constexpr size_t kPartTypeBytesMax = 256;
constexpr std::string_view kTypePrefix = "multipart/byteranges; boundary=";
static_assert(kTypePrefix.size() + kBoundaryBytes == kMultipartTypeBytes);
// CRLF "--" boundary CRLF "Content-Type: " type CRLF "Content-Range: " range CRLF CRLF.
static_assert(4 + kBoundaryBytes + 2 + 14 + kPartTypeBytesMax + 2 + 15 + kContentRangeTextMax + 4 <=
              kPartHeadBytesMax);

char* put(char* at, std::string_view text) { return std::ranges::copy(text, at).out; }

void put_hex(char* at, uint64_t value) {
  for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[(value >> shift) & 15];
}

}  // namespace

Boundary::Boundary(uint64_t high, uint64_t low) noexcept {
  put_hex(text_.data(), high);
  put_hex(text_.data() + kBoundaryBytes / 2, low);
}

std::string_view Boundary::write_content_type(
    std::span<char, kMultipartTypeBytes> out) const noexcept {
  put(put(out.data(), kTypePrefix), text());
  return {out.data(), out.size()};
}

MultipartLayout::MultipartLayout(const Boundary& boundary, std::string_view content_type,
                                 std::span<const ByteRange> parts,
                                 uint64_t complete_length) noexcept
    : boundary_(boundary),
      content_type_(content_type),
      parts_(parts),
      complete_length_(complete_length),
      total_bytes_(0) {
  if (content_type_.size() > kPartTypeBytesMax || !is_field_value(content_type_)) {
    content_type_ = {};
  }
  std::array<char, kPartHeadBytesMax> scratch;
  for (size_t i = 0; i < parts_.size(); ++i) {
    total_bytes_ += part_head(i, scratch).size() + parts_[i].length();
  }
  total_bytes_ += closing(scratch).size();
}

std::string_view MultipartLayout::part_head(size_t index,
                                            std::span<char, kPartHeadBytesMax> out) const noexcept {
  SEGUE_ASSERT(index < parts_.size());
  char* at = put(out.data(), index == 0 ? "--" : "\r\n--");
  at = put(at, boundary_.text());
  if (!content_type_.empty()) {
    at = put(at, "\r\nContent-Type: ");
    at = put(at, content_type_);
  }
  at = put(at, "\r\nContent-Range: ");
  std::array<char, kContentRangeTextMax> range;
  at = put(at, write_content_range(parts_[index], complete_length_, range));
  at = put(at, "\r\n\r\n");
  return {out.data(), static_cast<size_t>(at - out.data())};
}

std::string_view MultipartLayout::closing(std::span<char, kPartHeadBytesMax> out) const noexcept {
  char* at = put(out.data(), "\r\n--");
  at = put(at, boundary_.text());
  at = put(at, "--\r\n");
  return {out.data(), static_cast<size_t>(at - out.data())};
}

}  // namespace segue::http
