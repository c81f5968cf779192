// edge/main.cc - the segue program: reads settings, turns them into each module's options, runs a
// verb. The one file that knows conf.
#include <algorithm>
#include <cstdio>
#include <expected>
#include <string>

#include "base/log.h"
#include "base/version.h"
#include "conf/changes.h"
#include "conf/command_line.h"
#include "conf/limits_table.h"
#include "conf/load.h"
#include "conf/plan.h"
#include "conf/settings_table.h"
#include "edge/access/sign.h"
#include "edge/cli/admin_client.h"
#include "edge/cli/top.h"
#include "edge/node/format_drive.h"
#include "edge/node/node.h"
#include "edge/node/service_manager.h"
#include "edge/node/signal_thread.h"
#include "edge/replay/replay_command.h"

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

cache::EvictionPolicy policy_of(conf::CachePolicy policy) {
  return policy == conf::CachePolicy::Lru ? cache::EvictionPolicy::Lru
                                          : cache::EvictionPolicy::S3Fifo;
}

cache::DriveShares drive_shares_of(const conf::ShareSettings& shares) {  // each at most 100
  return {.k64 = static_cast<uint8_t>(shares.k64),
          .k128 = static_cast<uint8_t>(shares.k128),
          .k256 = static_cast<uint8_t>(shares.k256)};
}

origin::OriginOptions origin_of(const conf::OriginSettings& settings,
                                const std::string& node_name) {
  origin::OriginOptions options;
  for (const conf::Server& server : settings.servers) options.servers.push_back(server.text);
  options.timeout = {.connect = settings.timeout.connect,
                     .first_byte = settings.timeout.first_byte,
                     .idle = settings.timeout.idle,
                     .total = settings.timeout.total};
  options.fetches_max = settings.fetches;
  options.idle_connections_max = std::min(options.idle_connections_max, settings.fetches);
  options.retries = settings.retries;
  options.breaker_failures = settings.breaker.failures;
  options.breaker_open_for = settings.breaker.open_for;
  options.ca_file = settings.ca;
  options.certificate_file = settings.certificate;
  options.key_file = settings.key;
  options.validator = validator_of(settings.validator);
  options.redirect_hosts = settings.redirect_hosts;
  options.node_name = node_name;
  return options;
}

edge::TokenForm form_of(conf::TokenForm form) {
  switch (form) {
    case conf::TokenForm::Segue:
      return edge::TokenForm::Segue;
    case conf::TokenForm::EdgeAuth:
      return edge::TokenForm::EdgeAuth;
    case conf::TokenForm::Expires:
      return edge::TokenForm::Expires;
    case conf::TokenForm::Jwt:
      return edge::TokenForm::Jwt;
  }
  return edge::TokenForm::Segue;
}

edge::TokenOptions tokens_of(const conf::TokenSettings& settings) {
  edge::TokenOptions options;
  options.name = settings.name;
  options.expired_status = static_cast<uint16_t>(settings.expired_status);
  options.issuer = settings.issuer;
  options.audience = settings.audience;
  for (const conf::TokenKeySettings& key : settings.keys)
    options.keys.push_back({key.id, key.path});
  for (const conf::TokenForm form : settings.forms) options.forms.push_back(form_of(form));
  return options;
}

std::vector<edge::TokenOptions> all_tokens_of(const conf::Settings& settings) {
  std::vector<edge::TokenOptions> all;
  for (const conf::SiteSettings& site : settings.sites) all.push_back(tokens_of(site.tokens));
  return all;
}

edge::LimitOptions limits_of(const conf::LimitSettings& settings) {
  return {.connections = settings.connections,
          .requests_per_second = settings.requests_per_second,
          .miss_bytes_per_second = settings.miss_bytes_per_second,
          .by_token = settings.by == conf::LimitBy::Token};
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
  site->forward_fields = settings.forward;
  site->relay_methods = settings.methods;
  site->tag_fields = settings.tags;
  site->ttl.default_lifetime = duration_cast<seconds>(settings.ttl.default_lifetime);
  site->ttl.negative = duration_cast<seconds>(settings.ttl.negative);
  if (settings.ttl.override_lifetime)
    site->ttl.override_lifetime = duration_cast<seconds>(*settings.ttl.override_lifetime);
  site->ttl.stale_if_error = duration_cast<seconds>(settings.ttl.stale_if_error);
  site->ttl.stale_while_revalidate = duration_cast<seconds>(settings.ttl.stale_while_revalidate);
  if (settings.pace.bitrate_kbits != 0) {
    site->pace = {
        .bytes_per_second = uint64_t{settings.pace.bitrate_kbits} * 125 * settings.pace.times,
        .burst_bytes = settings.pace.burst_bytes};
  }
  const edge::TokenOptions tokens = tokens_of(settings.tokens);
  if (!tokens.keys.empty()) site->token_names = edge::token_names(tokens.forms, tokens.name);
  site->cors = settings.cors;
  return site;
}

Result<edge::ListenAddress> address_of(const conf::Address& address) {
  return edge::ListenAddress::parse(address.text);
}

edge::Prefetcher::Options prefetch_of(const conf::PrefetchSettings& settings,
                                      uint64_t buffers_bytes) {
  edge::Prefetcher::Options options;
  options.plan = {
      .fetches = settings.mode == conf::PrefetchMode::On,
      .bytes_per_second = settings.bytes_per_second,
      .orders_max = settings.fills,
      .held_bytes_max = buffers_bytes / 100 * settings.ram_percent,
      .bytes_per_day = settings.bytes_per_day != 0 ? settings.bytes_per_day : UINT64_MAX,
      .probability_min = settings.probability_percent / 100.0,
      .lead_max = duration_cast<seconds>(settings.lead),
      .rest = settings.rest,
      .precision_floor = settings.floor_percent / 100.0};
  options.head = settings.head;
  options.hint_bytes_per_second = settings.bytes_per_second / 100 * settings.hints_percent;
  if (settings.predictor == conf::PrefetchMode::Observe)
    options.learn = edge::Prefetcher::Learn::Observe;
  if (settings.predictor == conf::PrefetchMode::On) options.learn = edge::Prefetcher::Learn::Fetch;
  options.memory = settings.memory;
  options.predictor.memory_bytes = settings.predictor_memory;
  return options;
}

edge::NatsOptions nats_of(const conf::NatsSettings& settings, const std::string& node_name) {
  edge::NatsOptions options;
  for (const conf::NatsServer& server : settings.servers) options.servers.push_back(server.text);
  options.subject = settings.subject;
  options.stream = settings.stream;
  options.consumer = settings.consumer;
  options.client_name = "segue " + node_name;
  options.user = settings.user;
  options.password_file = settings.password;
  options.token_file = settings.token;
  options.credentials_file = settings.credentials;
  options.ca_file = settings.ca;
  options.certificate_file = settings.certificate;
  options.key_file = settings.key;
  options.server_name = settings.server_name;
  return options;
}

/// A feed that is new to a node is of use from now on; of purges it must not miss one that is kept.
std::vector<edge::NatsFeed::Options> nats_feeds_of(const conf::NatsSettings& settings,
                                                   const std::string& node_name) {
  std::vector<edge::NatsFeed::Options> feeds;
  if (settings.servers.empty()) return feeds;
  const bool apart = !settings.purge_subject.empty();
  feeds.push_back({.nats = nats_of(settings, node_name), .feeds = true, .purges = !apart});
  feeds.back().nats.from_start = !apart;
  if (!apart) return feeds;
  feeds.push_back({.nats = nats_of(settings, node_name), .feeds = false, .purges = true});
  edge::NatsOptions& purges = feeds.back().nats;
  purges.subject = settings.purge_subject;
  purges.consumer += "-purge";
  purges.stream.clear();  // the purges may be kept in another one
  purges.from_start = true;
  return feeds;
}

edge::NodeTlsOptions tls_of(const conf::Settings& settings) {
  edge::NodeTlsOptions options;
  for (const conf::CertificateSettings& each : settings.tls.certificates)
    options.server.certificates.push_back({each.chain, each.key, each.ocsp});
  options.server.tls12 = settings.tls.tls12;
  options.server.http2 = settings.tls.http2;
  options.server.refuse_unknown_names = settings.tls.refuse_unknown_names;
  options.ticket_keys = settings.tls.ticket_keys;
  for (const conf::ListenSettings& listen : settings.listen) {
    const bool known =
        std::ranges::find(options.client_cas, listen.client_ca) != options.client_cas.end();
    if (listen.tls && !known) options.client_cas.push_back(listen.client_ca);
  }
  return options;
}

/// Everything that differs between what an operator writes and what a module takes is decided here.
std::expected<edge::NodeOptions, std::string> node_options(const conf::Settings& settings,
                                                           const conf::Plan& plan) {
  edge::NodeOptions options;
  options.name = settings.node.name;
  options.ram_bytes = plan.ram_bytes;
  options.threads = plan.threads;
  options.io = io_of(settings.node.io);
  for (const conf::ListenSettings& address : settings.listen) {
    auto parsed = address_of(address);
    if (!parsed) return std::unexpected("listen " + address.text + ": " + parsed.error().where);
    options.listen.push_back(*parsed);
    options.listen_texts.push_back(address.text);
    options.listen_tls.push_back({address.tls, address.client_ca, address.proxies});
  }
  options.tls = tls_of(settings);
  if (settings.admin) {
    auto parsed = address_of(*settings.admin);
    if (!parsed)
      return std::unexpected("admin " + settings.admin->text + ": " + parsed.error().where);
    options.admin = *parsed;
  }
  options.store.ram_bytes = plan.buffers_bytes;
  const conf::ShareSettings& ram = settings.cache.ram_shares;
  std::ranges::copy(std::array{ram.small, ram.k64, ram.k128, ram.k256}, options.store.shares);
  options.store.representations_bytes_max = plan.representations_bytes;
  options.policy = policy_of(settings.cache.policy);
  for (size_t i = 0; i < settings.cache.drives.size(); ++i) {
    const conf::DriveSettings& drive = settings.cache.drives[i];
    options.drives.push_back({.path = drive.path,
                              .size_bytes = plan.drives[i].size_bytes,
                              .sparse = drive.sparse,
                              .write_bytes_per_second = drive.writes_bytes_per_day / kSecondsPerDay,
                              .shares = drive_shares_of(drive.shares)});
  }
  for (const conf::OriginSettings& origin : settings.origins) {
    options.origins.push_back(origin_of(origin, options.name));
    options.origin_names.push_back(origin.name);
  }
  for (uint32_t i = 0; i < settings.sites.size(); ++i)
    options.sites.push_back(site_of(settings.sites[i], settings, i));
  options.tokens = all_tokens_of(settings);
  options.limits = limits_of(settings.limits);
  options.store.probation_share = static_cast<uint8_t>(settings.prefetch.ram_percent);
  if (settings.prefetch.mode == conf::PrefetchMode::On)
    options.store.heads_share = static_cast<uint8_t>(settings.prefetch.heads_percent);
  if (settings.prefetch.mode != conf::PrefetchMode::Off) {
    options.prefetch = prefetch_of(settings.prefetch, plan.buffers_bytes);
    options.feeds = settings.prefetch.follow;
    options.nats = nats_feeds_of(settings.prefetch.nats, options.name);
    if (settings.prefetch.predictor != conf::PrefetchMode::Off)
      options.predictor_file = settings.prefetch.predictor_file;
  }
  options.drain_limit = settings.node.drain;
  options.retire_limit = settings.node.retire;
  options.access_log_sample = settings.log.sample;
  if (settings.listens.count)
    options.listens_bytes_per_second = settings.listens.bitrate_kbits * 1000 / 8;
  if (settings.log.access != "off") options.access_log = settings.log.access;
  options.connections_max = static_cast<uint32_t>(std::max<uint64_t>(plan.connections, 1));
  options.frame_bytes_per_loop_max = plan.frames_bytes_per_loop;
  options.sealed_batches_per_loop_max = plan.sealed_batches_per_loop;
  options.passes_per_loop_max = plan.passes_per_loop;
  options.relays_per_loop_max = plan.relays_per_loop;
  options.collections_per_loop_max = plan.collections_per_loop;
  return options;
}

/// Reads the settings again when told to; nothing changes unless all of them are right.
class SettingsReloader final : public edge::SignalThread::Reloader {
 public:
  SettingsReloader(const conf::Flags& flags, conf::Loaded running,
                   const edge::ServiceManager& manager)
      : flags_(flags), running_(std::move(running)), manager_(manager) {}

  void reload(edge::Node& node) override {
    if (auto done = try_reload(node); !done) {
      log_error("reload_refused", "{}; the old settings stay in force", done.error());
      manager_.notify("STATUS=reload refused, the old settings stay in force: " + done.error());
    }
  }

 private:
  std::expected<void, std::string> try_reload(edge::Node& node) {
    conf::Loaded fresh = conf::load(flags_);
    if (!fresh.is_right()) {
      for (const conf::Mistake& mistake : fresh.mistakes)
        log_error("settings_mistake", "{}", mistake.line());
      node.note_refused_reload();
      return std::unexpected(fresh.mistakes.front().line());
    }
    auto changes = conf::changes_between(running_, fresh);
    auto options =
        changes ? node_options(changes->settings, running_.plan)
                : std::expected<edge::NodeOptions, std::string>(std::unexpected(changes.error()));
    if (!options) {
      node.note_refused_reload();
      return std::unexpected(options.error());
    }
    if (auto taken = node.reload(*options); !taken) return taken;
    set_log_level(changes->settings.log.level);
    const std::string restart = conf::join(changes->needs_restart);
    log_info("reloaded", "changed={}", conf::join(changes->applied));
    if (!restart.empty())
      log_warning("reload_needs_restart", "settings={}: in force after a restart", restart);
    manager_.notify(restart.empty() ? "STATUS=serving"
                                    : "STATUS=serving; after a restart also: " + restart);
    keep(std::move(*changes), std::move(fresh.written));
    return {};
  }

  /// What runs now: settings that wait for a restart differ again at the next reload.
  void keep(conf::Changes changes, conf::Written written) {
    running_.settings = std::move(changes.settings);
    for (const std::string& key : changes.needs_restart) {
      const auto before = running_.written.find(key);
      written.erase(key);
      if (before != running_.written.end()) written.emplace(key, before->second);
    }
    running_.written = std::move(written);
  }

  const conf::Flags& flags_;
  conf::Loaded running_;
  const edge::ServiceManager& manager_;
};

int serve(const conf::Flags& flags) {
  conf::Loaded loaded = conf::load(flags);
  if (!loaded.is_right()) {
    for (const conf::Mistake& mistake : loaded.mistakes)
      std::fprintf(stderr, "segue: %s\n", mistake.line().c_str());
    return 2;
  }
  set_log_level(loaded.settings.log.level);
  const auto manager = edge::ServiceManager::from_environment();
  auto options =
      manager ? node_options(loaded.settings, loaded.plan)
              : std::expected<edge::NodeOptions, std::string>(std::unexpected(manager.error()));
  if (!options) {
    std::fprintf(stderr, "segue: %s\n", options.error().c_str());
    return 2;
  }
  options->handed_over = manager->listeners();
  if (!options->handed_over.empty() && loaded.settings.listen_is_default) {
    options->listen.clear();
    options->listen_texts.clear();
    options->listen_tls.clear();
  }
  edge::SignalThread signals;
  auto node = edge::Node::create(std::move(*options));
  if (!node) {
    std::fprintf(stderr, "segue: %s\n", node.error().c_str());
    return 1;
  }
  for (const std::string& address : (*node)->addresses())
    log_info("listening", "address={}", address);
  SettingsReloader reloader(flags, std::move(loaded), *manager);
  signals.start(**node, reloader, *manager);
  log_info("ready", "version={}", version());
  manager->notify("READY=1\nSTATUS=serving");
  (*node)->run();
  signals.stop();
  log_info("stopped", "version={}", version());
  return 0;
}

/// `segue check`: the settings, and then what they name.
conf::Outcome check_all(const conf::Flags& flags) {
  conf::Outcome outcome = conf::check(flags);
  if (outcome.exit_code != 0) return outcome;
  const conf::Settings settings = conf::load(flags).settings;
  std::vector<std::string> wrong = edge::check_tls(tls_of(settings), SystemClock());
  std::vector<origin::OriginOptions> origins;
  for (const conf::OriginSettings& origin : settings.origins)
    origins.push_back(origin_of(origin, settings.node.name));
  std::ranges::move(edge::lines_of(edge::check_origin_tls(origins, SystemClock())),
                    std::back_inserter(wrong));
  std::ranges::move(edge::check_token_keys(all_tokens_of(settings)), std::back_inserter(wrong));
  std::ranges::move(edge::NatsLink::check(nats_of(settings.prefetch.nats, settings.node.name)),
                    std::back_inserter(wrong));
  if (wrong.empty()) return outcome;
  outcome = {"", 1};
  for (const std::string& line : wrong) outcome.text += line + "\n";
  return outcome;
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
  purge_all("tag", command.purge.tags);
  return worst;
}

int sign(const conf::Command& command) {
  const conf::SignArguments& arguments = command.sign;
  const conf::TokenKeySettings& file = arguments.tokens.keys.front();
  auto key = edge::read_token_key(file.id, file.path);
  if (!key) return print({"segue: " + key.error() + "\n", 1});
  using std::chrono::floor;
  const auto now = floor<seconds>(SystemClock().wall());
  edge::SignOrder order{.form = form_of(arguments.tokens.forms.front()),
                        .url = command.url,
                        .name = arguments.tokens.name,
                        .pattern = arguments.prefix.empty() ? arguments.glob : arguments.prefix,
                        .not_before = {},
                        .client = arguments.client,
                        .preview = arguments.preview,
                        .id = arguments.listener,
                        .issuer = arguments.tokens.issuer,
                        .audience = arguments.tokens.audience};
  if (!arguments.prefix.empty()) order.scope = edge::SignOrder::Scope::Prefix;
  if (!arguments.glob.empty()) order.scope = edge::SignOrder::Scope::Glob;
  order.expires = (now + duration_cast<seconds>(arguments.valid_for)).time_since_epoch().count();
  if (arguments.valid_from)
    order.not_before =
        (now + duration_cast<seconds>(*arguments.valid_from)).time_since_epoch().count();
  auto url = edge::sign_url(order, *key);
  return print(url ? conf::Outcome{*url + "\n", 0}
                   : conf::Outcome{"segue: " + url.error() + "\n", 1});
}

int format_drive(const conf::DriveArguments& drive, bool wipe) {
  auto done = edge::format_drive({.path = drive.path,
                                  .size_bytes = drive.size_bytes,
                                  .sparse = drive.sparse,
                                  .serial = drive.serial,
                                  .shares = drive_shares_of(drive.shares),
                                  .wipe = wipe});
  if (!done) {
    std::fprintf(stderr, "segue: %s\n", done.error().c_str());
    return 1;
  }
  std::puts(done->c_str());
  return 0;
}

int write_text(const std::string& path, const std::string& text) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "we");
  const bool written =
      file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = file == nullptr || file == stdout || std::fclose(file) == 0;
  if (written && closed) return 0;
  std::fprintf(stderr, "segue: %s cannot be written\n", path.c_str());
  return 1;
}

int replay(const conf::ReplayArguments& arguments) {
  conf::Flags flags;
  flags.config = arguments.config;
  const conf::Loaded loaded = conf::load(flags);
  if (!arguments.config.empty() && !loaded.is_right()) {
    for (const conf::Mistake& mistake : loaded.mistakes)
      std::fprintf(stderr, "segue: %s\n", mistake.line().c_str());
    return 2;
  }
  const conf::PrefetchSettings& prefetch = loaded.settings.prefetch;
  edge::ReplayCommand command;
  command.trace = arguments.trace;
  command.ram = {arguments.ram.bytes, arguments.ram.percent};
  command.ssd = {arguments.ssd.bytes, arguments.ssd.percent};
  for (const conf::CachePolicy policy : arguments.policies)
    command.policies.push_back(policy_of(policy));
  for (const conf::ReplayArguments::Feed& feed : arguments.feeds) {
    using Kind = conf::ReplayArguments::Feed::Kind;
    edge::ReplayFeed::Kind kind = edge::ReplayFeed::Kind::None;
    if (feed.kind == Kind::Learned) kind = edge::ReplayFeed::Kind::Learned;
    if (feed.kind == Kind::Oracle) kind = edge::ReplayFeed::Kind::Oracle;
    command.feeds.push_back({.kind = kind, .known = feed.percent / 100.0});
  }
  const edge::Prefetcher::Options options = prefetch_of(prefetch, 0);
  command.options.plan = options.plan;
  command.options.plan.fetches = true;  // what it would do if it were on is what is asked
  command.options.head = options.head;
  command.options.predictor = options.predictor;
  command.options.cache.probation_percent = static_cast<uint8_t>(prefetch.ram_percent);
  command.options.cache.heads_percent = static_cast<uint8_t>(prefetch.heads_percent);
  if (!loaded.settings.cache.drives.empty())
    command.options.cache.write_bytes_per_second =
        loaded.settings.cache.drives.front().writes_bytes_per_day / kSecondsPerDay;
  command.options.bytes_per_second = uint64_t{arguments.bitrate_kbits} * 1000 / 8;
  command.options.seed = arguments.seed;
  const auto output = edge::run_replays(command);
  if (!output) {
    std::fprintf(stderr, "segue: %s\n", output.error().c_str());
    return 1;
  }
  if (arguments.json != "-") std::fputs(output->table.c_str(), stdout);
  return arguments.json.empty() ? 0 : write_text(arguments.json, output->json);
}

int run(int argc, char** argv) {
  auto command = conf::parse_command_line(argc, argv);
  if (!command) return print(command.error());
  switch (command->verb) {
    case conf::Verb::Serve:
      return serve(command->flags);
    case conf::Verb::Check:
      return print(check_all(command->flags));
    case conf::Verb::Version:
      return print({fmt::format("segue {}\n", version()), 0});
    case conf::Verb::Limits:
      return std::fputs(conf::print_limits().c_str(), stdout), 0;
    case conf::Verb::Settings:
      return std::fputs(
                 (command->as_man_page ? conf::settings_man() : conf::settings_markdown()).c_str(),
                 stdout),
             0;
    case conf::Verb::Drain:
      return edge::ask_and_print(place_of(command->admin), edge::drain_call());
    case conf::Verb::Stats:
      return command->as_json ? edge::ask_and_print(place_of(command->admin), edge::stats_call())
                              : edge::print_stats(place_of(command->admin));
    case conf::Verb::Top:
      return edge::run_top(place_of(command->admin), command->every);
    case conf::Verb::Listens:
      return edge::ask_and_print(place_of(command->admin), edge::listens_call(command->as_csv));
    case conf::Verb::Explain:
      return edge::ask_and_print(place_of(command->admin), edge::explain_call(command->url));
    case conf::Verb::Purge:
      return purge(*command);
    case conf::Verb::Sign:
      return sign(*command);
    case conf::Verb::CacheFormat:
      return format_drive(command->drive, /*wipe=*/false);
    case conf::Verb::CacheWipe:
      return format_drive(command->drive, /*wipe=*/true);
    case conf::Verb::Replay:
      return replay(command->replay);
  }
}

}  // namespace
}  // namespace segue

int main(int argc, char** argv) { return segue::run(argc, argv); }
