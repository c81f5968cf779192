// base/address_range.h - addresses and networks, for tokens bound to a client and for those
// who may speak the PROXY protocol.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace segue {

/// "203.0.113.7", "203.0.113.0/24", "2001:db8::1", "2001:db8::/64". An IPv4 address within IPv6
/// (::ffff:0:0/96) is the IPv4 address.
class AddressRange {
 public:
  /// Nothing for anything else; bits behind the prefix must be 0.
  [[nodiscard]] static std::optional<AddressRange> parse(std::string_view text) noexcept;
  /// `address` without a prefix length; false for what is no address ("unix").
  [[nodiscard]] bool contains(std::string_view address) const noexcept;

 private:
  using Bytes = std::array<uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d
  struct Parsed {
    Bytes bytes;
    bool is_v4;
  };
  [[nodiscard]] static std::optional<Parsed> parse_address(std::string_view text) noexcept;
  [[nodiscard]] static bool same_front(const Bytes& a, const Bytes& b, uint32_t bits) noexcept;
  Bytes bytes_{};
  uint32_t bits_ = 128;
};

}  // namespace segue
