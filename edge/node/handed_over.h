// edge/node/handed_over.h - listening sockets of which there is one for all loops: those that the
// service manager opened, so that they outlive a restart, and unix sockets. Loop 0 accepts and
// hands each connection to the loop with the fewest. (Own TCP sockets are better spread by the
// kernel: SO_REUSEPORT, one per loop.)
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "edge/server/acceptor.h"
#include "edge/server/connection.h"
#include "edge/server/server.h"
#include "tls/context_holder.h"

namespace segue::edge {

class Registry;
struct ListenTls;
struct NodeOptions;

/// Connections on their way from loop 0 to another; over it loop 0 serves them itself.
inline constexpr uint32_t kHandOversMax = 4096;

/// Lives on loop 0. The servers outlive it.
class HandedOver {
 public:
  struct Target {
    EventLoop* loop = nullptr;
    Server* server = nullptr;
  };
  /// `targets` by loop; the first is loop 0. `peer_seed`: that of the servers.
  HandedOver(std::vector<Target> targets, uint64_t peer_seed);
  /// Every message has been taken: the loops have ended.
  ~HandedOver();
  HandedOver(const HandedOver&) = delete;
  HandedOver& operator=(const HandedOver&) = delete;

  /// Accepts from `listener`, which stays open: a duplicate of it is closed when we stop.
  /// `tls`, `proxies`: as of Server::listen().
  void listen(int listener, std::shared_ptr<const tls::ContextHolder> tls,
              std::vector<AddressRange> proxies);
  /// On loop 0. What was accepted before is on its way to its loop: a message posted to a loop
  /// after this comes behind it.
  void stop_accepting() noexcept { listeners_.clear(); }

  void register_metrics(Registry& registry) const;

 private:
  struct Message : PostNode {
    Message() : PostNode(&Message::arrive) {}
    static void arrive(PostNode& node);
    HandedOver* owner = nullptr;
    uint32_t target = 0;
    int fd = -1;
    Peer peer{};
    std::shared_ptr<const tls::ServerContext> tls;
    std::span<const AddressRange> proxies;  // of networks_
    std::atomic<bool> under_way{false};
  };
  struct Listening {
    HandedOver* owner = nullptr;
    std::shared_ptr<const tls::ContextHolder> tls;
    std::span<const AddressRange> proxies;  // of networks_
    std::unique_ptr<Acceptor> acceptor;
  };
  static void on_accepted(int fd, const sockaddr_storage& from, void* listening);
  [[nodiscard]] uint32_t emptiest() const noexcept;
  [[nodiscard]] Message* free_message() noexcept;

  // constant after construction
  const std::vector<Target> targets_;
  const uint64_t seed_;
  // of loop 0
  SpareDescriptor spare_;
  ServerCounters counters_;
  Counter handed_over_;
  std::vector<std::unique_ptr<Listening>> listeners_;
  // By listener; it outlives them, for connections that are still on their way.
  std::vector<std::unique_ptr<const std::vector<AddressRange>>> networks_;
  std::unique_ptr<std::array<Message, kHandOversMax>> messages_;
  uint32_t next_message_ = 0;
  // by loop: connections on their way there; atomic, any thread
  std::unique_ptr<std::atomic<uint32_t>[]> coming_;
};

/// Takes each listening address that one of `given` is already open for out of `options.listen`.
/// Returns how each of `given` speaks. The error names a socket that no setting asks for: nobody
/// would ever answer there.
[[nodiscard]] std::expected<std::vector<ListenTls>, std::string> claim_listeners(
    NodeOptions& options, const std::vector<int>& given);

}  // namespace segue::edge
