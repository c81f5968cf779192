// edge/node/worker.h - what one loop has of its own: its disks, its door to the store, fetchers,
// fills, delivery, server.
#pragma once
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "base/loop/event_loop.h"
#include "cache/store.h"
#include "edge/access/client_limits.h"
#include "edge/delivery/delivery.h"
#include "edge/fill/fills.h"
#include "edge/metrics/access_log.h"
#include "edge/server/server.h"
#include "origin/fetcher.h"

namespace segue::edge {

class HandedOver;
class NodeTls;
struct NodeOptions;
struct SharedParts;

/// The public listeners' handler: hands requests to delivery.
class PublicHandler final : public RequestHandler {
 public:
  explicit PublicHandler(Delivery& delivery) : delivery_(delivery) {}
  void serve(Exchange& exchange, std::string_view body) override {
    exchange.body = body;
    delivery_.serve(exchange);
  }
  void refuse(Exchange& exchange, int status, std::string_view reason) override {
    delivery_.refuse(exchange, status, reason);
  }
  [[nodiscard]] uint32_t body_bytes_max(const http::Request& request) const noexcept override {
    return delivery_.body_bytes_max(request);
  }

 private:
  Delivery& delivery_;
};

/// Built on the starting thread in two steps (drives are mounted in between), used on its loop's
/// thread, destroyed on the starting one.
class Worker {
 public:
  Worker(std::unique_ptr<EventLoop> loop, const NodeOptions& options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// The second step: everything that needs the store. The error is a sentence for the operator.
  [[nodiscard]] std::expected<void, std::string> wire(SharedParts& shared);
  /// Opens this loop's own listening sockets. Reports each address once, on loop 0, which opens
  /// unix sockets for all and hands them to `spread`.
  [[nodiscard]] std::expected<void, std::string> listen(std::vector<std::string>& addresses,
                                                        const NodeTls& tls, HandedOver* spread);
  /// While the listeners are still ours: later a file may belong to a process that came after us.
  void remove_socket_files() const;

  /// From here on requests go by `sites`. On the worker's loop.
  void set_sites(Ref<const SiteTable> sites) { delivery_->set_sites(std::move(sites)); }

  /// From here on clients are limited so. On the worker's loop, or before it runs.
  void set_limits(const LimitOptions& limits) { limits_.configure(limits); }

  [[nodiscard]] EventLoop& loop() noexcept { return *loop_; }
  [[nodiscard]] cache::LocalStore& local() noexcept { return *local_; }
  [[nodiscard]] std::vector<std::unique_ptr<Disk>>& disks() noexcept { return disks_; }
  [[nodiscard]] Server& server() noexcept { return *server_; }
  [[nodiscard]] const Server& server() const noexcept { return *server_; }
  [[nodiscard]] const ClientLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] const Delivery& delivery() const noexcept { return *delivery_; }
  [[nodiscard]] const Fills& fills() const noexcept { return *fills_; }
  [[nodiscard]] Fills& fills() noexcept { return *fills_; }
  [[nodiscard]] Delivery& delivery() noexcept { return *delivery_; }
  [[nodiscard]] const std::vector<std::unique_ptr<origin::Fetcher>>& fetchers() const noexcept {
    return fetchers_;
  }

  /// Stops accepting, lets responses finish, ends fills and drive operations. On the worker's loop.
  [[nodiscard]] Task<void> drain(std::chrono::nanoseconds running_max);

 private:
  const NodeOptions& options_;
  std::unique_ptr<EventLoop> loop_;
  std::vector<std::unique_ptr<Disk>> disks_;
  std::unique_ptr<cache::LocalStore> local_;
  std::vector<std::unique_ptr<origin::Fetcher>> fetchers_;
  ClientLimits limits_;  // outlives what counts by it
  std::unique_ptr<Fills> fills_;
  std::unique_ptr<Delivery> delivery_;
  std::unique_ptr<PublicHandler> handler_;
  std::unique_ptr<Server> server_;
};

}  // namespace segue::edge
