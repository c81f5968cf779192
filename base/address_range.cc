#include "base/address_range.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace segue {
namespace {
constexpr uint32_t kV4PrefixBits = 96;
}  // namespace

std::optional<AddressRange::Parsed> AddressRange::parse_address(std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.empty() || text.size() >= terminated.size()) return std::nullopt;
  std::ranges::copy(text, terminated.begin());
  Bytes bytes{};
  in_addr four{};
  if (inet_pton(AF_INET, terminated.data(), &four) == 1) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes.data() + 12, &four, sizeof four);
    return Parsed{bytes, true};
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, terminated.data(), &six) != 1) return std::nullopt;
  std::memcpy(bytes.data(), &six, sizeof six);
  return Parsed{bytes, false};
}

bool AddressRange::same_front(const Bytes& a, const Bytes& b, uint32_t bits) noexcept {
  const size_t whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + static_cast<ptrdiff_t>(whole), b.begin())) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return ((a[whole] ^ b[whole]) & mask) == 0;
}

std::optional<AddressRange> AddressRange::parse(std::string_view text) noexcept {
  const size_t slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  AddressRange range;
  range.bytes_ = address->bytes;
  if (slash != std::string_view::npos) {
    const std::string_view length = text.substr(slash + 1);
    uint32_t bits = 0;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
    const uint32_t most = address->is_v4 ? 32 : 128;
    if (error != std::errc{} || end != length.data() + length.size() || bits > most)
      return std::nullopt;
    range.bits_ = bits + (address->is_v4 ? kV4PrefixBits : 0);
  }
  Bytes front{};
  for (uint32_t bit = 0; bit < range.bits_; ++bit)
    front[bit / 8] |= static_cast<uint8_t>(range.bytes_[bit / 8] & (0x80 >> (bit % 8)));
  if (front != range.bytes_) return std::nullopt;
  return range;
}

bool AddressRange::contains(std::string_view address) const noexcept {
  const auto parsed = parse_address(address);
  return parsed && same_front(parsed->bytes, bytes_, bits_);
}

}  // namespace segue
