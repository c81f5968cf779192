#include "edge/node/handed_over.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/assert.h"
#include "edge/metrics/registry.h"
#include "edge/node/node.h"
#include "edge/server/listen_address.h"

namespace segue::edge {

HandedOver::HandedOver(std::vector<Target> targets, uint64_t peer_seed)
    : targets_(std::move(targets)),
      seed_(peer_seed),
      messages_(std::make_unique<std::array<Message, kHandOversMax>>()),
      coming_(std::make_unique<std::atomic<uint32_t>[]>(targets_.size())) {
  for (Message& message : *messages_) message.owner = this;
}

HandedOver::~HandedOver() {
  const Loop::Turn turn(*targets_.front().loop);
  listeners_.clear();
  for (const Message& message : *messages_)
    SEGUE_ASSERT(!message.under_way.load(std::memory_order_acquire));
}

void HandedOver::listen(int listener, std::shared_ptr<const tls::ContextHolder> tls,
                        std::vector<AddressRange> proxies) {
  const auto& networks = *networks_.emplace_back(
      std::make_unique<const std::vector<AddressRange>>(std::move(proxies)));
  const int own = fcntl(listener, F_DUPFD_CLOEXEC, 3);
  SEGUE_ASSERT(own >= 0);  // start-up: descriptors are not spent
  Listening& at = *listeners_.emplace_back(
      std::make_unique<Listening>(this, std::move(tls), networks, nullptr));
  at.acceptor = std::make_unique<Acceptor>(*targets_.front().loop, own, spare_, counters_,
                                           &HandedOver::on_accepted, &at);
}

/// The loop with the fewest connections, those on their way there included: a burst is accepted
/// before the first of it has arrived anywhere.
uint32_t HandedOver::emptiest() const noexcept {
  uint32_t best = 0;
  uint64_t fewest = UINT64_MAX;
  for (uint32_t i = 0; i < targets_.size(); ++i) {
    const uint64_t connections = uint64_t{targets_[i].server->usage().connections} +
                                 coming_[i].load(std::memory_order_relaxed);
    if (connections >= fewest) continue;
    fewest = connections;
    best = i;
  }
  return best;
}

HandedOver::Message* HandedOver::free_message() noexcept {
  for (uint32_t tries = 0; tries < kHandOversMax; ++tries) {
    Message& message = (*messages_)[next_message_];
    next_message_ = (next_message_ + 1) % kHandOversMax;
    if (!message.under_way.load(std::memory_order_acquire)) return &message;
  }
  return nullptr;
}

void HandedOver::on_accepted(int fd, const sockaddr_storage& from, void* listening) {
  const auto& at = *static_cast<Listening*>(listening);
  HandedOver& self = *at.owner;
  auto tls = at.tls != nullptr ? at.tls->get() : nullptr;
  const Peer peer = peer_of(from, self.seed_);
  const uint32_t target = self.emptiest();
  Message* message = target == 0 ? nullptr : self.free_message();
  if (message == nullptr)
    return self.targets_.front().server->adopt(fd, peer, std::move(tls), at.proxies);
  message->target = target;
  message->fd = fd;
  message->peer = peer;
  message->tls = std::move(tls);
  message->proxies = at.proxies;
  message->under_way.store(true, std::memory_order_relaxed);
  self.coming_[target].fetch_add(1, std::memory_order_relaxed);
  self.handed_over_.add();
  self.targets_[target].loop->post(*message);
}

void HandedOver::Message::arrive(PostNode& node) {
  auto& message = static_cast<Message&>(node);
  HandedOver& owner = *message.owner;
  owner.targets_[message.target].server->adopt(message.fd, message.peer, std::move(message.tls),
                                               message.proxies);
  owner.coming_[message.target].fetch_sub(1, std::memory_order_relaxed);
  // Last: from here on loop 0 may use the message again.
  message.under_way.store(false, std::memory_order_release);
}

std::expected<std::vector<ListenTls>, std::string> claim_listeners(NodeOptions& options,
                                                                   const std::vector<int>& given) {
  std::vector<ListenTls> tls;
  const bool any = options.listen.empty();  // no [[listen]]: what was handed over is meant
  for (const int fd : given) {
    bool claimed = any;
    ListenTls& how = tls.emplace_back();
    for (size_t i = options.listen.size(); i-- > 0;) {
      if (!options.listen[i].is_of(fd)) continue;
      how = options.listen_tls[i];
      options.listen.erase(options.listen.begin() + static_cast<ptrdiff_t>(i));
      options.listen_tls.erase(options.listen_tls.begin() + static_cast<ptrdiff_t>(i));
      options.listen_texts.erase(options.listen_texts.begin() + static_cast<ptrdiff_t>(i));
      claimed = true;
    }
    if (!claimed) {
      return std::unexpected(
          fmt::format("the service manager handed over {}, which no [[listen]] names; add it "
                      "there, or take its ListenStream= out of the socket unit",
                      listening_at(fd)));
    }
    adopt_listener(fd);
  }
  return tls;
}

void HandedOver::register_metrics(Registry& registry) const {
  registry.add_counter(
      "segue_connections_handed_over_total",
      "Connections that loop 0 accepted for another loop (socket activation, unix sockets).", {},
      handed_over_);
  const auto add = [&](const char* name, const char* help, const Counter& counter) {
    registry.add_counter(name, help, {{"listener", "handed_over"}}, counter);
  };
  add("segue_accept_errors_total", "Failed accepts.", counters_.accept_errors);
  add("segue_accept_pauses_total", "Times a listener paused because accepting could not work.",
      counters_.accept_pauses);
}

}  // namespace segue::edge
