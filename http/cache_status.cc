#include "http/cache_status.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "http/structured.h"

namespace segue::http {
namespace {

class StatusWriter {
 public:
  explicit StatusWriter(std::span<char> out) : out_(out) {}

  void put(std::string_view text) {
    if (text.size() > out_.size() - used_) {
      full_ = true;
      return;
    }
    std::ranges::copy(text, out_.begin() + static_cast<ptrdiff_t>(used_));
    used_ += text.size();
  }
  /// sf-token where it can be one, else sf-string (RFC 8941 §3.3.3).
  void put_word(std::string_view text) {
    if (is_structured_token(text)) return put(text);
    put("\"");
    for (const char& c : text) {
      if (c == '"' || c == '\\') put("\\");
      put({&c, 1});
    }
    put("\"");
  }
  void put_number(std::string_view key, int64_t number) {
    std::array<char, 20> digits;
    const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    put(key);
    put({digits.data(), static_cast<size_t>(end - digits.data())});
  }
  [[nodiscard]] bool is_full() const { return full_; }
  [[nodiscard]] std::string_view text() const { return {out_.data(), used_}; }

 private:
  std::span<char> out_;
  size_t used_ = 0;
  bool full_ = false;
};

constexpr int64_t kStructuredIntegerMax = 999'999'999'999'999;  // RFC 8941 §3.3.1

}  // namespace

std::string_view name_of(ForwardReason reason) noexcept {
  switch (reason) {
    case ForwardReason::Bypass:
      return "bypass";
    case ForwardReason::Method:
      return "method";
    case ForwardReason::UriMiss:
      return "uri-miss";
    case ForwardReason::VaryMiss:
      return "vary-miss";
    case ForwardReason::Miss:
      return "miss";
    case ForwardReason::Request:
      return "request";
    case ForwardReason::Stale:
      return "stale";
    case ForwardReason::Partial:
      return "partial";
  }
  return "miss";
}

Result<std::string_view> write_cache_status(const CacheStatus& status,
                                            std::span<char> out) noexcept {
  if (status.node.empty() || !is_structured_string(status.node) ||
      !is_structured_string(status.detail)) {
    return fail(Side::Self, Kind::Malformed, "Cache-Status");
  }
  StatusWriter writer(out);
  writer.put_word(status.node);
  if (status.hit) {
    writer.put("; hit");
  } else if (status.forward) {  // hit and fwd exclude each other (RFC 9211 §2.2)
    writer.put("; fwd=");
    writer.put(name_of(*status.forward));
    if (status.forward_status) writer.put_number("; fwd-status=", *status.forward_status);
    if (status.stored) writer.put("; stored");
    if (status.collapsed) writer.put("; collapsed");
  }
  if (status.ttl) {
    writer.put_number("; ttl=",
                      std::clamp(*status.ttl, -kStructuredIntegerMax, kStructuredIntegerMax));
  }
  if (!status.detail.empty()) {
    writer.put("; detail=");
    writer.put_word(status.detail);
  }
  if (status.slices_hit) writer.put_number("; slices_hit=", *status.slices_hit);
  if (status.slices_needed) writer.put_number("; slices_needed=", *status.slices_needed);
  if (writer.is_full()) return fail(Side::Self, Kind::Full, "Cache-Status");
  return writer.text();
}

}  // namespace segue::http
