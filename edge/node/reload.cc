#include "edge/node/reload.h"

#include <algorithm>

#include "edge/metrics/registry.h"
#include "edge/node/node.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"

namespace segue::edge {

Reload::Reload(SharedParts& shared, const std::vector<std::unique_ptr<Worker>>& workers)
    : shared_(shared) {
  for (const auto& worker : workers) {
    messages_.push_back(std::make_unique<Message>());
    messages_.back()->owner = this;
    messages_.back()->worker = worker.get();
  }
  last_success_.set(1);
}

Reload::~Reload() = default;

std::expected<Reload::Prepared, std::string> Reload::prepare(const NodeOptions& fresh) {
  return Prepared{.sites = make_ref<SiteTable>(fresh.sites)};
}

std::expected<void, std::string> Reload::apply(const NodeOptions& fresh) {
  auto prepared = prepare(fresh);
  const bool busy = std::ranges::any_of(
      messages_, [](const auto& each) { return each->under_way.load(std::memory_order_acquire); });
  if (!prepared || busy) {
    last_success_.set(0);
    refused_.add();
    return std::unexpected(busy ? "a loop has not taken the last reload yet; try again"
                                : prepared.error());
  }
  shared_.drain_limit.store(fresh.drain_limit, std::memory_order_relaxed);
  shared_.retire_limit.store(fresh.retire_limit, std::memory_order_relaxed);
  if (shared_.access_log) shared_.access_log->set_sample(fresh.access_log_sample);
  for (const auto& message : messages_) {
    message->sites = prepared->sites;
    message->under_way.store(true, std::memory_order_relaxed);
    message->worker->loop().post(*message);
  }
  last_success_.set(1);
  done_.add();
  return {};
}

void Reload::Message::arrive(PostNode& node) {
  auto& message = static_cast<Message&>(node);
  // The admin listener lives on loop 0 and reads the shared table there.
  if (message.worker->loop().index() == 0) message.owner->shared_.sites = message.sites;
  message.worker->set_sites(std::move(message.sites));
  message.sites = {};
  message.under_way.store(false, std::memory_order_release);
}

void Reload::register_metrics(Registry& registry) const {
  constexpr const char* kName = "segue_reloads_total";
  constexpr const char* kHelp = "Reloads of the settings, by outcome.";
  registry.add_counter(kName, kHelp, {{"outcome", "done"}}, done_);
  registry.add_counter(kName, kHelp, {{"outcome", "refused"}}, refused_);
  registry.add_gauge("segue_reload_last_success",
                     "1 if the last reload was done; 0: refused, the old settings are in force.",
                     {}, last_success_);
}

}  // namespace segue::edge
