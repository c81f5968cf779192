#include "edge/node/node_tls.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "edge/metrics/registry.h"

namespace segue::edge {
namespace {

std::string line_of(const tls::Finding& finding) {
  return fmt::format("{}: {}", finding.file, finding.what);
}

double seconds_until_end(const void* holder) {
  const auto context = static_cast<const tls::ContextHolder*>(holder)->get();
  return static_cast<double>(
      std::chrono::floor<std::chrono::seconds>(context->not_after()).time_since_epoch().count());
}

}  // namespace

// Each once: the same files are read for every client_ca.
std::vector<std::string> lines_of(const std::vector<tls::Finding>& findings) {
  std::vector<std::string> lines;
  for (const tls::Finding& finding : findings) {
    std::string line = line_of(finding);
    if (std::ranges::find(lines, line) == lines.end()) lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<tls::Finding> check_origin_tls(const std::vector<origin::OriginOptions>& origins,
                                           const Clock& clock) {
  std::vector<tls::Finding> findings;
  for (const origin::OriginOptions& each : origins) {
    auto found = tls::check_client_files(
        {.certificate = each.certificate_file, .key = each.key_file, .ca = each.ca_file},
        clock.wall());
    std::ranges::move(found, std::back_inserter(findings));
  }
  return findings;
}

std::expected<NodeTls::Prepared, std::string> NodeTls::prepare(
    const NodeTlsOptions& options) const {
  Prepared prepared;
  std::vector<tls::Finding> findings;
  bool usable = true;
  for (const std::string& client_ca : options.client_cas) {
    tls::ServerOptions server = options.server;
    server.client_ca = client_ca;
    auto context = tls::ServerContext::create(server, tickets_, clock_.wall(), findings);
    usable = usable && context != nullptr;
    prepared.contexts[client_ca] = std::move(context);
  }
  if (!usable) {
    std::erase_if(findings, [](const tls::Finding& finding) { return !finding.unusable; });
    return std::unexpected(fmt::format("{}", fmt::join(lines_of(findings), "; ")));
  }
  if (!options.client_cas.empty() && !options.ticket_keys.empty()) {
    auto keys = tls::read_ticket_keys(options.ticket_keys);
    if (!keys) return std::unexpected(keys.error());
    prepared.ticket_keys = std::move(*keys);
  }
  for (const std::string& line : lines_of(findings)) log_warning("certificate", "{}", line);
  return prepared;
}

std::expected<std::unique_ptr<NodeTls>, std::string> NodeTls::create(const NodeTlsOptions& options,
                                                                     const Clock& clock) {
  std::unique_ptr<NodeTls> made(new NodeTls(clock));
  auto prepared = made->prepare(options);
  if (!prepared) return std::unexpected(prepared.error());
  for (const auto& [client_ca, context] : prepared->contexts)
    made->holders_[client_ca] = std::make_shared<tls::ContextHolder>(context);
  made->take(std::move(*prepared));
  return made;
}

void NodeTls::take(Prepared prepared) {
  if (prepared.ticket_keys.empty()) {
    tickets_.use_own(clock_.mono());
  } else {
    tickets_.take(std::move(prepared.ticket_keys));
  }
  // A client_ca that is new needs a listener that is new, and those come with a restart.
  for (auto& [client_ca, context] : prepared.contexts) {
    const auto at = holders_.find(client_ca);
    if (at != holders_.end()) at->second->replace(std::move(context));
  }
}

std::shared_ptr<const tls::ContextHolder> NodeTls::holder(const std::string& client_ca) const {
  const auto at = holders_.find(client_ca);
  return at == holders_.end() ? nullptr : at->second;
}

void NodeTls::register_metrics(Registry& registry) const {
  if (holders_.empty()) return;
  registry.add_gauge("segue_tls_certificate_not_after_seconds",
                     "When the first certificate in use expires, as seconds since 1970.", {},
                     &seconds_until_end, holders_.begin()->second.get());
}

std::vector<std::string> check_tls(const NodeTlsOptions& options, const Clock& clock) {
  if (options.client_cas.empty()) return {};
  tls::TicketKeys tickets(clock.mono());
  std::vector<tls::Finding> findings;
  for (const std::string& client_ca : options.client_cas) {
    tls::ServerOptions server = options.server;
    server.client_ca = client_ca;
    (void)tls::ServerContext::create(server, tickets, clock.wall(), findings);
  }
  std::vector<std::string> lines = lines_of(findings);
  if (options.ticket_keys.empty()) return lines;
  if (auto keys = tls::read_ticket_keys(options.ticket_keys); !keys) lines.push_back(keys.error());
  return lines;
}

}  // namespace segue::edge
