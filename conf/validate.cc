#include "conf/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/limits.h"
#include "conf/values.h"

namespace segue::conf {
namespace {

constexpr std::string_view kDefaultListen = "127.0.0.1:8080";
constexpr uint32_t kServersMax = 16;
// One segment of each class with its records is far below this; smaller drives are mistakes.
constexpr uint64_t kDriveBytesMin = 64 * MiB;

bool is_loopback(const Address& address) {
  return address.is_unix() || address.ip == "::1" || address.ip.starts_with("127.");
}

/// Reports the second and later of equal texts.
class Once {
 public:
  explicit Once(Mistakes& mistakes) : mistakes_(mistakes) {}
  void see(const std::string& text, const std::string& key) {
    const auto [at, is_new] = seen_.emplace(text, key);
    if (!is_new) {
      mistakes_.add(key, fmt::format("\"{}\" is already given by {}", text, at->second));
    }
  }

 private:
  Mistakes& mistakes_;
  std::map<std::string, std::string> seen_;
};

/// The host's name as a token: what is not allowed in one becomes '-'.
std::string node_name_of(const std::string& host_name) {
  std::string name = host_name.substr(0, host_name.find('.')).substr(0, 64);
  for (char& c : name) {
    if (!parse_node_name(std::string{'a', c})) c = '-';
  }
  if (name.empty()) return "segue";
  if (parse_node_name(name)) return name;
  name = "node-" + name.substr(0, 59);
  return parse_node_name(name).value_or("segue");
}

std::vector<std::string> origin_names(const Settings& settings) {
  std::vector<std::string> names;
  names.reserve(settings.origins.size());
  for (const OriginSettings& origin : settings.origins) names.push_back(origin.name);
  return names;
}

/// A durable consumer per node: what one has acknowledged, the others still get.
std::string consumer_of(std::string node_name) {
  std::ranges::replace(node_name, '.', '_');
  return node_name;
}

void complete(Settings& settings, const Machine& machine) {
  if (settings.node.name.empty()) settings.node.name = node_name_of(machine.host_name);
  NatsSettings& nats = settings.prefetch.nats;
  if (nats.consumer.empty()) nats.consumer = consumer_of(settings.node.name);
  if (settings.listen.empty()) {
    settings.listen.push_back({*parse_address(kDefaultListen), false, {}, {}});
    settings.listen_is_default = true;
  }
  if (settings.sites.empty() && settings.origins.size() == 1) {
    SiteSettings& site = settings.sites.emplace_back();
    site.name = "default";
    site.hosts = {"*"};
  }
  for (SiteSettings& site : settings.sites) {
    if (site.origin.empty() && settings.origins.size() == 1) {
      site.origin = settings.origins.front().name;
    }
  }
}

void check_node(const Settings& settings, const Machine& machine, Mistakes& mistakes) {
  if (settings.node.threads > kLoopsMax) {
    mistakes.add("node.threads", fmt::format("{} is not allowed here; allowed: a whole number from "
                                             "0 (one per core) to {}",
                                             settings.node.threads, kLoopsMax));
  }
  const Plan plan = make_plan(settings, machine);
  const uint64_t connections_max = uint64_t{kConnectionsPerLoopMax} * plan.threads;
  if (settings.node.connections > connections_max) {
    mistakes.add("node.connections",
                 fmt::format("{} is more than {} thread{} can hold; allowed: at most {}",
                             settings.node.connections, plan.threads, plan.threads == 1 ? "" : "s",
                             connections_max));
  }
  if (plan.ram_bytes < plan.needed_bytes) {
    mistakes.add("node.ram",
                 fmt::format("{} is too little for these settings; needed: at least {} ({}MiB)",
                             format_size(plan.ram_bytes), format_size(plan.needed_bytes),
                             plan.needed_bytes / MiB));
  }
}

void check_listeners(const Settings& settings, Mistakes& mistakes) {
  Once addresses(mistakes);
  const auto see = [&](const Address& address, const std::string& key) {
    // Port 0 is another port each time.
    if (address.is_unix() || address.port != 0) addresses.see(address.text, key);
  };
  for (const Address& address : settings.listen) see(address, "listen");
  const bool any_tls = std::ranges::any_of(settings.listen, &ListenSettings::tls);
  if (any_tls && settings.tls.certificates.empty() && !mistakes.has_under("tls")) {
    mistakes.add("tls",
                 "a listener has tls = true; needed: [[tls.certificate]] with chain and key");
  }
  if (!settings.admin) return;
  see(*settings.admin, "admin.listen");
  if (!is_loopback(*settings.admin)) {
    mistakes.add("admin.listen",
                 fmt::format("\"{}\" can be reached from elsewhere; allowed: a unix socket or a "
                             "loopback address",
                             settings.admin->text));
  }
}

/// Fills land in buffers of 256 KiB, and every long track lives in slots of that size.
void check_shares(const ShareSettings& shares, const std::string& key, Mistakes& mistakes) {
  if (shares.sum() != 100) {
    mistakes.add(key, fmt::format("the shares add up to {}; allowed: parts of 100 that add up to "
                                  "100 (a class left out has 0)",
                                  shares.sum()));
  } else if (shares.k256 == 0) {
    mistakes.add(key, "256KiB has no share; allowed: from 1");
  }
}

void check_drives(const Settings& settings, const Machine& machine, Mistakes& mistakes) {
  check_shares(settings.cache.ram_shares, "cache.ram_shares", mistakes);
  Once paths(mistakes);
  for (size_t i = 0; i < settings.cache.drives.size(); ++i) {
    const DriveSettings& drive = settings.cache.drives[i];
    const std::string key = fmt::format("cache.drive[{}]", i);
    check_shares(drive.shares, key + ".shares", mistakes);
    if (drive.path.empty()) continue;  // reported by the parser
    std::string path = drive.path;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    paths.see(path, key + ".path");
    const uint64_t bytes = i < machine.drive_bytes.size() ? machine.drive_bytes[i] : 0;
    if (bytes < kDriveBytesMin) {
      mistakes.add(drive.size_bytes != 0 ? key + ".size" : "cache.size",
                   fmt::format("{} is too small for a drive; needed: at least {}",
                               format_size(bytes), format_size(kDriveBytesMin)));
    }
  }
}

void check_timeouts(const OriginSettings& origin, const std::string& key, Mistakes& mistakes) {
  const TimeoutSettings& timeout = origin.timeout;
  const std::pair<const char*, milliseconds> parts[] = {{"connect", timeout.connect},
                                                        {"first_byte", timeout.first_byte},
                                                        {"idle", timeout.idle},
                                                        {"total", timeout.total}};
  for (const auto& [name, value] : parts) {
    const std::string part = fmt::format("{}.timeout.{}", key, name);
    if (std::string_view(name) != "idle" && value > timeout.total) {
      mistakes.add(part, fmt::format("{} ms is more than total, {} ms; allowed: at most total",
                                     value.count(), timeout.total.count()));
    }
  }
}

void check_origin(const OriginSettings& origin, Mistakes& mistakes) {
  const std::string key = "origin." + origin.name;
  if (!parse_site_name(origin.name)) {
    mistakes.add(key, fmt::format("\"{}\" is not allowed as a name; allowed: {}", origin.name,
                                  kSiteName.allowed));
  }
  if (origin.servers.empty()) {
    if (!mistakes.has_under(key + ".servers")) {
      mistakes.add(key, fmt::format("servers is missing; allowed: {}", kServer.allowed));
    }
    return;
  }
  const auto is_directory = [](const Server& server) {
    return server.scheme == Server::Scheme::Directory;
  };
  if (std::ranges::any_of(origin.servers, is_directory) && origin.servers.size() > 1) {
    mistakes.add(key + ".servers", "a dir: server stands alone; allowed: one dir:PATH, or http(s)");
  }
  if (origin.servers.size() > kServersMax) {
    mistakes.add(key + ".servers", fmt::format("{} servers; allowed: at most {}",
                                               origin.servers.size(), kServersMax));
  }
  Once servers(mistakes);
  for (size_t i = 0; i < origin.servers.size(); ++i) {
    servers.see(origin.servers[i].text, fmt::format("{}.servers[{}]", key, i));
  }
  if (origin.certificate.empty() != origin.key.empty()) {
    mistakes.add(key + (origin.key.empty() ? ".certificate" : ".key"),
                 "certificate and key belong together: give both or neither");
  }
  check_timeouts(origin, key, mistakes);
}

void check_tokens(const SiteSettings& site, const std::string& site_key, Mistakes& mistakes) {
  const TokenSettings& tokens = site.tokens;
  const std::string key = site_key + ".tokens";
  if (tokens.keys.empty()) {
    if (mistakes.was_written(key) && !mistakes.has_under(key))
      mistakes.add(key, "no token could be right; needed: keys = { ID = \"FILE\" }");
    return;
  }
  if (tokens.keys.size() > kTokenKeysMax)
    mistakes.add(key + ".keys",
                 fmt::format("{} keys; allowed: at most {}", tokens.keys.size(), kTokenKeysMax));
  for (const TokenKeySettings& each : tokens.keys) {
    if (!parse_key_id(each.id))
      mistakes.add(fmt::format("{}.keys.{}", key, each.id),
                   fmt::format("not a name of a key; allowed: {}", kKeyId.allowed));
  }
  if (tokens.forms.empty())
    mistakes.add(key + ".forms", fmt::format("no form; allowed: {}", kTokenForm.allowed));
  if (tokens.expired_status != 403 && tokens.expired_status != 410)
    mistakes.add(key + ".expired_status", "allowed: 410 or 403");
  const bool jwt = std::ranges::find(tokens.forms, TokenForm::Jwt) != tokens.forms.end();
  if (!jwt && (!tokens.issuer.empty() || !tokens.audience.empty()))
    mistakes.add(key, "issuer and audience are of JWT; allowed with forms = [\"jwt\"]");
  // It may hold a token, and those reach no origin.
  if (std::ranges::find(site.forward, "cookie") != site.forward.end())
    mistakes.add(site_key + ".forward", "cookies may hold tokens; allowed on sites without tokens");
}

void check_sites(const Settings& settings, Mistakes& mistakes) {
  Once names(mistakes);
  Once hosts(mistakes);
  const std::vector<std::string> known = origin_names(settings);
  for (size_t i = 0; i < settings.sites.size(); ++i) {
    const SiteSettings& site = settings.sites[i];
    const std::string key = fmt::format("site[{}]", i);
    if (!site.name.empty()) names.see(site.name, key + ".name");
    for (size_t j = 0; j < site.hosts.size(); ++j) {
      hosts.see(site.hosts[j], fmt::format("{}.hosts[{}]", key, j));
    }
    if (site.hosts.empty() && !mistakes.has_under(key + ".hosts")) {
      mistakes.add(key, fmt::format("hosts is missing; allowed: {}", kSiteHost.allowed));
    }
    check_tokens(site, key, mistakes);
    const auto origin = std::ranges::find(settings.origins, site.origin, &OriginSettings::name);
    if (origin != settings.origins.end() && !site.methods.empty() && !origin->servers.empty() &&
        origin->servers.front().scheme == Server::Scheme::Directory) {
      mistakes.add(key + ".methods", "a dir: origin is only read; allowed: no methods");
    }
    if (std::ranges::find(known, site.origin) != known.end() || known.empty()) continue;
    if (site.origin.empty()) {
      mistakes.add(key, fmt::format("origin is missing; allowed: {}", fmt::join(known, ", ")));
    } else {
      mistakes.add(key + ".origin",
                   fmt::format("no origin \"{}\"{}; allowed: {}", site.origin,
                               did_you_mean(site.origin, known), fmt::join(known, ", ")));
    }
  }
}

void check_nats(const NatsSettings& nats, PrefetchMode mode, Mistakes& mistakes) {
  const std::string key = "prefetch.nats";
  if (!mistakes.was_written(key)) return;
  if (mode == PrefetchMode::Off) {
    mistakes.add(key,
                 "a feed is read and prefetch is off; allowed with mode \"observe\" or \"on\"");
  }
  if (nats.servers.empty() && !mistakes.has_under(key + ".servers"))
    mistakes.add(key, fmt::format("servers is missing; allowed: {}", kNatsServer.allowed));
  if (nats.subject.empty() && !mistakes.has_under(key + ".subject"))
    mistakes.add(key, fmt::format("subject is missing; allowed: {}", kNatsSubject.allowed));
  if (nats.servers.size() > kNatsServersMax) {
    mistakes.add(key + ".servers", fmt::format("{} servers; allowed: at most {}",
                                               nats.servers.size(), kNatsServersMax));
  }
  Once servers(mistakes);
  for (size_t i = 0; i < nats.servers.size(); ++i)
    servers.see(nats.servers[i].text, fmt::format("{}.servers[{}]", key, i));
  Once subjects(mistakes);
  if (!nats.subject.empty()) subjects.see(nats.subject, key + ".subject");
  if (!nats.purge_subject.empty()) subjects.see(nats.purge_subject, key + ".purge_subject");
  const bool tls = std::ranges::any_of(nats.servers, &NatsServer::tls);
  if (tls && !std::ranges::all_of(nats.servers, &NatsServer::tls))
    mistakes.add(key + ".servers", "some tls:// and some nats://; allowed: all of one kind");
  const std::pair<const char*, const std::string*> of_tls[] = {{"ca", &nats.ca},
                                                               {"certificate", &nats.certificate},
                                                               {"key", &nats.key},
                                                               {"server_name", &nats.server_name}};
  for (const auto& [name, value] : of_tls) {
    if (!value->empty() && !tls && !nats.servers.empty())
      mistakes.add(fmt::format("{}.{}", key, name), "of TLS; allowed with tls:// servers");
  }
  if (nats.certificate.empty() != nats.key.empty()) {
    mistakes.add(key + (nats.key.empty() ? ".certificate" : ".key"),
                 "certificate and key belong together: give both or neither");
  }
  if (nats.user.empty() != nats.password.empty()) {
    mistakes.add(key + (nats.user.empty() ? ".password" : ".user"),
                 "user and password belong together: give both or neither");
  }
  const int ways = static_cast<int>(!nats.user.empty()) + static_cast<int>(!nats.token.empty()) +
                   static_cast<int>(!nats.credentials.empty());
  if (ways > 1) mistakes.add(key, "give one of user with password, token, and credentials");
}

void check_prefetch(const Settings& settings, Mistakes& mistakes) {
  const PrefetchSettings& prefetch = settings.prefetch;
  constexpr uint32_t kRamSharesMax = 90;
  if (prefetch.mode == PrefetchMode::Off && !prefetch.follow.empty()) {
    mistakes.add("prefetch.follow",
                 "a feed is followed and prefetch is off; allowed with mode \"observe\" or \"on\"");
  }
  if (prefetch.ram_percent + prefetch.heads_percent > kRamSharesMax) {
    mistakes.add("prefetch.heads_percent",
                 fmt::format("with ram_percent {} % of RAM; allowed: at most {} together",
                             prefetch.ram_percent + prefetch.heads_percent, kRamSharesMax));
  }
  Once paths(mistakes);
  if (!prefetch.predictor_file.empty())
    paths.see(prefetch.predictor_file, "prefetch.predictor_file");
  for (size_t i = 0; i < prefetch.follow.size(); ++i)
    paths.see(prefetch.follow[i], fmt::format("prefetch.follow[{}]", i));
  check_nats(prefetch.nats, prefetch.mode, mistakes);
}

}  // namespace

void complete_and_validate(Settings& settings, const Machine& machine, Mistakes& mistakes) {
  complete(settings, machine);
  check_node(settings, machine, mistakes);
  check_listeners(settings, mistakes);
  check_drives(settings, machine, mistakes);
  for (const OriginSettings& origin : settings.origins) check_origin(origin, mistakes);
  if (settings.origins.empty()) {
    mistakes.add("origin", "no origin; give [origin.NAME] with servers, or --origin URL|dir:PATH");
  } else if (settings.sites.empty()) {
    mistakes.add("site", "several origins and no [[site]]; say which hosts go to which origin");
  }
  check_sites(settings, mistakes);
  check_prefetch(settings, mistakes);
}

}  // namespace segue::conf
