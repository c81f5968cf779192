// edge/main.cc - the segue program: reads settings, turns them into each module's options, runs a
// verb. The one file that knows conf.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

#include "base/log.h"
#include "conf/command_line.h"
#include "conf/limits_table.h"
#include "conf/load.h"
#include "conf/plan.h"
#include "edge/cli/admin_client.h"
#include "edge/node/format_drive.h"
#include "edge/node/node.h"

namespace segue {
namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr uint64_t kSecondsPerDay = 24 * 3600;

IoBackend io_of(conf::IoBackend io) {
  switch (io) {
    case conf::IoBackend::Auto:
      return IoBackend::Auto;
    case conf::IoBackend::Uring:
      return IoBackend::Uring;
    case conf::IoBackend::Threads:
      return IoBackend::Threads;
  }
  return IoBackend::Auto;
}

origin::Fetcher::ValidatorRule validator_of(conf::ValidatorRule rule) {
  switch (rule) {
    case conf::ValidatorRule::Etag:
      return origin::Fetcher::ValidatorRule::Etag;
    case conf::ValidatorRule::Mtime:
      return origin::Fetcher::ValidatorRule::LastModified;
    case conf::ValidatorRule::Length:
      return origin::Fetcher::ValidatorRule::Length;
  }
  return origin::Fetcher::ValidatorRule::Etag;
}

edge::QueryMode query_of(conf::QueryMode mode) {
  switch (mode) {
    case conf::QueryMode::Keep:
      return edge::QueryMode::Keep;
    case conf::QueryMode::Drop:
      return edge::QueryMode::Drop;
    case conf::QueryMode::Listed:
      return edge::QueryMode::List;
  }
  return edge::QueryMode::Keep;
}

origin::OriginOptions origin_of(const conf::OriginSettings& settings,
                                const std::string& node_name) {
  origin::OriginOptions options;
  for (const conf::Server& server : settings.servers) options.servers.push_back(server.text);
  options.timeout = {.connect = settings.timeout.connect,
                     .first_byte = settings.timeout.first_byte,
                     .idle = settings.timeout.idle,
                     .total = settings.timeout.total};
  options.retries = settings.retries;
  options.breaker_failures = settings.breaker.failures;
  options.breaker_open_for = settings.breaker.open_for;
  options.ca_file = settings.ca;
  options.validator = validator_of(settings.validator);
  options.redirect_hosts = settings.redirect_hosts;
  options.node_name = node_name;
  return options;
}

Ref<const edge::Site> site_of(const conf::SiteSettings& settings, const conf::Settings& all,
                              uint32_t index) {
  auto site = make_ref<edge::Site>();
  site->name = settings.name;
  site->hosts = settings.hosts;
  site->index = index;
  for (uint32_t i = 0; i < all.origins.size(); ++i) {
    if (all.origins[i].name == settings.origin) site->origin = i;
  }
  site->query = query_of(settings.query);
  site->query_names = settings.query_names;
  site->forward_fields = settings.fields;
  site->ttl.default_lifetime = duration_cast<seconds>(settings.ttl.default_lifetime);
  site->ttl.negative = duration_cast<seconds>(settings.ttl.negative);
  if (settings.ttl.override_lifetime)
    site->ttl.override_lifetime = duration_cast<seconds>(*settings.ttl.override_lifetime);
  site->ttl.stale_if_error = duration_cast<seconds>(settings.ttl.stale_if_error);
  site->ttl.stale_while_revalidate = duration_cast<seconds>(settings.ttl.stale_while_revalidate);
  site->cors = !settings.cors.empty();
  site->cors_origin = settings.cors;
  return site;
}

Result<edge::ListenAddress> address_of(const conf::Address& address) {
  return edge::ListenAddress::parse(address.text);
}

/// Everything that differs between what an operator writes and what a module takes is decided here.
std::expected<edge::NodeOptions, std::string> node_options(const conf::Settings& settings,
                                                           const conf::Plan& plan) {
  edge::NodeOptions options;
  options.name = settings.node.name;
  options.threads = plan.threads;
  options.io = io_of(settings.node.io);
  for (const conf::Address& address : settings.listen) {
    auto parsed = address_of(address);
    if (!parsed) return std::unexpected("listen " + address.text + ": " + parsed.error().where);
    options.listen.push_back(*parsed);
    options.listen_texts.push_back(address.text);
  }
  if (settings.admin) {
    auto parsed = address_of(*settings.admin);
    if (!parsed)
      return std::unexpected("admin " + settings.admin->text + ": " + parsed.error().where);
    options.admin = *parsed;
  }
  options.store.ram_bytes = plan.buffers_bytes;
  options.store.representations_bytes_max = plan.representations_bytes;
  options.policy = settings.cache.policy == conf::CachePolicy::Lru ? cache::EvictionPolicy::Lru
                                                                   : cache::EvictionPolicy::S3Fifo;
  for (size_t i = 0; i < settings.cache.drives.size(); ++i) {
    const conf::DriveSettings& drive = settings.cache.drives[i];
    options.drives.push_back(
        {.path = drive.path,
         .size_bytes = plan.drives[i].size_bytes,
         .sparse = drive.sparse,
         .write_bytes_per_second = drive.writes_bytes_per_day / kSecondsPerDay});
  }
  for (const conf::OriginSettings& origin : settings.origins)
    options.origins.push_back(origin_of(origin, options.name));
  for (uint32_t i = 0; i < settings.sites.size(); ++i)
    options.sites.push_back(site_of(settings.sites[i], settings, i));
  if (settings.log.access != "off") options.access_log = settings.log.access;
  options.connections_per_loop_max = static_cast<uint32_t>(std::min<uint64_t>(
      kConnectionsPerLoopMax, std::max<uint64_t>(plan.connections / plan.threads, 1)));
  return options;
}

/// SIGTERM and SIGINT stop the node, SIGHUP reopens its logs. Blocked in every thread and waited
/// for in one, so that no handler runs in the middle of anything.
class SignalThread {
 public:
  SignalThread() {
    sigemptyset(&signals_);
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  void start(edge::Node& node) {
    thread_ = std::thread([this, &node] { run(node); });
  }
  ~SignalThread() { stop(); }
  /// Before the node goes: a signal that came last may still be telling it to stop.
  void stop() {
    if (!thread_.joinable()) return;
    ended_ = true;
    pthread_kill(thread_.native_handle(), SIGHUP);  // ends sigwait()
    thread_.join();
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  void run(edge::Node& node) {
    for (;;) {
      int signal = 0;
      if (sigwait(&signals_, &signal) != 0 || ended_) return;
      if (signal == SIGHUP) {
        log_info("reopen", "signal=SIGHUP");
        node.reopen_logs();
      } else {
        log_info("stopping", "signal={}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
        node.request_stop();
      }
    }
  }
  sigset_t signals_{};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

int serve(const conf::Flags& flags) {
  const conf::Loaded loaded = conf::load(flags);
  if (!loaded.is_right()) {
    for (const conf::Mistake& mistake : loaded.mistakes)
      std::fprintf(stderr, "segue: %s\n", mistake.line().c_str());
    return 2;
  }
  set_log_level(loaded.settings.log.level);
  auto options = node_options(loaded.settings, loaded.plan);
  if (!options) {
    std::fprintf(stderr, "segue: %s\n", options.error().c_str());
    return 2;
  }
  SignalThread signals;  // before any other thread, which inherit the blocked signals
  auto node = edge::Node::create(std::move(*options));
  if (!node) {
    std::fprintf(stderr, "segue: %s\n", node.error().c_str());
    return 1;
  }
  for (const std::string& address : (*node)->addresses())
    log_info("listening", "address={}", address);
  signals.start(**node);
  log_info("ready", "version={}", SEGUE_VERSION);
  (*node)->run();
  signals.stop();
  log_info("stopped", "version={}", SEGUE_VERSION);
  return 0;
}

int print(const conf::Outcome& outcome) {
  std::fputs(outcome.text.c_str(), outcome.exit_code == 0 ? stdout : stderr);
  return outcome.exit_code;
}

edge::AdminPlace place_of(const conf::Address& admin) {
  return {.unix_path = admin.unix_path, .ip = admin.ip, .port = admin.port};
}

int purge(const conf::Command& command) {
  int worst = 0;
  const auto purge_all = [&](std::string_view scope, const std::vector<std::string>& urls) {
    for (const std::string& url : urls) {
      const edge::AdminCall call =
          edge::purge_call(scope, url, command.purge.soft, command.purge.cut);
      worst = std::max(worst, edge::ask_and_print(place_of(command.admin), call));
    }
  };
  purge_all("url", command.purge.urls);
  purge_all("prefix", command.purge.prefixes);
  return worst;
}

int format_drive(const conf::DriveArguments& drive, bool wipe) {
  auto done = edge::format_drive({.path = drive.path,
                                  .size_bytes = drive.size_bytes,
                                  .sparse = drive.sparse,
                                  .serial = drive.serial,
                                  .wipe = wipe});
  if (!done) {
    std::fprintf(stderr, "segue: %s\n", done.error().c_str());
    return 1;
  }
  std::puts(done->c_str());
  return 0;
}

int run(int argc, char** argv) {
  auto command = conf::parse_command_line(argc, argv);
  if (!command) return print(command.error());
  switch (command->verb) {
    case conf::Verb::Serve:
      return serve(command->flags);
    case conf::Verb::Check:
      return print(conf::check(command->flags));
    case conf::Verb::Version:
      return std::puts("segue " SEGUE_VERSION), 0;
    case conf::Verb::Limits:
      return std::fputs(conf::print_limits().c_str(), stdout), 0;
    case conf::Verb::Drain:
      return edge::ask_and_print(place_of(command->admin), edge::drain_call());
    case conf::Verb::Stats:
      return edge::ask_and_print(place_of(command->admin), edge::stats_call());
    case conf::Verb::Explain:
      return edge::ask_and_print(place_of(command->admin), edge::explain_call(command->url));
    case conf::Verb::Purge:
      return purge(*command);
    case conf::Verb::CacheFormat:
      return format_drive(command->drive, /*wipe=*/false);
    case conf::Verb::CacheWipe:
      return format_drive(command->drive, /*wipe=*/true);
  }
}

}  // namespace
}  // namespace segue

int main(int argc, char** argv) { return segue::run(argc, argv); }
