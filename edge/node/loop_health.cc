#include "edge/node/loop_health.h"

#include <fmt/format.h>

#include "edge/metrics/registry.h"

namespace segue::edge {

LoopHealth::LoopHealth(const std::vector<Loop*>& loops) {
  for (Loop* loop : loops) {
    pings_.push_back(std::make_unique<Ping>());
    pings_.back()->loop = loop;
  }
}

LoopHealth::~LoopHealth() = default;

bool LoopHealth::check() noexcept {
  checks_.add();
  uint32_t stuck = 0;
  for (const auto& ping : pings_) {
    ping->is_stuck = ping->under_way.load(std::memory_order_acquire);
    if (ping->is_stuck) {
      ++stuck;
      continue;
    }
    ping->under_way.store(true, std::memory_order_relaxed);
    ping->loop->post(*ping);
  }
  stuck_.store(stuck, std::memory_order_relaxed);
  return stuck == 0;
}

std::string LoopHealth::stuck() const {
  std::string text;
  for (size_t i = 0; i < pings_.size(); ++i) {
    if (pings_[i]->is_stuck) text += fmt::format("{}{}", text.empty() ? "" : ", ", i);
  }
  return text;
}

void LoopHealth::register_metrics(Registry& registry) const {
  registry.add_gauge(
      "segue_loops", "Event loops of the node.", {},
      [](const void* health) {
        return static_cast<double>(static_cast<const LoopHealth*>(health)->pings_.size());
      },
      this);
  registry.add_counter("segue_loop_checks_total", "Health checks of the loops.", {}, checks_);
  registry.add_gauge(
      "segue_loops_stuck", "Event loops that did not answer the last health check.", {},
      [](const void* health) {
        return static_cast<double>(
            static_cast<const LoopHealth*>(health)->stuck_.load(std::memory_order_relaxed));
      },
      this);
}

}  // namespace segue::edge
