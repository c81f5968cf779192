#include "edge/access/token_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "edge/access/hmac.h"
#include "http/header_fields.h"

namespace segue::edge {
namespace {

constexpr size_t kKeyFileBytesMax = 16 * 1024;
// 128 bits at least; HMAC-SHA256 gains nothing beyond its block of 64 bytes.
constexpr size_t kSecretBytesMin = 16;
constexpr size_t kSecretBytesMax = 64;

std::string_view without_line_end(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return http::trim_whitespace(text);
}

/// A file's text, wiped when it goes.
struct SecretText {
  std::string text;
  SecretText() = default;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText() { wipe(text); }
};

}  // namespace

TokenKey::~TokenKey() { wipe(material_); }

std::expected<TokenKey, std::string> read_token_key(const std::string& id,
                                                    const std::string& path) {
  const auto refuse = [&](std::string_view why) {
    return std::unexpected(fmt::format("token key {}: {}: {}", id, path, why));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return refuse(strerror(errno));
  struct stat facts{};
  SecretText file;
  file.text.resize(kKeyFileBytesMax + 1);
  const bool regular = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
  const ssize_t bytes = regular ? read(fd, file.text.data(), file.text.size()) : 0;
  close(fd);
  if (!regular) return refuse("is no regular file");
  if (bytes < 0 || static_cast<size_t>(bytes) > kKeyFileBytesMax) return refuse("is no key file");
  const std::string_view text =
      without_line_end(std::string_view(file.text).substr(0, static_cast<size_t>(bytes)));
  if (text.starts_with("-----BEGIN PUBLIC KEY-----"))
    return TokenKey(id, TokenKey::Kind::PublicPem, std::string(text) + "\n");
  if ((facts.st_mode & S_IRWXO) != 0)
    return refuse("everybody may read this secret; allowed: owner and group (chmod o= FILE)");
  SecretText secret;
  secret.text.resize(std::min(text.size() / 2, kSecretBytesMax));
  if (secret.text.size() < kSecretBytesMin ||
      !parse_hex(text, {reinterpret_cast<uint8_t*>(secret.text.data()), secret.text.size()}))
    return refuse("is no key; allowed: 32 to 128 hexadecimal digits, or a PEM public key");
  return TokenKey(id, TokenKey::Kind::Secret, std::move(secret.text));
}

}  // namespace segue::edge
