#include "tls/ticket_keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/assert.h"
#include "base/entropy.h"

namespace segue::tls {
namespace {

// What opens tickets besides the key in use: with 8 hours each, a ticket lives at least 8 hours.
constexpr size_t kOwnKeys = 2;

TicketKey random_key() {
  TicketKey key;
  // Not OpenSSL's generators: they allocate, and a key that nobody made must not seal a ticket.
  fill_with_kernel_random(key.name);
  fill_with_kernel_random(key.seal);
  fill_with_kernel_random(key.sign);
  return key;
}

void forget(std::vector<TicketKey>& keys) {
  OPENSSL_cleanse(keys.data(), keys.size() * sizeof(TicketKey));
  keys.clear();
}

}  // namespace

std::expected<std::vector<TicketKey>, std::string> read_ticket_keys(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return std::unexpected(
        fmt::format("{}: cannot be read: {}", path, std::generic_category().message(errno)));
  struct stat facts{};
  std::array<unsigned char, TicketKey::kBytes * kTicketKeysMax + 1> bytes{};
  const bool regular = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
  const ssize_t got = regular ? read(fd, bytes.data(), bytes.size()) : -1;
  close(fd);
  const auto length = static_cast<size_t>(std::max<ssize_t>(got, 0));
  if (length == 0 || length % TicketKey::kBytes != 0 || length == bytes.size()) {
    return std::unexpected(
        fmt::format("{}: is no file of ticket keys; needed: 1 to {} times {} bytes", path,
                    kTicketKeysMax, TicketKey::kBytes));
  }
  if ((facts.st_mode & S_IROTH) != 0) {
    return std::unexpected(
        fmt::format("{}: everybody on this machine may read it (mode {:o}); make it 600", path,
                    facts.st_mode & 07777U));
  }
  std::vector<TicketKey> keys;
  for (size_t at = 0; at < length; at += TicketKey::kBytes) {
    TicketKey& key = keys.emplace_back();
    const unsigned char* from = bytes.data() + at;
    std::memcpy(key.name.data(), from, key.name.size());
    std::memcpy(key.seal.data(), from + TicketKey::kNameBytes, key.seal.size());
    std::memcpy(key.sign.data(), from + TicketKey::kNameBytes + TicketKey::kSecretBytes,
                key.sign.size());
  }
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return keys;
}

TicketKeys::TicketKeys(MonoTime now) : keys_{random_key()}, made_(now) {}
TicketKeys::~TicketKeys() { forget(keys_); }

void TicketKeys::take(std::vector<TicketKey> keys) {
  SEGUE_ASSERT(!keys.empty());
  const std::lock_guard lock(mutex_);
  forget(keys_);
  keys_ = std::move(keys);
  from_file_ = true;
}

void TicketKeys::use_own(MonoTime now) {
  const std::lock_guard lock(mutex_);
  if (!from_file_) return;
  forget(keys_);
  keys_ = {random_key()};
  made_ = now;
  from_file_ = false;
}

void TicketKeys::keep_up(MonoTime now) {
  const std::lock_guard lock(mutex_);
  if (from_file_ || now - made_ < kTicketKeyPeriod) return;
  keys_.insert(keys_.begin(), random_key());
  while (keys_.size() > kOwnKeys) {
    OPENSSL_cleanse(&keys_.back(), sizeof(TicketKey));
    keys_.pop_back();
  }
  made_ = now;
}

TicketKey TicketKeys::current() const {
  const std::lock_guard lock(mutex_);
  return keys_.front();
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const unsigned char> name) const {
  const std::lock_guard lock(mutex_);
  for (const TicketKey& key : keys_) {
    if (std::ranges::equal(key.name, name)) return Found{key, &key == &keys_.front()};
  }
  return std::nullopt;
}

}  // namespace segue::tls
