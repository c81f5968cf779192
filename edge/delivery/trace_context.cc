#include "edge/delivery/trace_context.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/hash.h"

namespace segue::edge {
namespace {

constexpr size_t kTraceIdBytes = 32;
constexpr size_t kParentIdBytes = 16;

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// Eight digits at once: three ids a request were 300 instructions, digit by digit.
void write_hex8(uint32_t number, char* out) {
  constexpr uint64_t kEach = 0x0101010101010101ULL;
  uint64_t digits = number;  // its halves, bytes and digits move apart, a digit to each byte
  digits = (digits | digits << 16) & 0x0000ffff0000ffffULL;
  digits = (digits | digits << 8) & 0x00ff00ff00ff00ffULL;
  digits = (digits | digits << 4) & kEach * 15;
  const uint64_t letters = (digits + kEach * 6) >> 4 & kEach;  // where a digit is 10 or more
  digits += kEach * '0' + letters * ('a' - '0' - 10);
  digits = std::byteswap(digits);  // the first digit is the highest
  std::memcpy(out, &digits, sizeof digits);
}
void write_hex(uint64_t number, char* out) {
  static_assert(std::endian::native == std::endian::little);
  write_hex8(static_cast<uint32_t>(number >> 32), out);
  write_hex8(static_cast<uint32_t>(number), out + 8);
}

}  // namespace

IdSource::IdSource(uint64_t seed) noexcept {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15ULL;
    word = mix(seed);
  }
}

uint64_t IdSource::next() noexcept {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::string_view trace_id_of(std::string_view traceparent) noexcept {
  // Later versions may append fields behind a dash (§3.2.4); version ff is invalid.
  if (traceparent.size() < kTraceparentBytes) return {};
  if (traceparent.size() > kTraceparentBytes &&
      (traceparent.starts_with("00") || traceparent[kTraceparentBytes] != '-'))
    return {};
  const std::string_view version = traceparent.substr(0, 2);
  const std::string_view trace_id = traceparent.substr(3, kTraceIdBytes);
  const std::string_view parent_id = traceparent.substr(36, kParentIdBytes);
  if (traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return {};
  if (!is_lower_hex(version) || version == "ff") return {};
  if (!is_lower_hex(trace_id) || !is_lower_hex(parent_id) ||
      !is_lower_hex(traceparent.substr(53, 2)))
    return {};
  auto all_zero = [](std::string_view text) {
    return text.find_first_not_of('0') == std::string_view::npos;
  };
  if (all_zero(trace_id) || all_zero(parent_id)) return {};
  return trace_id;
}

void write_traceparent(std::string_view received, IdSource& ids,
                       std::span<char, kTraceparentBytes + 1> out) noexcept {
  const std::string_view trace_id = trace_id_of(received);
  std::memcpy(out.data(), "00-", 3);
  if (trace_id.empty()) {
    write_hex(ids.next(), &out[3]);
    write_hex(ids.next() | 1, &out[19]);  // never all zeros
  } else {
    std::memcpy(&out[3], trace_id.data(), kTraceIdBytes);
  }
  out[35] = '-';
  write_hex(ids.next() | 1, &out[36]);
  // The sampled flag is the caller's decision and is passed on; ours is "not sampled".
  const bool sampled = !trace_id.empty() && std::string_view("13579bdf").contains(received[54]);
  std::memcpy(&out[52], sampled ? "-01" : "-00", 4);
}

}  // namespace segue::edge
