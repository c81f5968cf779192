#include "edge/module_options.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace segue {
namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

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

}  // namespace

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

std::vector<edge::TokenOptions> all_tokens_of(const conf::Settings& settings) {
  std::vector<edge::TokenOptions> all;
  for (const conf::SiteSettings& site : settings.sites) all.push_back(tokens_of(site.tokens));
  return all;
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
  options.playlist_segments = settings.playlist_segments;
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

}  // namespace segue
