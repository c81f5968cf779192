#include "edge/node/worker.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/entropy.h"
#include "edge/node/handed_over.h"
#include "edge/node/node.h"
#include "edge/node/node_tls.h"
#include "edge/node/shared_parts.h"
#include "origin/make_fetcher.h"

namespace segue::edge {

Worker::Worker(std::unique_ptr<EventLoop> loop, const NodeOptions& options)
    : options_(options), loop_(std::move(loop)), limits_(kernel_random()) {}

Worker::~Worker() {
  // In reverse, inside a turn: members cancel timers and watches of their loop.
  Loop::Turn turn(*loop_);
  server_.reset();
  handler_.reset();
  delivery_.reset();
  fills_.reset();
  fetchers_.clear();
  local_.reset();
  disks_.clear();
}

std::expected<void, std::string> Worker::wire(SharedParts& shared) {
  Loop::Turn turn(*loop_);
  std::vector<Disk*> disks;
  for (const auto& disk : disks_) disks.push_back(disk.get());
  local_ = std::make_unique<cache::LocalStore>(*shared.store, *loop_, std::move(disks));
  std::vector<origin::Fetcher*> fetchers;
  for (size_t i = 0; i < options_.origins.size(); ++i) {
    auto fetcher = origin::make_fetcher(*loop_, options_.origins[i], shared.health[i]);
    if (!fetcher) {
      const Error& error = fetcher.error();
      return std::unexpected(fmt::format("origin {}: {} ({}{}{})",
                                         options_.origins[i].servers.front(), error.where,
                                         name_of(error.kind), error.os_errno != 0 ? ": " : "",
                                         error.os_errno != 0 ? strerror(error.os_errno) : ""));
    }
    fetchers.push_back(fetcher->get());
    fetchers_.push_back(std::move(*fetcher));
  }
  // The kernel spreads connections as it likes, so a loop may come to serve all of them.
  const uint32_t connections_max = std::min(options_.connections_max, kConnectionsPerLoopMax);
  const uint32_t of_loop = (options_.connections_max - 1) / options_.threads + 1;
  fills_ =
      std::make_unique<Fills>(*loop_, *local_, std::move(fetchers),
                              Fills::Options{.collections_max = options_.collections_per_loop_max,
                                             .node_name = options_.name});
  delivery_ =
      std::make_unique<Delivery>(*loop_, *local_, *fills_, shared.sites, shared.access_log.get(),
                                 Delivery::Options{.node_name = options_.name,
                                                   .tasks_max = connections_max,
                                                   .passes_max = options_.passes_per_loop_max,
                                                   .relays_max = options_.relays_per_loop_max,
                                                   .id_seed = kernel_random()});
  shared.misses.push_back(&delivery_->misses());
  handler_ = std::make_unique<PublicHandler>(*delivery_);
  server_ = std::make_unique<Server>(
      *loop_, *handler_,
      ConnectionLimits{.connections_max = connections_max,
                       .sealed_batches_max = options_.sealed_batches_per_loop_max,
                       .http2_streams_per_loop_max = std::min(of_loop, kHttp2StreamsPerLoopMax),
                       .http2_memory_per_loop_max = uint64_t{of_loop} * kHttp2MemoryFairBytes},
      shared.peer_seed);
  server_->share(shared.connections.get());
  fills_->shed_by(&shared.overload);
  server_->shed_by(&shared.overload);
  set_limits(options_.limits);
  fills_->meter_by(&limits_);
  delivery_->limit_by(&limits_);
  server_->limit_by(&limits_);
  return {};
}

std::expected<void, std::string> Worker::listen(std::vector<std::string>& addresses,
                                                const NodeTls& tls, HandedOver* spread) {
  Loop::Turn turn(*loop_);
  for (size_t i = 0; i < options_.listen.size(); ++i) {
    ListenAddress address = options_.listen[i];
    if (address.is_unix() && loop_->index() != 0)
      continue;  // SO_REUSEPORT is for TCP: loop 0 spreads the connections of unix sockets
    // With port 0 the kernel picks for loop 0, and the other loops join it there.
    if (loop_->index() != 0) {
      auto chosen = ListenAddress::parse(addresses[i]);
      if (!chosen)
        return std::unexpected(fmt::format("listen {}: {}", addresses[i], chosen.error().where));
      address = *chosen;
    }
    const auto unused = loop_->index() == 0 ? check_unused(address) : Result<Done>(Done{});
    auto listener = unused ? open_listener(address) : Result<int>(fail(unused.error()));
    if (!listener) {
      return std::unexpected(fmt::format("listen {}: {}: {}", options_.listen_texts[i],
                                         listener.error().where,
                                         strerror(listener.error().os_errno)));
    }
    if (loop_->index() == 0) addresses.push_back(listening_at(*listener));
    const ListenTls& how = options_.listen_tls[i];
    auto holder = how.on ? tls.holder(how.client_ca) : nullptr;
    if (address.is_unix()) {
      spread->listen(*listener, std::move(holder), how.proxies);
      close(*listener);  // it has a descriptor of its own
    } else {
      server_->listen(*listener, std::move(holder), how.proxies);
    }
  }
  return {};
}

void Worker::remove_socket_files() const {
  for (const ListenAddress& address : options_.listen) address.remove_socket_file();
}

Task<void> Worker::drain(std::chrono::nanoseconds running_max) {
  co_await server_->drain(running_max);
  co_await delivery_->drain();
  co_await fills_->drain();
  co_await local_->drain();
}

}  // namespace segue::edge
