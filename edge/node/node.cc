#include "edge/node/node.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/entropy.h"
#include "base/log.h"
#include "edge/node/admin.h"
#include "edge/node/descriptors.h"
#include "edge/node/drives.h"
#include "edge/node/handed_over.h"
#include "edge/node/loop_health.h"
#include "edge/node/metrics.h"
#include "edge/node/overload.h"
#include "edge/node/prefetch.h"
#include "edge/node/reload.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"
#include "origin/make_fetcher.h"

namespace segue::edge {
namespace {
constexpr std::chrono::seconds kUpkeepEvery{1};
constexpr uint32_t kWorkerTasksMax = 2;  // the stop, and on loop 0 the end
}  // namespace

/// A stop crosses the loops as messages: first loop 0 says no at /ready and stops accepting for the
/// others, then each worker drains on its own loop and tells loop 0; when all have, the admin
/// listener goes and every loop ends. Until then they all run, because a drained loop may still be
/// sent a wake-up by one that is not.
struct Node::Impl {
  struct StopMessage : PostNode {
    StopMessage() : PostNode(&StopMessage::arrive) {}
    static void arrive(PostNode& node) {
      auto& message = static_cast<StopMessage&>(node);
      message.impl->start_drain(message.index);
    }
    Impl* impl = nullptr;
    uint32_t index = 0;
  };
  struct DrainedMessage : PostNode {
    DrainedMessage() : PostNode(&DrainedMessage::arrive) {}
    static void arrive(PostNode& node) {
      static_cast<DrainedMessage&>(node).impl->worker_drained();
    }
    Impl* impl = nullptr;
  };

  explicit Impl(NodeOptions settings) : options(std::move(settings)) {}

  std::expected<void, std::string> build();
  std::expected<void, std::string> build_loops();
  std::expected<void, std::string> build_shared(std::vector<std::unique_ptr<cache::Drive>> drives);
  [[nodiscard]] std::expected<void, std::string> listen();
  void start_drain(uint32_t index);
  void worker_drained();
  Task<void> drain_worker(uint32_t index);
  Task<void> end();
  /// Clients get what descriptors are left by origins and drives.
  void limit_connections();
  void first_upkeep();
  Task<void> keep_up_once();
  Task<void> keep_up();
  void stop() noexcept;
  [[nodiscard]] bool is_idle() const noexcept;
  [[nodiscard]] bool retired_long_enough() noexcept;

  NodeOptions options;  // constant after build()
  SharedParts shared;   // outlives the workers: they are declared below it
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<TaskGroup>> groups;  // by worker
  std::unique_ptr<TaskGroup> upkeep;               // of loop 0
  std::unique_ptr<NodePrefetch> prefetch;          // of loop 0; null: off
  std::unique_ptr<AdminListener> admin;
  std::unique_ptr<NodeOverload> overload;   // of loop 0
  std::unique_ptr<HandedOver> handed_over;  // null: every loop has sockets of its own
  std::unique_ptr<LoopHealth> health;
  std::unique_ptr<Reload> reload;
  std::vector<std::string> addresses;
  std::vector<StopMessage> stop_messages;
  std::vector<DrainedMessage> drained_messages;
  Signal upkeep_wake;  // of loop 0
  // atomic, any thread
  std::atomic<bool> stopping{false};
  // of loop 0
  uint32_t drained = 0;
  std::optional<MonoTime> retiring_since;
};

std::expected<std::unique_ptr<Node>, std::string> Node::create(NodeOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto built = impl->build(); !built) return std::unexpected(built.error());
  return std::unique_ptr<Node>(new Node(std::move(impl)));
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() = default;

std::expected<void, std::string> Node::Impl::build_loops() {
  for (uint32_t i = 0; i < options.threads; ++i) {
    auto loop = EventLoop::create(
        i, shared.clock, {.io = options.io, .frame_bytes_max = options.frame_bytes_per_loop_max});
    if (!loop)
      return std::unexpected(
          fmt::format("event loop: {}: {}", loop.error().where, strerror(loop.error().os_errno)));
    workers.push_back(std::make_unique<Worker>(std::move(*loop), options));
  }
  const bool threads_instead = options.io != IoBackend::Threads &&
                               workers.front()->loop().io_backend() == IoBackend::Threads;
  if (threads_instead)
    log_warning("degraded",
                "what=io_threads: the kernel refused io_uring; drives are read by threads");
  shared.registry.set_degraded("io_threads", threads_instead);
  return {};
}

std::expected<void, std::string> Node::Impl::build_shared(
    std::vector<std::unique_ptr<cache::Drive>> drives) {
  cache::Store::Options store_options = options.store;
  store_options.policy = options.policy;
  store_options.hash_seed = drives.empty() ? kernel_random() : drives.front()->hash_seed();
  if (auto invalid = store_options.invalid()) return std::unexpected(*invalid);
  auto store = cache::Store::create(store_options, shared.codec, shared.clock, std::move(drives));
  if (!store)
    return std::unexpected(
        fmt::format("cache: {} ({})", store.error().where, name_of(store.error().kind)));
  shared.store = std::move(*store);
  shared.peer_seed = shared.store->hash("segue peers").low;
  const bool plain_pages = store_options.huge_pages && !shared.store->usage().huge_pages;
  if (plain_pages) log_warning("degraded", "what=plain_pages: no huge pages for the RAM tier");
  shared.registry.set_degraded("plain_pages", plain_pages);
  auto tokens = read_all_token_rules(options.tokens);
  if (!tokens) return std::unexpected(tokens.error());
  shared.sites = make_ref<SiteTable>(options.sites, std::move(*tokens));
  for (const origin::OriginOptions& origin_options : options.origins)
    shared.health.push_back(origin::make_health(origin_options));
  const std::vector<tls::Finding> origin_files = check_origin_tls(options.origins, shared.clock);
  for (const std::string& line : lines_of(origin_files)) log_warning("certificate", "{}", line);
  if (std::ranges::any_of(origin_files, &tls::Finding::unusable))
    return std::unexpected("a file of an origin cannot be used (segue check)");
  auto tls = NodeTls::create(options.tls, shared.clock);
  if (!tls) return std::unexpected(tls.error());
  shared.tls = std::move(*tls);
  if (options.listens_bytes_per_second > 0) {
    shared.listens = std::make_unique<Listens>(Listens::Options{
        .salt = kernel_random(), .bytes_per_second = options.listens_bytes_per_second});
  }
  if (!options.access_log.empty() || shared.listens) {
    auto log = AccessLog::create({.path = options.access_log,
                                  .sample = options.access_log_sample,
                                  .loops = options.threads,
                                  .listens = shared.listens.get()});
    if (!log)
      return std::unexpected(
          fmt::format("access log {}: {}", options.access_log, strerror(log.error().os_errno)));
    shared.access_log = std::move(*log);
  }
  return {};
}

void Node::Impl::limit_connections() {
  const uint64_t limit = raise_descriptor_limit();
  const uint32_t wanted = (options.connections_max - 1) / options.threads + 1;
  const uint32_t within = connections_within(limit, options.threads, options.origins.size(),
                                             options.drives.size(), wanted);
  if (within < wanted) {
    options.connections_max = within * options.threads;
    log_warning("connections_limited",
                "descriptors={} connections={}: raise the limit of open files", limit,
                options.connections_max);
  }
  shared.connections = std::make_unique<ConnectionBudget>(options.connections_max);
}

std::expected<void, std::string> Node::Impl::build() {
  limit_connections();
  if (auto built = build_loops(); !built) return built;
  auto drives = open_drives(options, workers, shared);
  if (!drives) return std::unexpected(drives.error());
  if (auto built = build_shared(std::move(*drives)); !built) return built;
  for (auto& worker : workers) {
    if (auto wired = worker->wire(shared); !wired) return wired;
    groups.push_back(std::make_unique<TaskGroup>(worker->loop(), kWorkerTasksMax));
  }
  upkeep = std::make_unique<TaskGroup>(workers.front()->loop(), 1);
  first_upkeep();
  register_node_metrics(shared, workers, options.origin_names);
  if (options.prefetch) prefetch = std::make_unique<NodePrefetch>(options, shared, workers);
  shared.drain_limit = options.drain_limit;
  shared.retire_limit = options.retire_limit;
  reload = std::make_unique<Reload>(shared, workers, prefetch.get());
  reload->register_metrics(shared.registry);
  if (auto listening = listen(); !listening) return listening;
  overload = std::make_unique<NodeOverload>(options, shared, workers);
  std::vector<Loop*> loops;
  for (auto& worker : workers) loops.push_back(&worker->loop());
  health = std::make_unique<LoopHealth>(loops);
  health->register_metrics(shared.registry);
  stop_messages = std::vector<StopMessage>(workers.size());
  drained_messages = std::vector<DrainedMessage>(workers.size());
  for (uint32_t i = 0; i < workers.size(); ++i) {
    stop_messages[i].impl = drained_messages[i].impl = this;
    stop_messages[i].index = i;
  }
  // Last, as nothing fails any more, and before anyone is told that the node is ready: what is
  // appended to a feed from then on is taken.
  if (prefetch) prefetch->start(admin->actions());
  return {};
}

std::expected<void, std::string> Node::Impl::listen() {
  admin = std::make_unique<AdminListener>(options, shared, *workers.front(), addresses);
  if (prefetch) admin->set_prefetcher(&prefetch->prefetcher());
  std::vector<int> given = options.handed_over;
  if (auto listening = admin->listen(given); !listening) return listening;
  auto claimed = claim_listeners(options, given);
  if (!claimed) return std::unexpected(claimed.error());
  if (!given.empty() || std::ranges::any_of(options.listen, &ListenAddress::is_unix)) {
    std::vector<HandedOver::Target> targets;
    for (auto& worker : workers) targets.push_back({&worker->loop(), &worker->server()});
    const Loop::Turn turn(workers.front()->loop());
    handed_over = std::make_unique<HandedOver>(std::move(targets), shared.peer_seed);
    handed_over->register_metrics(shared.registry);
    for (size_t i = 0; i < given.size(); ++i) {
      const ListenTls& how = (*claimed)[i];
      handed_over->listen(given[i], how.on ? shared.tls->holder(how.client_ca) : nullptr,
                          how.proxies);
    }
  }
  for (auto& worker : workers) {
    if (auto listening = worker->listen(addresses, *shared.tls, handed_over.get()); !listening)
      return listening;
  }
  for (const int fd : given) addresses.push_back(listening_at(fd));
  return {};
}

/// Leases sequences before the first request: a generation made without a lease could never be kept
/// on a drive, and after a restart the first asked for are the hottest.
void Node::Impl::first_upkeep() {
  EventLoop& loop = workers.front()->loop();
  {
    const Loop::Turn turn(loop);
    const bool spawned = upkeep->try_spawn(keep_up_once());
    SEGUE_ASSERT(spawned);
  }
  loop.run();
}

Task<void> Node::Impl::keep_up_once() {
  co_await workers.front()->local().upkeep();
  workers.front()->loop().stop();
}

std::vector<std::string> Node::addresses() const { return impl_->addresses; }

void Node::run() {
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < impl_->workers.size(); ++i) {
    threads.emplace_back([worker = impl_->workers[i].get()] { worker->loop().run(); });
    // Loop 0 is the main thread, which keeps the process's name.
    pthread_setname_np(threads.back().native_handle(), fmt::format("loop-{}", i).c_str());
  }
  {
    Loop::Turn turn(impl_->workers.front()->loop());
    const bool spawned = impl_->upkeep->try_spawn(impl_->keep_up());
    SEGUE_ASSERT(spawned);
  }
  impl_->overload->start();
  impl_->workers.front()->loop().run();
}

void Node::request_stop() noexcept { impl_->stop(); }

void Node::Impl::stop() noexcept {
  if (stopping.exchange(true)) return;
  workers.front()->loop().post(stop_messages.front());
}

std::expected<void, std::string> Node::reload(const NodeOptions& fresh) {
  return impl_->reload->apply(fresh);
}
void Node::note_refused_reload() noexcept { impl_->reload->note_refused(); }
bool Node::check_loops() noexcept { return impl_->health->check(); }
std::string Node::stuck_loops() const { return impl_->health->stuck(); }

void Node::reopen_logs() noexcept {
  if (impl_->shared.access_log) impl_->shared.access_log->reopen();
}

/// Retired (drain) and nobody is connected any more.
bool Node::Impl::is_idle() const noexcept {
  return std::ranges::all_of(
      workers, [](const auto& worker) { return worker->server().counters().active.get() == 0; });
}

Task<void> Node::Impl::keep_up() {
  while (!stopping.load(std::memory_order_relaxed)) {
    co_await workers.front()->local().upkeep();
    shared.tls->keep_up();
    if (admin->draining() && (is_idle() || retired_long_enough())) stop();
    co_await upkeep_wake.wait(workers.front()->loop().now() + kUpkeepEvery);
  }
}

/// Players that stay must not keep a machine from being taken away.
bool Node::Impl::retired_long_enough() noexcept {
  const MonoTime now = workers.front()->loop().now();
  if (!retiring_since) retiring_since = now;
  return now - *retiring_since >= shared.retire_limit.load(std::memory_order_relaxed);
}

void Node::Impl::start_drain(uint32_t index) {
  if (index == 0) {
    admin->start_stopping();
    upkeep_wake.raise();
    // The others are told behind the connections that are on their way to them.
    workers.front()->remove_socket_files();
    if (handed_over) handed_over->stop_accepting();
    for (uint32_t i = 1; i < workers.size(); ++i) workers[i]->loop().post(stop_messages[i]);
  }
  const bool spawned = groups[index]->try_spawn(drain_worker(index));
  SEGUE_ASSERT(spawned);
}

Task<void> Node::Impl::drain_worker(uint32_t index) {
  if (index == 0) overload->stop();
  if (index == 0) co_await upkeep->drain();
  if (index == 0 && prefetch) co_await prefetch->drain();
  co_await workers[index]->drain(shared.drain_limit.load(std::memory_order_relaxed));
  workers.front()->loop().post(drained_messages[index]);
}

void Node::Impl::worker_drained() {
  if (++drained < workers.size()) return;
  const bool spawned = groups.front()->try_spawn(end());
  SEGUE_ASSERT(spawned);
}

Task<void> Node::Impl::end() {
  co_await admin->drain();
  for (auto& worker : workers) worker->loop().stop();
}

}  // namespace segue::edge
