#include "edge/server/server.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/entropy.h"
#include "base/limits.h"
#include "edge/metrics/registry.h"
#include "edge/overload/overload.h"
#include "edge/server/acceptor.h"
#include "edge/server/connection.h"
#include "edge/server/connection_budget.h"
#include "edge/server/listen_address.h"

namespace segue::edge {

namespace {

constexpr uint32_t kConnectionsKeptMax = 1024;

/// Whether `peer` may say whom a connection is from; over a unix socket whoever may open it.
bool is_trusted(const Peer& peer, std::span<const AddressRange> proxies) noexcept {
  const std::string_view address(peer.text.data(), peer.text_bytes);
  return peer.network == 0 || std::ranges::any_of(proxies, [&](const AddressRange& each) {
           return each.contains(address);
         });
}

}  // namespace

/// One listener: how its connections begin.
struct Listening {
  Server::Impl& server;
  const std::shared_ptr<const tls::ContextHolder> tls;
  const std::vector<AddressRange> proxies;
  std::unique_ptr<Acceptor> acceptor;
};

struct Server::Impl {
  Impl(EventLoop& loop, RequestHandler& handler, ConnectionLimits limits, uint64_t peer_seed)
      : context(loop, handler, limits) {
    context.peer_seed = peer_seed != 0 ? peer_seed : kernel_random();
  }

  static void on_accepted(int fd, const sockaddr_storage& from, void* listening);
  static void on_closed(Connection& connection, void* server);
  void adopt(int fd, const Peer& peer, std::shared_ptr<const tls::ServerContext> tls,
             std::span<const AddressRange> proxies);
  void make_room_for_handshake() noexcept;
  [[nodiscard]] bool try_take_place() noexcept;
  void turn_away(int fd, const Peer& peer, bool tls);
  void link(Connection& connection) noexcept;

  ConnectionContext context;
  const Overload* overload = nullptr;  // null: nothing is shed
  SpareDescriptor spare;
  std::vector<std::unique_ptr<Listening>> listeners;
  ObjectPool<Connection> pool{kConnectionsKeptMax};
  Connection* first = nullptr;
  Counter turned_away;                 // gauge: of the pool's, no clients
  ConnectionBudget* budget = nullptr;  // null: this loop's bound is the only one
  Signal emptied;
};

void Server::Impl::on_accepted(int fd, const sockaddr_storage& from, void* listening) {
  const auto& at = *static_cast<Listening*>(listening);
  at.server.adopt(fd, peer_of(from, at.server.context.peer_seed),
                  at.tls != nullptr ? at.tls->get() : nullptr, at.proxies);
}

/// Whoever has been at it longest is the likeliest never to end: a client needs two round trips.
void Server::Impl::make_room_for_handshake() noexcept {
  if (context.handshakes.count() < context.limits.tls_handshakes_max) return;
  Handshake& oldest = *context.handshakes.oldest();
  context.handshakes.move_to_end(oldest);  // it goes on its own turn; the next one takes another
  context.counters.handshakes_crowded_out.add();
  oldest.connection.cut();
}

void Server::Impl::adopt(int fd, const Peer& peer, std::shared_ptr<const tls::ServerContext> tls,
                         std::span<const AddressRange> proxies) {
  const auto refuse = [fd](Counter& counter) {
    counter.add();
    close(fd);
  };
  if (overload != nullptr && overload->sheds(Load::Connection))
    return refuse(context.counters.refused_overload);
  const bool proxied = !proxies.empty();
  if (proxied && !is_trusted(peer, proxies)) return refuse(context.counters.refused_proxy);
  // Balancers have as many connections as they need: the clients behind them are counted.
  auto lease = proxied ? ConnectionLease() : context.lease(peer.network);
  if (!lease) return refuse(context.counters.refused_client);
  if (!try_take_place()) return turn_away(fd, peer, tls != nullptr);
  if (tls != nullptr) make_room_for_handshake();
  Connection* connection = pool.make(context, fd, peer, std::move(tls), &Impl::on_closed, this);
  connection->keep(std::move(*lease));
  if (proxied) connection->expect_proxy_header();
  link(*connection);
}

void Server::Impl::link(Connection& connection) noexcept {
  connection.following = first;
  if (first != nullptr) first->previous = &connection;
  first = &connection;
}

bool Server::Impl::try_take_place() noexcept {
  if (pool.in_use() - turned_away.get() >= context.limits.connections_max) return false;
  return budget == nullptr || budget->try_take();
}

/// A player that is told tries again or goes elsewhere; one whose connection just ends guesses. No
/// handshake is spent on it.
void Server::Impl::turn_away(int fd, const Peer& peer, bool tls) {
  context.counters.refused_limit.add();
  if (tls || turned_away.get() >= kTurnedAwayMax) {
    close(fd);
    return;
  }
  turned_away.add();
  Connection* connection = pool.make(context, fd, peer, nullptr, &Impl::on_closed, this);
  link(*connection);
  connection->turn_away();
}

void Server::Impl::on_closed(Connection& connection, void* server) {
  auto& self = *static_cast<Impl*>(server);
  if (connection.previous != nullptr) connection.previous->following = connection.following;
  if (connection.following != nullptr) connection.following->previous = connection.previous;
  if (self.first == &connection) self.first = connection.following;
  if (connection.turned_away()) {
    self.turned_away.sub();
  } else if (self.budget != nullptr) {
    self.budget->give_back();
  }
  self.pool.destroy(&connection);
  if (self.first == nullptr) self.emptied.raise();
}

Server::Server(EventLoop& loop, RequestHandler& handler, ConnectionLimits limits,
               uint64_t peer_seed)
    : impl_(std::make_unique<Impl>(loop, handler, limits, peer_seed)) {
  // writev(2) has no MSG_NOSIGNAL; a client that left is an EPIPE, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
}

Server::~Server() { SEGUE_ASSERT(impl_->first == nullptr); }

void Server::listen(int listener, std::shared_ptr<const tls::ContextHolder> tls,
                    std::vector<AddressRange> proxies) {
  Listening& at = *impl_->listeners.emplace_back(
      std::make_unique<Listening>(*impl_, std::move(tls), std::move(proxies), nullptr));
  at.acceptor = std::make_unique<Acceptor>(impl_->context.loop, listener, impl_->spare,
                                           impl_->context.counters, &Impl::on_accepted, &at);
}

void Server::adopt(int fd, const Peer& peer, std::shared_ptr<const tls::ServerContext> tls,
                   std::span<const AddressRange> proxies) {
  impl_->context.counters.accepted.add();
  impl_->adopt(fd, peer, std::move(tls), proxies);
}

void Server::share(ConnectionBudget* budget) noexcept {
  SEGUE_ASSERT(impl_->first == nullptr);
  impl_->budget = budget;
}

void Server::limit_by(ClientLimits* limits) noexcept { impl_->context.client_limits = limits; }

void Server::shed_by(const Overload* overload) noexcept { impl_->overload = overload; }

void Server::stop_accepting() noexcept { impl_->listeners.clear(); }

Task<void> Server::drain(std::chrono::nanoseconds running_max) {
  stop_accepting();
  impl_->context.draining = true;
  for (Connection* each = impl_->first; each != nullptr; each = each->following) {
    each->start_drain();
  }
  const MonoTime until = impl_->context.loop.now() + running_max;
  while (impl_->first != nullptr) {
    if (co_await impl_->emptied.wait(until) == Wake::Deadline) break;
  }
  for (Connection* each = impl_->first; each != nullptr; each = each->following) each->cut();
  while (impl_->first != nullptr) (void)co_await impl_->emptied.wait(kNever);
}

Server::Usage Server::usage() const noexcept {
  const ConnectionContext& context = impl_->context;
  // Another thread may see one of them without the other.
  const uint64_t open = impl_->pool.in_use();
  return {static_cast<uint32_t>(open - std::min(open, impl_->turned_away.get())),
          context.request_memories.in_use(),
          context.large_buffers.in_use(),
          context.exchanges.in_use(),
          context.writer.unsent.in_use(),
          context.handshakes.count(),
          static_cast<uint32_t>(context.sealed.in_use().get()),
          context.http2.streams.in_use(),
          context.http2.memory_bytes.get()};
}

const ServerCounters& Server::counters() const noexcept { return impl_->context.counters; }

const Counter& Server::sealed_spent() const noexcept { return impl_->context.sealed.spent(); }

namespace {

template <auto Member>
double held(const void* server) {
  return static_cast<double>(static_cast<const Server*>(server)->usage().*Member);
}

}  // namespace

void register_metrics(Registry& registry, const Server& server, const char* listener) {
  register_metrics(registry, server.counters(), listener);
  const auto add = [&](const char* pool, Registry::Ask ask) {
    registry.add_gauge("segue_connection_pieces", "Pieces of memory held for requests, by pool.",
                       {{"listener", listener}, {"pool", pool}}, ask, &server);
  };
  add("request", &held<&Server::Usage::request_memories>);
  add("large_buffer", &held<&Server::Usage::large_buffers>);
  add("exchange", &held<&Server::Usage::exchanges>);
  add("unsent_text", &held<&Server::Usage::unsent_texts>);
  add("tls_batch", &held<&Server::Usage::sealed_batches>);
  add("http2_stream", &held<&Server::Usage::http2_streams>);
  registry.add_gauge("segue_http2_memory_bytes", "What nghttp2 holds for HTTP/2 connections.",
                     {{"listener", listener}}, &held<&Server::Usage::http2_bytes>, &server);
  registry.add_gauge("segue_tls_handshakes_in_flight", "TLS handshakes under way.",
                     {{"listener", listener}}, &held<&Server::Usage::handshakes>, &server);
  registry.add_counter("segue_tls_batches_spent_total",
                       "Responses cut because no buffer for sealed records was left.",
                       {{"listener", listener}}, server.sealed_spent());
}

}  // namespace segue::edge
