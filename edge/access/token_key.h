// edge/access/token_key.h - a key that tokens are checked by, read from a file of its own.
#pragma once
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace segue::edge {

/// Immutable; shared by all loops as a part of TokenRules. Never logged; wiped when it goes.
class TokenKey {
 public:
  enum class Kind : uint8_t {
    Secret,     // bytes of an HMAC: all forms
    PublicPem,  // RSA or EC, PEM: JWT alone, whose issuer keeps the private half
  };
  TokenKey(std::string id, Kind kind, std::string material)
      : id_(std::move(id)), kind_(kind), material_(std::move(material)) {}
  TokenKey(TokenKey&&) noexcept = default;
  TokenKey& operator=(TokenKey&&) = delete;
  TokenKey(const TokenKey&) = delete;
  ~TokenKey();

  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] bool is_secret() const noexcept { return kind_ == Kind::Secret; }
  /// Valid as long as the key.
  [[nodiscard]] std::span<const uint8_t> bytes() const noexcept {
    return {reinterpret_cast<const uint8_t*>(material_.data()), material_.size()};
  }

 private:
  std::string id_;
  Kind kind_;
  std::string material_;
};

/// Reads `path`: 32 to 128 hexadecimal digits (`openssl rand -hex 32`), or a PEM public key. Start,
/// reload and command line only: waits for the file system. The error is a sentence for the
/// operator and names the file, never what is in it: not there, neither of both, or a secret that
/// everybody may read.
[[nodiscard]] std::expected<TokenKey, std::string> read_token_key(const std::string& id,
                                                                  const std::string& path);

}  // namespace segue::edge
