#include "conf/parse_toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/limits.h"
#include "conf/toml_reader.h"

namespace segue::conf {
namespace {

void read_node(TomlReader& reader, NodeSettings& node) {
  reader.value("name", node.name, kNodeName);
  reader.value("ram", node.ram_bytes, kSize);
  reader.number("threads", node.threads);
  reader.number("connections", node.connections);
  reader.value("io", node.io, kIo);
  reader.value("drain", node.drain, kDuration);
  reader.value("retire", node.retire, kDuration);
}

void read_listen(TomlReader& reader, Mistakes& mistakes, std::vector<ListenSettings>& listen) {
  std::vector<Address> addresses;
  bool tls = false;
  std::string client_ca;
  reader.values("addr", addresses, kAddress);
  reader.boolean("tls", tls);
  reader.value("client_ca", client_ca, kPath);
  std::vector<AddressRange> proxies;
  reader.values("proxy_protocol", proxies, kNetwork);
  if (!client_ca.empty() && !tls) {
    mistakes.add(reader.key_path("client_ca"), "certificates of clients need tls = true");
  }
  if (addresses.empty() && !mistakes.has_under(reader.key_path("addr"))) {
    mistakes.add(reader.path(), fmt::format("addr is missing; allowed: {}", kAddress.allowed));
  }
  for (Address& address : addresses)
    listen.push_back({std::move(address), tls, client_ca, proxies});
}

void read_certificate(TomlReader& reader, Mistakes& mistakes,
                      std::vector<CertificateSettings>& certificates) {
  CertificateSettings certificate;
  reader.value("chain", certificate.chain, kPath);
  reader.value("key", certificate.key, kPath);
  reader.value("ocsp", certificate.ocsp, kPath);
  for (const char* needed : {"chain", "key"}) {
    if (!mistakes.was_written(reader.key_path(needed)))
      mistakes.add(reader.path(),
                   fmt::format("{} is missing; allowed: the path of a PEM file", needed));
  }
  certificates.push_back(std::move(certificate));
}

void read_tls(TomlReader& reader, Mistakes& mistakes, TlsSettings& tls) {
  reader.value("min_version", tls.tls12, kTls12);
  reader.boolean("http2", tls.http2);
  reader.value("unknown_name", tls.refuse_unknown_names, kRefuse);
  reader.value("ticket_keys", tls.ticket_keys, kPath);
  reader.tables("certificate",
                [&](TomlReader& each) { read_certificate(each, mistakes, tls.certificates); });
}

/// shares = { 64KiB = 4, 128KiB = 16, 256KiB = 80 }; a class that is left out gets nothing.
void read_shares(TomlReader& reader, std::string_view key, ShareSettings& out, bool in_ram) {
  reader.table(key, [&](TomlReader& table) {
    constexpr Range<uint64_t> kPercent{0, 100, "0 to 100"};
    ShareSettings shares;
    if (in_ram) table.number("16KiB", shares.small, kPercent);
    table.number("64KiB", shares.k64, kPercent);
    table.number("128KiB", shares.k128, kPercent);
    table.number("256KiB", shares.k256, kPercent);
    out = shares;
  });
}

void read_drive(TomlReader& reader, Mistakes& mistakes, std::vector<DriveSettings>& drives) {
  DriveSettings drive;
  reader.value("path", drive.path, kPath);
  reader.value("size", drive.size_bytes, kSize);
  reader.boolean("sparse", drive.sparse);
  reader.value("writes_per_day", drive.writes_bytes_per_day, kSize);
  read_shares(reader, "shares", drive.shares, false);
  if (!mistakes.was_written(reader.key_path("path"))) {
    mistakes.add(reader.path(), "path is missing; allowed: a folder, a file or a block device");
  }
  drives.push_back(std::move(drive));
}

void read_cache(TomlReader& reader, Mistakes& mistakes, CacheSettings& cache) {
  reader.value("policy", cache.policy, kPolicy);
  reader.value("size", cache.size_bytes, kSize);
  read_shares(reader, "ram_shares", cache.ram_shares, true);
  reader.tables("drive", [&](TomlReader& drive) { read_drive(drive, mistakes, cache.drives); });
}

/// redirects = "same-origin", or a list of hosts besides the origin's own.
void read_redirects(TomlReader& reader, std::vector<std::string>& hosts) {
  const toml::node* node = reader.take("redirects");
  if (node == nullptr) return;
  if (const auto* text = node->as_string(); text != nullptr && text->get() == "same-origin") return;
  if (node->is_array()) {
    reader.read_list(*node, reader.key_path("redirects"), hosts, kHost);
  } else {
    reader.complain(reader.key_path("redirects"), *node,
                    "\"same-origin\", or a list of host names such as [\"media.example.com\"]");
  }
}

void read_origin(TomlReader& reader, OriginSettings& origin) {
  reader.values("servers", origin.servers, kServer);
  reader.table("timeout", [&](TomlReader& timeout) {
    timeout.value("connect", origin.timeout.connect, kDuration);
    timeout.value("first_byte", origin.timeout.first_byte, kDuration);
    timeout.value("idle", origin.timeout.idle, kDuration);
    timeout.value("total", origin.timeout.total, kDuration);
  });
  reader.number("fetches", origin.fetches);
  reader.number("retries", origin.retries);
  reader.value("ca", origin.ca, kPath);
  reader.value("certificate", origin.certificate, kPath);
  reader.value("key", origin.key, kPath);
  reader.value("validator", origin.validator, kValidator);
  read_redirects(reader, origin.redirect_hosts);
  reader.table("breaker", [&](TomlReader& breaker) {
    breaker.number("failures", origin.breaker.failures);
    breaker.value("open_for", origin.breaker.open_for, kDuration);
  });
}

/// query = "keep", "drop", or a list of the names that stay.
void read_query(TomlReader& reader, SiteSettings& site) {
  const toml::node* node = reader.take("query");
  if (node == nullptr) return;
  const auto* text = node->as_string();
  if (text != nullptr && text->get() == "keep") {
    site.query = QueryMode::Keep;
  } else if (text != nullptr && text->get() == "drop") {
    site.query = QueryMode::Drop;
  } else if (node->is_array()) {
    site.query = QueryMode::Listed;
    reader.read_list(*node, reader.key_path("query"), site.query_names, kQueryName);
    if (site.query_names.size() > kQueryNamesMax)
      reader.complain(reader.key_path("query"), *node,
                      fmt::format("at most {} names, or \"keep\"", kQueryNamesMax));
  } else {
    reader.complain(reader.key_path("query"), *node,
                    "\"keep\", \"drop\", or a list of the names that stay such as [\"v\"]");
  }
}

void read_tokens(TomlReader& reader, TokenSettings& tokens) {
  reader.values("forms", tokens.forms, kTokenForm);
  reader.value("name", tokens.name, kTokenName);
  reader.number("expired_status", tokens.expired_status, {403, 410, "403 to 410"});
  reader.value("issuer", tokens.issuer, kPath);
  reader.value("audience", tokens.audience, kPath);
  reader.table("keys", [&](TomlReader& keys) {
    keys.named_values(
        [&](const std::string& id, const std::string& path) { tokens.keys.push_back({id, path}); });
  });
}

void read_site(TomlReader& reader, Mistakes& mistakes, std::vector<SiteSettings>& sites) {
  SiteSettings site;
  reader.value("name", site.name, kSiteName);
  reader.values("hosts", site.hosts, kSiteHost);
  // Any text: whether an origin of that name exists is validate()'s question.
  reader.value("origin", site.origin, kPath);
  read_query(reader, site);
  reader.values("forward", site.forward, kFieldName);
  reader.values("methods", site.methods, kMethod);
  reader.values("tags", site.tags, kTagField);
  reader.table("pace", [&](TomlReader& pace) {
    pace.value("burst", site.pace.burst_bytes, kSize);
    pace.number("bitrate", site.pace.bitrate_kbits);
    pace.number("times", site.pace.times);
  });
  reader.table("tokens", [&](TomlReader& tokens) { read_tokens(tokens, site.tokens); });
  reader.table("ttl", [&](TomlReader& ttl) {
    ttl.value("default", site.ttl.default_lifetime, kDuration);
    ttl.value("negative", site.ttl.negative, kDuration);
    ttl.value("override", site.ttl.override_lifetime, kDuration);
    ttl.value("stale_if_error", site.ttl.stale_if_error, kDuration);
    ttl.value("stale_while_revalidate", site.ttl.stale_while_revalidate, kDuration);
  });
  reader.values("cors", site.cors, kCors);
  if (site.cors.size() > 1 && (std::ranges::find(site.cors, "") != site.cors.end() ||
                               std::ranges::find(site.cors, "*") != site.cors.end())) {
    mistakes.add(reader.key_path("cors"), "\"*\" and \"off\" stand alone; allowed: origins");
  }
  std::erase(site.cors, "");  // off
  if (!mistakes.was_written(reader.key_path("name"))) {
    mistakes.add(reader.path(), fmt::format("name is missing; allowed: {}", kSiteName.allowed));
  }
  sites.push_back(std::move(site));
}

void read_limits(TomlReader& reader, LimitSettings& limits) {
  reader.number("connections", limits.connections);
  reader.number("requests_per_second", limits.requests_per_second);
  reader.value("miss_bytes_per_second", limits.miss_bytes_per_second, kSize);
  reader.value("by", limits.by, kLimitBy);
}

void read_nats(TomlReader& reader, NatsSettings& nats) {
  reader.values("servers", nats.servers, kNatsServer);
  reader.value("subject", nats.subject, kNatsSubject);
  reader.value("purge_subject", nats.purge_subject, kNatsSubject);
  reader.value("stream", nats.stream, kNatsName);
  reader.value("consumer", nats.consumer, kNatsName);
  reader.value("user", nats.user, kText);
  reader.value("password", nats.password, kPath);
  reader.value("token", nats.token, kPath);
  reader.value("credentials", nats.credentials, kPath);
  reader.value("ca", nats.ca, kPath);
  reader.value("certificate", nats.certificate, kPath);
  reader.value("key", nats.key, kPath);
  reader.value("server_name", nats.server_name, kHost);
}

void read_prefetch(TomlReader& reader, PrefetchSettings& prefetch) {
  reader.value("mode", prefetch.mode, kPrefetchMode);
  reader.values("follow", prefetch.follow, kPath);
  reader.value("bytes_per_second", prefetch.bytes_per_second, kSize);
  reader.value("bytes_per_day", prefetch.bytes_per_day, kSize);
  reader.number("fills", prefetch.fills);
  reader.number("ram_percent", prefetch.ram_percent);
  reader.number("heads_percent", prefetch.heads_percent);
  reader.value("head", prefetch.head, kDuration);
  reader.value("lead", prefetch.lead, kDuration);
  reader.boolean("rest", prefetch.rest);
  reader.number("probability_percent", prefetch.probability_percent);
  reader.number("floor_percent", prefetch.floor_percent);
  reader.number("hints_percent", prefetch.hints_percent);
  reader.number("playlist_segments", prefetch.playlist_segments);
  reader.value("memory", prefetch.memory, kSize);
  reader.value("predictor", prefetch.predictor, kPrefetchMode);
  reader.value("predictor_memory", prefetch.predictor_memory, kSize);
  reader.value("predictor_file", prefetch.predictor_file, kPath);
  reader.table("nats", [&](TomlReader& nats) { read_nats(nats, prefetch.nats); });
}

void read_all(TomlReader& reader, Mistakes& mistakes, Settings& settings) {
  reader.table("node", [&](TomlReader& node) { read_node(node, settings.node); });
  reader.tables("listen",
                [&](TomlReader& listen) { read_listen(listen, mistakes, settings.listen); });
  reader.table("tls", [&](TomlReader& tls) { read_tls(tls, mistakes, settings.tls); });
  reader.table("admin",
               [&](TomlReader& admin) { admin.value("listen", settings.admin, kAddress); });
  reader.table("cache", [&](TomlReader& cache) { read_cache(cache, mistakes, settings.cache); });
  reader.table("origin", [&](TomlReader& origins) {
    origins.named_tables([&](const std::string& name, TomlReader& origin) {
      settings.origins.emplace_back().name = name;
      read_origin(origin, settings.origins.back());
    });
  });
  reader.tables("site", [&](TomlReader& site) { read_site(site, mistakes, settings.sites); });
  reader.table("limits", [&](TomlReader& limits) { read_limits(limits, settings.limits); });
  reader.table("prefetch",
               [&](TomlReader& prefetch) { read_prefetch(prefetch, settings.prefetch); });
  reader.table("log", [&](TomlReader& log) {
    log.value("access", settings.log.access, kPath);
    log.number("sample", settings.log.sample);
    log.value("level", settings.log.level, kLevel);
  });
  reader.table("listens", [&](TomlReader& listens) {
    listens.boolean("count", settings.listens.count);
    listens.number("bitrate", settings.listens.bitrate_kbits);
  });
  reader.report_unknown();
}

void flatten(const toml::node& node, const std::string& path, Written& out) {
  if (const auto* table = node.as_table()) {
    for (const auto& [key, inner] : *table) {
      flatten(inner, path.empty() ? std::string(key.str()) : fmt::format("{}.{}", path, key.str()),
              out);
    }
    return;
  }
  const auto* array = node.as_array();
  if (array != nullptr && array->is_array_of_tables()) {
    size_t index = 0;
    for (const toml::node& element : *array)
      flatten(element, fmt::format("{}[{}]", path, index++), out);
    return;
  }
  if (const auto* string = node.as_string()) {
    out.emplace(path, string->get());
    return;
  }
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  out.emplace(path, text.str());
}

}  // namespace

Written written_in(std::string_view text) {
  Mistakes unused("");
  Written out;
  if (const auto document = parse_document(text, unused)) flatten(*document, "", out);
  return out;
}

Settings parse_toml(std::string_view text, Mistakes& mistakes) {
  Settings settings;
  const auto document = parse_document(text, mistakes);
  if (!document) return settings;
  TomlReader reader(*document, "", mistakes);
  read_all(reader, mistakes, settings);
  return settings;
}

}  // namespace segue::conf
