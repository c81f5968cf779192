// edge/prefetch/nats_link.h - one connection to a NATS server and the durable consumer of one
// subject that is read over it (libnats).
//
// Everything but interrupt() may wait, for the network or for libnats's own lock, which its other
// threads hold while they connect: so a link belongs to a thread of its own, never to a loop. It
// does not connect again by itself; whoever has it makes another.
#pragma once
#include <chrono>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/loop/clock.h"

namespace segue::edge {

using std::chrono::milliseconds;

/// Files are read at each connect, so that what they hold may be renewed at any time.
struct NatsOptions {
  std::vector<std::string> servers;  // "nats://host:port" or "tls://host:port"
  std::string subject;
  std::string stream;       // empty: whichever has the subject
  std::string consumer;     // durable; made where it does not exist
  bool from_start = false;  // one that is made begins with the oldest message kept, else with new
  std::string client_name;  // as servers show it
  std::string user, password_file;
  std::string token_file;
  std::string credentials_file;
  std::string ca_file;  // empty: the system's
  std::string certificate_file, key_file;
  std::string server_name;  // empty: the server's host
};

/// A message that was fetched and not yet answered. Valid until the next fetch().
struct NatsMessage {
  std::string_view text;
  uint64_t sequence = 0;  // in the stream
  WallTime stored{};      // when the stream took it
  bool again = false;     // it was delivered before
};

class NatsLink {
 public:
  /// Waits up to a few seconds: connects to one of the servers and finds or makes the consumer. The
  /// error is a sentence.
  [[nodiscard]] static std::expected<std::unique_ptr<NatsLink>, std::string> open(
      const NatsOptions& options, size_t server);
  ~NatsLink();
  NatsLink(const NatsLink&) = delete;
  NatsLink& operator=(const NatsLink&) = delete;

  /// Waits up to `most` for the next message and takes those behind it that are there already, at
  /// most kNatsMessagesInFlightMax; nothing where none came. An error: the link is of no use any
  /// more.
  [[nodiscard]] std::expected<std::span<const NatsMessage>, std::string> fetch(milliseconds most);
  /// One answer to each message of the last fetch(); without one the server delivers it again after
  /// its time to acknowledge. What the server does not hear has the same effect.
  void acknowledge(size_t message) noexcept;
  /// Waits until the server has it.
  void acknowledge_and_wait(size_t message) noexcept;
  /// Never again.
  void refuse(size_t message) noexcept;
  /// Again, after `delay`.
  void put_back(size_t message, milliseconds delay) noexcept;
  /// Sends what answers are still to be sent; waits up to a second.
  void flush() noexcept;
  /// Messages of the subject that the consumer has not delivered yet, as last heard.
  [[nodiscard]] uint64_t behind() const noexcept;

  /// Ends what waits now, and the link. Any thread.
  void interrupt() noexcept;

  /// What is wrong with the files that the options name; a sentence each.
  [[nodiscard]] static std::vector<std::string> check(const NatsOptions& options);

 private:
  struct Impl;
  explicit NatsLink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::edge
