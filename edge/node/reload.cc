#include "edge/node/reload.h"

#include <algorithm>

#include "edge/metrics/registry.h"
#include "edge/node/node.h"
#include "edge/node/prefetch.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"

namespace segue::edge {

Reload::Reload(SharedParts& shared, const std::vector<std::unique_ptr<Worker>>& workers,
               NodePrefetch* prefetch)
    : shared_(shared), prefetch_(prefetch) {
  for (const auto& worker : workers) {
    messages_.push_back(std::make_unique<Message>());
    messages_.back()->owner = this;
    messages_.back()->worker = worker.get();
  }
  last_success_.set(1);
}

Reload::~Reload() = default;

std::expected<Reload::Prepared, std::string> Reload::prepare(const NodeOptions& fresh) const {
  auto tls = shared_.tls->prepare(fresh.tls);
  if (!tls) return std::unexpected(tls.error());
  auto tokens = read_all_token_rules(fresh.tokens);
  if (!tokens) return std::unexpected(tokens.error());
  return Prepared{.sites = make_ref<SiteTable>(fresh.sites, std::move(*tokens)),
                  .prefetch = fresh.prefetch,
                  .limits = fresh.limits,
                  .tls = std::move(*tls)};
}

std::expected<void, std::string> Reload::apply(const NodeOptions& fresh) {
  auto prepared = prepare(fresh);
  if (!prepared) {
    note_refused();
    return std::unexpected(prepared.error());
  }
  shared_.drain_limit.store(fresh.drain_limit, std::memory_order_relaxed);
  shared_.retire_limit.store(fresh.retire_limit, std::memory_order_relaxed);
  shared_.tls->take(std::move(prepared->tls));
  shared_.store->set_probation_share(fresh.store.probation_share);
  if (shared_.access_log) shared_.access_log->set_sample(fresh.access_log_sample);
  {
    const std::scoped_lock lock(mutex_);
    newest_ = std::move(*prepared);
    ++newest_number_;
  }
  for (const auto& message : messages_) {
    // One that is still under way will find the newest when it arrives.
    if (!message->under_way.exchange(true, std::memory_order_acq_rel))
      message->worker->loop().post(*message);
  }
  last_success_.set(1);
  return {};
}

void Reload::Message::arrive(PostNode& node) {
  auto& message = static_cast<Message&>(node);
  Reload& owner = *message.owner;
  // First: what is put down after this is told by another message.
  message.under_way.store(false, std::memory_order_seq_cst);
  Prepared newest;
  uint64_t number = 0;
  {
    const std::scoped_lock lock(owner.mutex_);
    newest = owner.newest_;
    number = owner.newest_number_;
  }
  // The admin listener and the planner live on loop 0 and read the shared table there.
  if (message.worker->loop().index() == 0) {
    owner.shared_.sites = newest.sites;
    if (owner.prefetch_ != nullptr) {
      owner.prefetch_->set_sites(*newest.sites);
      if (newest.prefetch) owner.prefetch_->prefetcher().configure(*newest.prefetch);
    }
  }
  message.worker->set_limits(newest.limits);
  message.worker->set_sites(std::move(newest.sites));
  message.in_force.store(number, std::memory_order_release);
}

double Reload::done(const void* reload) noexcept {
  uint64_t fewest = UINT64_MAX;
  for (const auto& message : static_cast<const Reload*>(reload)->messages_)
    fewest = std::min(fewest, message->in_force.load(std::memory_order_acquire));
  return static_cast<double>(fewest);
}

void Reload::register_metrics(Registry& registry) const {
  constexpr const char* kName = "segue_reloads_total";
  constexpr const char* kHelp = "Reloads of the settings, by outcome.";
  registry.add_counter(kName, kHelp, {{"outcome", "done"}}, &Reload::done, this);
  registry.add_counter(kName, kHelp, {{"outcome", "refused"}}, refused_);
  registry.add_gauge("segue_reload_last_success",
                     "1 if the last reload was done; 0: refused, the old settings are in force.",
                     {}, last_success_);
}

}  // namespace segue::edge
