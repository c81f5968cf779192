// edge/access/hmac.h - HMAC-SHA256 and the texts it travels in, by OpenSSL behind our own names.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace segue::edge {

inline constexpr size_t kHmacBytes = 32;
using Hmac = std::array<uint8_t, kHmacBytes>;

/// HMAC-SHA256 (RFC 2104, FIPS 180-4) of `text`. OpenSSL allocates: nothing where it could not.
[[nodiscard]] std::optional<Hmac> hmac_sha256(std::span<const uint8_t> key,
                                              std::string_view text) noexcept;
/// Whether `given` is that of `text`; in a time that does not depend on either.
[[nodiscard]] bool is_hmac_sha256(std::span<const uint8_t> key, std::string_view text,
                                  const Hmac& given) noexcept;
/// In a time that depends on the lengths alone.
[[nodiscard]] bool equal_in_constant_time(std::span<const uint8_t> a,
                                          std::span<const uint8_t> b) noexcept;

/// 64 hexadecimal digits, or 43 characters of base64url without padding (RFC 4648 §5; one '=' may
/// follow); anything else is no signature.
[[nodiscard]] std::optional<Hmac> parse_hmac(std::string_view text) noexcept;
[[nodiscard]] std::string base64url(std::span<const uint8_t> bytes);
[[nodiscard]] std::string hex(std::span<const uint8_t> bytes);
/// Of an even number of hexadecimal digits; nothing for anything else. `out` takes them all.
[[nodiscard]] bool parse_hex(std::string_view text, std::span<uint8_t> out) noexcept;
/// SHA-256 of `text` (RFC 6920 names of URIs); nothing where OpenSSL had no memory for it.
[[nodiscard]] std::optional<Hmac> sha256(std::string_view text) noexcept;
/// Overwrites a secret before its memory goes back.
void wipe(std::span<char> secret) noexcept;

}  // namespace segue::edge
