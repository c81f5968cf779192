// tls/ticket_keys.h - the keys that session tickets are sealed by (RFC 5077 §4, RFC 8446 §4.6.1).
// One object for all loops and listeners, so that a client resumes on whichever loop it lands; a
// fleet shares them by a file.
//
// Whoever has a key can read the sessions resumed by it under TLS 1.2, and forge tickets: keys made
// here change every kTicketKeyPeriod and are gone two periods later; those of a file change when
// the operator changes the file and reloads.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/loop/clock.h"

namespace segue::tls {

inline constexpr std::chrono::hours kTicketKeyPeriod{8};

struct TicketKey {
  static constexpr size_t kNameBytes = 16;
  static constexpr size_t kSecretBytes = 32;
  static constexpr size_t kBytes = kNameBytes + 2 * kSecretBytes;
  std::array<unsigned char, kNameBytes> name{};
  std::array<unsigned char, kSecretBytes> seal{};  // AES-256-CBC
  std::array<unsigned char, kSecretBytes> sign{};  // HMAC-SHA-256
  friend bool operator==(const TicketKey&, const TicketKey&) = default;
};

/// At most so many keys open tickets.
inline constexpr size_t kTicketKeysMax = 4;

/// The keys of a file: 1 to kTicketKeysMax times 80 random bytes (`openssl rand 80`), the first
/// seals, all open. Waits for the file. The error is a sentence for the operator.
[[nodiscard]] std::expected<std::vector<TicketKey>, std::string> read_ticket_keys(
    const std::string& path);

/// Any thread. The lock is held for the copy of one key.
class TicketKeys {
 public:
  /// Starts with a random key.
  explicit TicketKeys(MonoTime now);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  /// Keys of a file take the place of what was here; at least one.
  void take(std::vector<TicketKey> keys);
  /// Keys of a file are no longer used: begins with a random key again. Else nothing.
  void use_own(MonoTime now);
  /// Makes a new key when the one in use is a period old; not for keys of a file. Cheap: call it
  /// once a second.
  void keep_up(MonoTime now);

  /// The key that seals new tickets.
  [[nodiscard]] TicketKey current() const;
  struct Found {
    TicketKey key;
    bool is_current = false;  // else the client gets a new ticket
  };
  [[nodiscard]] std::optional<Found> find(std::span<const unsigned char> name) const;

 private:
  mutable std::mutex mutex_;
  std::vector<TicketKey> keys_;  // the first one seals
  MonoTime made_;
  bool from_file_ = false;
};

}  // namespace segue::tls
