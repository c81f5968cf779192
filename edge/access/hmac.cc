#include "edge/access/hmac.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/hex.h"

namespace segue::edge {
namespace {

constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::optional<Hmac> parse_base64url(std::string_view text) noexcept {
  Hmac out;
  size_t written = 0;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const size_t value = kBase64Url.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    if (written == out.size()) return std::nullopt;
    out[written++] = static_cast<uint8_t>(bits >> held);
  }
  // The bits left over are 0, or one signature would have four spellings.
  if (written != out.size() || (bits & ((1U << held) - 1)) != 0) return std::nullopt;
  return out;
}

}  // namespace

std::optional<Hmac> hmac_sha256(std::span<const uint8_t> key, std::string_view text) noexcept {
  Hmac out{};
  unsigned int bytes = 0;
  const auto* made = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(text),
                          text.size(), out.data(), &bytes);
  if (made == nullptr || bytes != out.size()) return std::nullopt;
  return out;
}

bool is_hmac_sha256(std::span<const uint8_t> key, std::string_view text,
                    const Hmac& given) noexcept {
  const auto made = hmac_sha256(key, text);
  return made && equal_in_constant_time(*made, given);
}

bool equal_in_constant_time(std::span<const uint8_t> a, std::span<const uint8_t> b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool parse_hex(std::string_view text, std::span<uint8_t> out) noexcept {
  if (text.size() != 2 * out.size()) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

std::optional<Hmac> parse_hmac(std::string_view text) noexcept {
  Hmac out;
  if (text.size() == 2 * kHmacBytes)
    return parse_hex(text, out) ? std::optional<Hmac>(out) : std::nullopt;
  constexpr size_t kBase64Chars = 43;
  if (text.size() == kBase64Chars + 1 && text.back() == '=') text.remove_suffix(1);
  if (text.size() != kBase64Chars) return std::nullopt;
  return parse_base64url(text);
}

std::string base64url(std::span<const uint8_t> bytes) {
  std::string text;
  uint32_t bits = 0;
  int held = 0;
  for (const uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    held += 8;
    while (held >= 6) {
      held -= 6;
      text += kBase64Url[(bits >> held) & 63];
    }
  }
  if (held > 0) text += kBase64Url[(bits << (6 - held)) & 63];
  return text;
}

std::string hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<Hmac> sha256(std::string_view text) noexcept {
  // What is left in `out` of an earlier call must never pass for the hash of this text.
  Hmac out{};
  if (SHA256(bytes_of(text), text.size(), out.data()) == nullptr) return std::nullopt;
  return out;
}

void wipe(std::span<char> secret) noexcept { OPENSSL_cleanse(secret.data(), secret.size()); }

}  // namespace segue::edge
